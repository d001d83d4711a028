// {"kind": "optimizer", "name": "momentum", "scalars": 2, "settings": ["lr", "dampening"], "states": ["velocity"]}
#include "component.h"
#define STATES 1
#define SCALARS 2
#define FIRST_DIFFERS 1

INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = g * u[0];
    const vector v3 = w - v2;
    s[0] = g;
    return v3;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector old0 = s[0];
    const vector v3 = old0 * 0;
    const vector v4 = g * u[1];
    const vector v5 = v3 + v4;
    const vector v6 = v5 * u[0];
    const vector v7 = w - v6;
    s[0] = v5;
    return v7;
}

void scalars(double t, const double *settings, REAL *to)
{
    if (t == 1) {
        to[0] = (REAL)settings[0];
    } else {
        const double v0 = t - 1.0;
        const double v1 = whole_power(0.0, v0);
        const double v2 = 1.0 - v1;
        const double v3 = settings[1] * v2;
        const double v4 = 1.0 - v3;
        to[0] = (REAL)settings[0];
        to[1] = (REAL)v4;
    }
}

#include "optimizer.h"
