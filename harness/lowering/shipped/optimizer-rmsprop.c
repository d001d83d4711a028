// {"kind": "optimizer", "name": "rmsprop", "scalars": 6, "settings": ["lr", "alpha", "eps", "momentum", "weight_decay"], "states": ["square", "velocity"]}
#include "component.h"
#define STATES 2
#define SCALARS 6
#define FIRST_DIFFERS 1

INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = w * u[2];
    const vector v3 = g + v2;
    const vector v4 = v3 * v3;
    const vector v5 = v4 * u[3];
    const vector v6 = vector_sqrt(v5);
    const vector v7 = v6 + u[1];
    const vector v8 = v3 / v7;
    const vector v9 = v8 * u[0];
    const vector v10 = w - v9;
    s[0] = v5;
    s[1] = v8;
    return v10;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector old0 = s[0];
    const vector old1 = s[1];
    const vector v4 = w * u[4];
    const vector v5 = g + v4;
    const vector v6 = v5 * v5;
    const vector v7 = v6 * u[5];
    const vector v8 = old0 * u[1];
    const vector v9 = v8 + v7;
    const vector v10 = vector_sqrt(v9);
    const vector v11 = v10 + u[2];
    const vector v12 = v5 / v11;
    const vector v13 = old1 * u[3];
    const vector v14 = v13 + v12;
    const vector v15 = v14 * u[0];
    const vector v16 = w - v15;
    s[0] = v9;
    s[1] = v14;
    return v16;
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
