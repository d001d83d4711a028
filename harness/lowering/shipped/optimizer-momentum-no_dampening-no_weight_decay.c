// {"kind": "optimizer", "name": "momentum", "scalars": 2, "settings": ["lr", "momentum"], "states": ["velocity"]}
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
    const vector v3 = old0 * u[1];
    const vector v4 = v3 + g;
    const vector v5 = v4 * u[0];
    const vector v6 = w - v5;
    s[0] = v4;
    return v6;
}

void scalars(double t, const double *settings, REAL *to)
{
    if (t == 1) {
        to[0] = (REAL)settings[0];
    } else {
        to[0] = (REAL)settings[0];
        to[1] = (REAL)settings[1];
    }
}

#include "optimizer.h"
