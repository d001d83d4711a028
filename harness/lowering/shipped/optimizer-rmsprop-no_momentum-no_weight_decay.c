// {"kind": "optimizer", "name": "rmsprop", "scalars": 4, "settings": ["lr", "alpha", "eps"], "states": ["square"]}
#include "component.h"
#define STATES 1
#define SCALARS 4
#define FIRST_DIFFERS 1

INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = g * g;
    const vector v3 = v2 * u[2];
    const vector v4 = vector_sqrt(v3);
    const vector v5 = v4 + u[1];
    const vector v6 = g / v5;
    const vector v7 = v6 * u[0];
    const vector v8 = w - v7;
    s[0] = v3;
    return v8;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector old0 = s[0];
    const vector v3 = g * g;
    const vector v4 = v3 * u[3];
    const vector v5 = old0 * u[1];
    const vector v6 = v5 + v4;
    const vector v7 = vector_sqrt(v6);
    const vector v8 = v7 + u[2];
    const vector v9 = g / v8;
    const vector v10 = v9 * u[0];
    const vector v11 = w - v10;
    s[0] = v6;
    return v11;
}

void scalars(double t, const double *settings, REAL *to)
{
    if (t == 1) {
        const double v0 = 1.0 - settings[1];
        to[0] = (REAL)settings[0];
        to[1] = (REAL)settings[2];
        to[2] = (REAL)v0;
    } else {
        const double v0 = 1.0 - settings[1];
        to[0] = (REAL)settings[0];
        to[1] = (REAL)settings[1];
        to[2] = (REAL)settings[2];
        to[3] = (REAL)v0;
    }
}

#include "optimizer.h"
