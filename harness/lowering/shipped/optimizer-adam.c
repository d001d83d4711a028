// {"kind": "optimizer", "name": "adam", "scalars": 7, "settings": ["lr", "betas.0", "betas.1", "eps", "weight_decay"], "states": ["mean", "square"]}
#include "component.h"
#define STATES 2
#define SCALARS 7
#define FIRST_DIFFERS 1

INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = w * u[0];
    const vector v3 = g + v2;
    const vector v4 = v3 * u[1];
    const vector v5 = v3 * v3;
    const vector v6 = v5 * u[2];
    const vector v7 = vector_sqrt(v6);
    const vector v8 = v7 + u[3];
    const vector v9 = v4 / v8;
    const vector v10 = v9 * u[4];
    const vector v11 = w - v10;
    s[0] = v4;
    s[1] = v6;
    return v11;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector old0 = s[0];
    const vector old1 = s[1];
    const vector v4 = w * u[2];
    const vector v5 = g + v4;
    const vector v6 = v5 * u[3];
    const vector v7 = v5 * v5;
    const vector v8 = v7 * u[4];
    const vector v9 = old0 * u[0];
    const vector v10 = v9 + v6;
    const vector v11 = old1 * u[1];
    const vector v12 = v11 + v8;
    const vector v13 = vector_sqrt(v12);
    const vector v14 = v13 + u[5];
    const vector v15 = v10 / v14;
    const vector v16 = v15 * u[6];
    const vector v17 = w - v16;
    s[0] = v10;
    s[1] = v12;
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
