// {"kind": "optimizer", "name": "adam", "scalars": 6, "settings": ["lr", "betas.0", "betas.1", "eps"], "states": ["mean", "square", "largest"]}
#include "component.h"
#define STATES 3
#define SCALARS 6
#define FIRST_DIFFERS 1

INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = g * u[0];
    const vector v3 = g * g;
    const vector v4 = v3 * u[1];
    const vector v5 = vector_max(all_of(0), v4);
    const vector v6 = vector_sqrt(v5);
    const vector v7 = v6 + u[2];
    const vector v8 = v2 / v7;
    const vector v9 = v8 * u[3];
    const vector v10 = w - v9;
    s[0] = v2;
    s[1] = v4;
    s[2] = v5;
    return v10;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector old0 = s[0];
    const vector old1 = s[1];
    const vector old2 = s[2];
    const vector v5 = g * u[2];
    const vector v6 = g * g;
    const vector v7 = v6 * u[3];
    const vector v8 = old0 * u[0];
    const vector v9 = v8 + v5;
    const vector v10 = old1 * u[1];
    const vector v11 = v10 + v7;
    const vector v12 = vector_max(old2, v11);
    const vector v13 = vector_sqrt(v12);
    const vector v14 = v13 + u[4];
    const vector v15 = v9 / v14;
    const vector v16 = v15 * u[5];
    const vector v17 = w - v16;
    s[0] = v9;
    s[1] = v11;
    s[2] = v12;
    return v17;
}

void scalars(double t, const double *settings, REAL *to)
{
    if (t == 1) {
        const double v0 = 1.0 - settings[1];
        const double v1 = 1.0 - settings[2];
        const double v2 = __builtin_sqrt(v1);
        const double v3 = settings[3] * v2;
        const double v4 = settings[0] * v2;
        const double v5 = v4 / v0;
        to[0] = (REAL)v0;
        to[1] = (REAL)v1;
        to[2] = (REAL)v3;
        to[3] = (REAL)v5;
    } else {
        const double v0 = 1.0 - settings[1];
        const double v1 = 1.0 - settings[2];
        const double v2 = whole_power(settings[2], t);
        const double v3 = 1.0 - v2;
        const double v4 = __builtin_sqrt(v3);
        const double v5 = settings[3] * v4;
        const double v6 = settings[0] * v4;
        const double v7 = whole_power(settings[1], t);
        const double v8 = 1.0 - v7;
        const double v9 = v6 / v8;
        to[0] = (REAL)settings[1];
        to[1] = (REAL)settings[2];
        to[2] = (REAL)v0;
        to[3] = (REAL)v1;
        to[4] = (REAL)v5;
        to[5] = (REAL)v9;
    }
}

#include "optimizer.h"
