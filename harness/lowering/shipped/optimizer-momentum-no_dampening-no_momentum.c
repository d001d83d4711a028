// {"kind": "optimizer", "name": "momentum", "scalars": 2, "settings": ["lr", "weight_decay"], "states": ["velocity"]}
#include "component.h"
#define STATES 1
#define SCALARS 2
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
    const vector v3 = w * u[1];
    const vector v4 = g + v3;
    const vector v5 = old0 * 0;
    const vector v6 = v5 + v4;
    const vector v7 = v6 * u[0];
    const vector v8 = w - v7;
    s[0] = v6;
    return v8;
}

void scalars(double t, const double *settings, REAL *to)
{
    if (t == 1) {
        to[0] = (REAL)settings[0];
        to[1] = (REAL)settings[1];
    } else {
        to[0] = (REAL)settings[0];
        to[1] = (REAL)settings[1];
    }
}

#include "optimizer.h"
