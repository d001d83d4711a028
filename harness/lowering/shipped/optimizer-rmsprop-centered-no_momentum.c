// {"kind": "optimizer", "name": "rmsprop", "scalars": 5, "settings": ["lr", "alpha", "eps", "weight_decay"], "states": ["square", "mean"]}
#include "component.h"
#define STATES 2
#define SCALARS 5
#define FIRST_DIFFERS 1

INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = w * u[2];
    const vector v3 = g + v2;
    const vector v4 = v3 * v3;
    const vector v5 = v4 * u[3];
    const vector v6 = v3 * u[3];
    const vector v7 = v6 * v6;
    const vector v8 = v5 - v7;
    const vector v9 = vector_max(v8, all_of(0));
    const vector v10 = vector_sqrt(v9);
    const vector v11 = v10 + u[1];
    const vector v12 = v3 / v11;
    const vector v13 = v12 * u[0];
    const vector v14 = w - v13;
    s[0] = v5;
    s[1] = v6;
    return v14;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector old0 = s[0];
    const vector old1 = s[1];
    const vector v4 = w * u[3];
    const vector v5 = g + v4;
    const vector v6 = v5 * v5;
    const vector v7 = v6 * u[4];
    const vector v8 = v5 * u[4];
    const vector v9 = old0 * u[1];
    const vector v10 = v9 + v7;
    const vector v11 = old1 * u[1];
    const vector v12 = v11 + v8;
    const vector v13 = v12 * v12;
    const vector v14 = v10 - v13;
    const vector v15 = vector_max(v14, all_of(0));
    const vector v16 = vector_sqrt(v15);
    const vector v17 = v16 + u[2];
    const vector v18 = v5 / v17;
    const vector v19 = v18 * u[0];
    const vector v20 = w - v19;
    s[0] = v10;
    s[1] = v12;
    return v20;
}

void scalars(double t, const double *settings, REAL *to)
{
    if (t == 1) {
        const double v0 = 1.0 - settings[1];
        to[0] = (REAL)settings[0];
        to[1] = (REAL)settings[2];
        to[2] = (REAL)settings[3];
        to[3] = (REAL)v0;
    } else {
        const double v0 = 1.0 - settings[1];
        to[0] = (REAL)settings[0];
        to[1] = (REAL)settings[1];
        to[2] = (REAL)settings[2];
        to[3] = (REAL)settings[3];
        to[4] = (REAL)v0;
    }
}

#include "optimizer.h"
