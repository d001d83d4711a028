// {"kind": "optimizer", "name": "rmsprop", "scalars": 5, "settings": ["lr", "alpha", "eps", "momentum"], "states": ["square", "velocity"]}
#include "component.h"
#define STATES 2
#define SCALARS 5
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
    s[1] = v6;
    return v8;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector old0 = s[0];
    const vector old1 = s[1];
    const vector v4 = g * g;
    const vector v5 = v4 * u[4];
    const vector v6 = old0 * u[1];
    const vector v7 = v6 + v5;
    const vector v8 = vector_sqrt(v7);
    const vector v9 = v8 + u[2];
    const vector v10 = g / v9;
    const vector v11 = old1 * u[3];
    const vector v12 = v11 + v10;
    const vector v13 = v12 * u[0];
    const vector v14 = w - v13;
    s[0] = v7;
    s[1] = v12;
    return v14;
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
        to[3] = (REAL)settings[3];
        to[4] = (REAL)v0;
    }
}

#include "optimizer.h"
