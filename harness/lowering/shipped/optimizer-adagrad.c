// {"kind": "optimizer", "name": "adagrad", "scalars": 4, "settings": ["lr", "lr_decay", "eps", "initial_accumulator_value", "weight_decay"], "states": ["total"]}
#include "component.h"
#define STATES 1
#define SCALARS 4
#define FIRST_DIFFERS 1

INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = w * u[3];
    const vector v3 = g + v2;
    const vector v4 = v3 * v3;
    const vector v5 = u[2] + v4;
    const vector v6 = vector_sqrt(v5);
    const vector v7 = v6 + u[1];
    const vector v8 = v3 / v7;
    const vector v9 = v8 * u[0];
    const vector v10 = w - v9;
    s[0] = v5;
    return v10;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector old0 = s[0];
    const vector v3 = w * u[1];
    const vector v4 = g + v3;
    const vector v5 = v4 * v4;
    const vector v6 = old0 + v5;
    const vector v7 = vector_sqrt(v6);
    const vector v8 = v7 + u[0];
    const vector v9 = v4 / v8;
    const vector v10 = v9 * u[2];
    const vector v11 = w - v10;
    s[0] = v6;
    return v11;
}

void scalars(double t, const double *settings, REAL *to)
{
    if (t == 1) {
        to[0] = (REAL)settings[0];
        to[1] = (REAL)settings[2];
        to[2] = (REAL)settings[3];
        to[3] = (REAL)settings[4];
    } else {
        const double v0 = t - 1.0;
        const double v1 = v0 * settings[1];
        const double v2 = v1 + 1.0;
        const double v3 = settings[0] / v2;
        to[0] = (REAL)settings[2];
        to[1] = (REAL)settings[4];
        to[2] = (REAL)v3;
    }
}

#include "optimizer.h"
