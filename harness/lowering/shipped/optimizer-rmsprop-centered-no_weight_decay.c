// {"kind": "optimizer", "name": "rmsprop", "scalars": 5, "settings": ["lr", "alpha", "eps", "momentum"], "states": ["square", "mean", "velocity"]}
#include "component.h"
#define STATES 3
#define SCALARS 5
#define FIRST_DIFFERS 1

INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = g * g;
    const vector v3 = v2 * u[2];
    const vector v4 = g * u[2];
    const vector v5 = v4 * v4;
    const vector v6 = v3 - v5;
    const vector v7 = vector_max(v6, all_of(0));
    const vector v8 = vector_sqrt(v7);
    const vector v9 = v8 + u[1];
    const vector v10 = g / v9;
    const vector v11 = v10 * u[0];
    const vector v12 = w - v11;
    s[0] = v3;
    s[1] = v4;
    s[2] = v10;
    return v12;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector old0 = s[0];
    const vector old1 = s[1];
    const vector old2 = s[2];
    const vector v5 = g * g;
    const vector v6 = v5 * u[4];
    const vector v7 = g * u[4];
    const vector v8 = old0 * u[1];
    const vector v9 = v8 + v6;
    const vector v10 = old1 * u[1];
    const vector v11 = v10 + v7;
    const vector v12 = v11 * v11;
    const vector v13 = v9 - v12;
    const vector v14 = vector_max(v13, all_of(0));
    const vector v15 = vector_sqrt(v14);
    const vector v16 = v15 + u[2];
    const vector v17 = g / v16;
    const vector v18 = old2 * u[3];
    const vector v19 = v18 + v17;
    const vector v20 = v19 * u[0];
    const vector v21 = w - v20;
    s[0] = v9;
    s[1] = v11;
    s[2] = v19;
    return v21;
}

void scalars(double t, const double *settings, REAL *to)
{
    if (t == 1) {
        const double v0 = 1.0 - settings[1];
        to[0] = (REAL)settings[0];
        to[1] = (REAL)settings[2];
        to[2] = (REAL)v0;
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
