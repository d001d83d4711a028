// {"kind": "optimizer", "name": "rmsprop", "scalars": 4, "settings": ["lr", "alpha", "eps"], "states": ["square", "mean"]}
#include "component.h"
#define STATES 2
#define SCALARS 4
#define FIRST_DIFFERS 1

INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = g * g;
    const vector v3 = v2 * u[2];
    const vector v4 = g * u[2];
    const vector v5 = v4 * v4;
    const vector v6 = v3 - v5;
    const vector v7 = vector_max(v6, all_of(0));
    const vector v8 = vector_sqrt(v7);
    const vector v9 = v8 + u[1];
    const vector v10 = g / v9;
    const vector v11 = v10 * u[0];
    const vector v12 = w - v11;
    s[0] = v3;
    s[1] = v4;
    return v12;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector old0 = s[0];
    const vector old1 = s[1];
    const vector v4 = g * g;
    const vector v5 = v4 * u[3];
    const vector v6 = g * u[3];
    const vector v7 = old0 * u[1];
    const vector v8 = v7 + v5;
    const vector v9 = old1 * u[1];
    const vector v10 = v9 + v6;
    const vector v11 = v10 * v10;
    const vector v12 = v8 - v11;
    const vector v13 = vector_max(v12, all_of(0));
    const vector v14 = vector_sqrt(v13);
    const vector v15 = v14 + u[2];
    const vector v16 = g / v15;
    const vector v17 = v16 * u[0];
    const vector v18 = w - v17;
    s[0] = v8;
    s[1] = v10;
    return v18;
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
