// {"kind": "optimizer", "name": "adamw", "scalars": 5, "settings": ["lr", "betas.1", "eps", "weight_decay"], "states": ["mean", "square"]}
#include "component.h"
#define STATES 2
#define SCALARS 5
#define FIRST_DIFFERS 1

INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = w * u[0];
    const vector v3 = g * g;
    const vector v4 = v3 * u[1];
    const vector v5 = vector_sqrt(v4);
    const vector v6 = v5 + u[2];
    const vector v7 = g / v6;
    const vector v8 = v7 * u[3];
    const vector v9 = v2 - v8;
    s[0] = g;
    s[1] = v4;
    return v9;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector old0 = s[0];
    const vector old1 = s[1];
    const vector v4 = w * u[1];
    const vector v5 = g * g;
    const vector v6 = v5 * u[2];
    const vector v7 = old0 * 0;
    const vector v8 = v7 + g;
    const vector v9 = old1 * u[0];
    const vector v10 = v9 + v6;
    const vector v11 = vector_sqrt(v10);
    const vector v12 = v11 + u[3];
    const vector v13 = v8 / v12;
    const vector v14 = v13 * u[4];
    const vector v15 = v4 - v14;
    s[0] = v8;
    s[1] = v10;
    return v15;
}

void scalars(double t, const double *settings, REAL *to)
{
    if (t == 1) {
        const double v0 = settings[0] * settings[3];
        const double v1 = 1.0 - v0;
        const double v2 = 1.0 - settings[1];
        const double v3 = __builtin_sqrt(v2);
        const double v4 = settings[2] * v3;
        const double v5 = settings[0] * v3;
        to[0] = (REAL)v1;
        to[1] = (REAL)v2;
        to[2] = (REAL)v4;
        to[3] = (REAL)v5;
    } else {
        const double v0 = settings[0] * settings[3];
        const double v1 = 1.0 - v0;
        const double v2 = 1.0 - settings[1];
        const double v3 = whole_power(settings[1], t);
        const double v4 = 1.0 - v3;
        const double v5 = __builtin_sqrt(v4);
        const double v6 = settings[2] * v5;
        const double v7 = settings[0] * v5;
        const double v8 = whole_power(0.0, t);
        const double v9 = 1.0 - v8;
        const double v10 = v7 / v9;
        to[0] = (REAL)settings[1];
        to[1] = (REAL)v1;
        to[2] = (REAL)v2;
        to[3] = (REAL)v6;
        to[4] = (REAL)v10;
    }
}

#include "optimizer.h"
