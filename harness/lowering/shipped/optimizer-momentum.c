// {"kind": "optimizer", "name": "momentum", "scalars": 4, "settings": ["lr", "momentum", "dampening", "weight_decay"], "states": ["velocity"]}
#include "component.h"
#define STATES 1
#define SCALARS 4
#define FIRST_DIFFERS 1

INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = w * u[1];
    const vector v3 = g + v2;
    const vector v4 = v3 * u[0];
    const vector v5 = w - v4;
    s[0] = v3;
    return v5;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector old0 = s[0];
    const vector v3 = w * u[2];
    const vector v4 = g + v3;
    const vector v5 = old0 * u[1];
    const vector v6 = v4 * u[3];
    const vector v7 = v5 + v6;
    const vector v8 = v7 * u[0];
    const vector v9 = w - v8;
    s[0] = v7;
    return v9;
}

void scalars(double t, const double *settings, REAL *to)
{
    if (t == 1) {
        to[0] = (REAL)settings[0];
        to[1] = (REAL)settings[3];
    } else {
        const double v0 = t - 1.0;
        const double v1 = whole_power(0.0, v0);
        const double v2 = 1.0 - v1;
        const double v3 = settings[2] * v2;
        const double v4 = 1.0 - v3;
        to[0] = (REAL)settings[0];
        to[1] = (REAL)settings[1];
        to[2] = (REAL)settings[3];
        to[3] = (REAL)v4;
    }
}

#include "optimizer.h"
