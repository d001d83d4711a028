// {"kind": "optimizer", "name": "adamw", "scalars": 7, "settings": ["lr", "betas.0", "betas.1", "eps", "weight_decay"], "states": ["mean", "square"]}
#include "component.h"
#define STATES 2
#define SCALARS 7
#define FIRST_DIFFERS 1

INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = w * u[0];
    const vector v3 = g * u[1];
    const vector v4 = g * g;
    const vector v5 = v4 * u[2];
    const vector v6 = vector_sqrt(v5);
    const vector v7 = v6 + u[3];
    const vector v8 = v3 / v7;
    const vector v9 = v8 * u[4];
    const vector v10 = v2 - v9;
    s[0] = v3;
    s[1] = v5;
    return v10;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector old0 = s[0];
    const vector old1 = s[1];
    const vector v4 = w * u[2];
    const vector v5 = g * u[3];
    const vector v6 = g * g;
    const vector v7 = v6 * u[4];
    const vector v8 = old0 * u[0];
    const vector v9 = v8 + v5;
    const vector v10 = old1 * u[1];
    const vector v11 = v10 + v7;
    const vector v12 = vector_sqrt(v11);
    const vector v13 = v12 + u[5];
    const vector v14 = v9 / v13;
    const vector v15 = v14 * u[6];
    const vector v16 = v4 - v15;
    s[0] = v9;
    s[1] = v11;
    return v16;
}

void scalars(double t, const double *settings, REAL *to)
{
    if (t == 1) {
        const double v0 = settings[0] * settings[4];
        const double v1 = 1.0 - v0;
        const double v2 = 1.0 - settings[1];
        const double v3 = 1.0 - settings[2];
        const double v4 = __builtin_sqrt(v3);
        const double v5 = settings[3] * v4;
        const double v6 = settings[0] * v4;
        const double v7 = v6 / v2;
        to[0] = (REAL)v1;
        to[1] = (REAL)v2;
        to[2] = (REAL)v3;
        to[3] = (REAL)v5;
        to[4] = (REAL)v7;
    } else {
        const double v0 = settings[0] * settings[4];
        const double v1 = 1.0 - v0;
        const double v2 = 1.0 - settings[1];
        const double v3 = 1.0 - settings[2];
        const double v4 = whole_power(settings[2], t);
        const double v5 = 1.0 - v4;
        const double v6 = __builtin_sqrt(v5);
        const double v7 = settings[3] * v6;
        const double v8 = settings[0] * v6;
        const double v9 = whole_power(settings[1], t);
        const double v10 = 1.0 - v9;
        const double v11 = v8 / v10;
        to[0] = (REAL)settings[1];
        to[1] = (REAL)settings[2];
        to[2] = (REAL)v1;
        to[3] = (REAL)v2;
        to[4] = (REAL)v3;
        to[5] = (REAL)v7;
        to[6] = (REAL)v11;
    }
}

#include "optimizer.h"
