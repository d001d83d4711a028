// {"kind": "optimizer", "name": "adam", "scalars": 7, "settings": ["lr", "betas.0", "betas.1", "eps", "weight_decay"], "states": ["mean", "square", "largest"]}
#include "component.h"
#define STATES 3
#define SCALARS 7
#define FIRST_DIFFERS 1

INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = w * u[0];
    const vector v3 = g + v2;
    const vector v4 = v3 * u[1];
    const vector v5 = v3 * v3;
    const vector v6 = v5 * u[2];
    const vector v7 = vector_max(all_of(0), v6);
    const vector v8 = vector_sqrt(v7);
    const vector v9 = v8 + u[3];
    const vector v10 = v4 / v9;
    const vector v11 = v10 * u[4];
    const vector v12 = w - v11;
    s[0] = v4;
    s[1] = v6;
    s[2] = v7;
    return v12;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector old0 = s[0];
    const vector old1 = s[1];
    const vector old2 = s[2];
    const vector v5 = w * u[2];
    const vector v6 = g + v5;
    const vector v7 = v6 * u[3];
    const vector v8 = v6 * v6;
    const vector v9 = v8 * u[4];
    const vector v10 = old0 * u[0];
    const vector v11 = v10 + v7;
    const vector v12 = old1 * u[1];
    const vector v13 = v12 + v9;
    const vector v14 = vector_max(old2, v13);
    const vector v15 = vector_sqrt(v14);
    const vector v16 = v15 + u[5];
    const vector v17 = v11 / v16;
    const vector v18 = v17 * u[6];
    const vector v19 = w - v18;
    s[0] = v11;
    s[1] = v13;
    s[2] = v14;
    return v19;
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
        to[0] = (REAL)settings[4];
        to[1] = (REAL)v0;
        to[2] = (REAL)v1;
        to[3] = (REAL)v3;
        to[4] = (REAL)v5;
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
        to[2] = (REAL)settings[4];
        to[3] = (REAL)v0;
        to[4] = (REAL)v1;
        to[5] = (REAL)v5;
        to[6] = (REAL)v9;
    }
}

#include "optimizer.h"
