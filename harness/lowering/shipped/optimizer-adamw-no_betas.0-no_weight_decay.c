// {"kind": "optimizer", "name": "adamw", "scalars": 4, "settings": ["lr", "betas.1", "eps"], "states": ["mean", "square"]}
#include "component.h"
#define STATES 2
#define SCALARS 4
#define FIRST_DIFFERS 1

INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = g * g;
    const vector v3 = v2 * u[0];
    const vector v4 = vector_sqrt(v3);
    const vector v5 = v4 + u[1];
    const vector v6 = g / v5;
    const vector v7 = v6 * u[2];
    const vector v8 = w - v7;
    s[0] = g;
    s[1] = v3;
    return v8;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector old0 = s[0];
    const vector old1 = s[1];
    const vector v4 = g * g;
    const vector v5 = v4 * u[1];
    const vector v6 = old0 * 0;
    const vector v7 = v6 + g;
    const vector v8 = old1 * u[0];
    const vector v9 = v8 + v5;
    const vector v10 = vector_sqrt(v9);
    const vector v11 = v10 + u[2];
    const vector v12 = v7 / v11;
    const vector v13 = v12 * u[3];
    const vector v14 = w - v13;
    s[0] = v7;
    s[1] = v9;
    return v14;
}

void scalars(double t, const double *settings, REAL *to)
{
    if (t == 1) {
        const double v0 = 1.0 - settings[1];
        const double v1 = __builtin_sqrt(v0);
        const double v2 = settings[2] * v1;
        const double v3 = settings[0] * v1;
        to[0] = (REAL)v0;
        to[1] = (REAL)v2;
        to[2] = (REAL)v3;
    } else {
        const double v0 = 1.0 - settings[1];
        const double v1 = whole_power(settings[1], t);
        const double v2 = 1.0 - v1;
        const double v3 = __builtin_sqrt(v2);
        const double v4 = settings[2] * v3;
        const double v5 = settings[0] * v3;
        const double v6 = whole_power(0.0, t);
        const double v7 = 1.0 - v6;
        const double v8 = v5 / v7;
        to[0] = (REAL)settings[1];
        to[1] = (REAL)v0;
        to[2] = (REAL)v4;
        to[3] = (REAL)v8;
    }
}

#include "optimizer.h"
