// {"kind": "optimizer", "name": "adamw", "scalars": 7, "settings": ["lr", "betas.0", "betas.1", "eps", "weight_decay"], "states": ["mean", "square", "largest"]}
#include "component.h"
#define STATES 3
#define SCALARS 7
#define FIRST_DIFFERS 1

INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = w * u[0];
    const vector v3 = g * u[1];
    const vector v4 = g * g;
    const vector v5 = v4 * u[2];
    const vector v6 = vector_max(all_of(0), v5);
    const vector v7 = vector_sqrt(v6);
    const vector v8 = v7 + u[3];
    const vector v9 = v3 / v8;
    const vector v10 = v9 * u[4];
    const vector v11 = v2 - v10;
    s[0] = v3;
    s[1] = v5;
    s[2] = v6;
    return v11;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector old0 = s[0];
    const vector old1 = s[1];
    const vector old2 = s[2];
    const vector v5 = w * u[2];
    const vector v6 = g * u[3];
    const vector v7 = g * g;
    const vector v8 = v7 * u[4];
    const vector v9 = old0 * u[0];
    const vector v10 = v9 + v6;
    const vector v11 = old1 * u[1];
    const vector v12 = v11 + v8;
    const vector v13 = vector_max(old2, v12);
    const vector v14 = vector_sqrt(v13);
    const vector v15 = v14 + u[5];
    const vector v16 = v10 / v15;
    const vector v17 = v16 * u[6];
    const vector v18 = v5 - v17;
    s[0] = v10;
    s[1] = v12;
    s[2] = v13;
    return v18;
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
