// {"kind": "optimizer", "name": "adam", "scalars": 5, "settings": ["lr", "betas.1", "eps", "weight_decay"], "states": ["mean", "square"]}
#include "component.h"
#define STATES 2
#define SCALARS 5
#define FIRST_DIFFERS 1

INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = w * u[0];
    const vector v3 = g + v2;
    const vector v4 = v3 * v3;
    const vector v5 = v4 * u[1];
    const vector v6 = vector_sqrt(v5);
    const vector v7 = v6 + u[2];
    const vector v8 = v3 / v7;
    const vector v9 = v8 * u[3];
    const vector v10 = w - v9;
    s[0] = v3;
    s[1] = v5;
    return v10;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector old0 = s[0];
    const vector old1 = s[1];
    const vector v4 = w * u[1];
    const vector v5 = g + v4;
    const vector v6 = v5 * v5;
    const vector v7 = v6 * u[2];
    const vector v8 = old0 * 0;
    const vector v9 = v8 + v5;
    const vector v10 = old1 * u[0];
    const vector v11 = v10 + v7;
    const vector v12 = vector_sqrt(v11);
    const vector v13 = v12 + u[3];
    const vector v14 = v9 / v13;
    const vector v15 = v14 * u[4];
    const vector v16 = w - v15;
    s[0] = v9;
    s[1] = v11;
    return v16;
}

void scalars(double t, const double *settings, REAL *to)
{
    if (t == 1) {
        const double v0 = 1.0 - settings[1];
        const double v1 = __builtin_sqrt(v0);
        const double v2 = settings[2] * v1;
        const double v3 = settings[0] * v1;
        to[0] = (REAL)settings[3];
        to[1] = (REAL)v0;
        to[2] = (REAL)v2;
        to[3] = (REAL)v3;
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
        to[1] = (REAL)settings[3];
        to[2] = (REAL)v0;
        to[3] = (REAL)v4;
        to[4] = (REAL)v8;
    }
}

#include "optimizer.h"
