// {"kind": "optimizer", "name": "rmsprop", "scalars": 6, "settings": ["lr", "alpha", "eps", "momentum", "weight_decay"], "states": ["square", "mean", "velocity"]}
#include "component.h"
#define STATES 3
#define SCALARS 6
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
    s[2] = v12;
    return v14;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector old0 = s[0];
    const vector old1 = s[1];
    const vector old2 = s[2];
    const vector v5 = w * u[4];
    const vector v6 = g + v5;
    const vector v7 = v6 * v6;
    const vector v8 = v7 * u[5];
    const vector v9 = v6 * u[5];
    const vector v10 = old0 * u[1];
    const vector v11 = v10 + v8;
    const vector v12 = old1 * u[1];
    const vector v13 = v12 + v9;
    const vector v14 = v13 * v13;
    const vector v15 = v11 - v14;
    const vector v16 = vector_max(v15, all_of(0));
    const vector v17 = vector_sqrt(v16);
    const vector v18 = v17 + u[2];
    const vector v19 = v6 / v18;
    const vector v20 = old2 * u[3];
    const vector v21 = v20 + v19;
    const vector v22 = v21 * u[0];
    const vector v23 = w - v22;
    s[0] = v11;
    s[1] = v13;
    s[2] = v21;
    return v23;
}

void scalars(double t, const double *settings, REAL *to)
{
    if (t == 1) {
        const double v0 = 1.0 - settings[1];
        to[0] = (REAL)settings[0];
        to[1] = (REAL)settings[2];
        to[2] = (REAL)settings[4];
        to[3] = (REAL)v0;
    } else {
        const double v0 = 1.0 - settings[1];
        to[0] = (REAL)settings[0];
        to[1] = (REAL)settings[1];
        to[2] = (REAL)settings[2];
        to[3] = (REAL)settings[3];
        to[4] = (REAL)settings[4];
        to[5] = (REAL)v0;
    }
}

#include "optimizer.h"
