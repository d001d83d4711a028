// {"kind": "optimizer", "name": "sgd", "scalars": 1, "settings": ["lr"], "states": []}
#include "component.h"
#define STATES 0
#define SCALARS 1
#define FIRST_DIFFERS 0

INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = g * u[0];
    const vector v3 = w - v2;
    return v3;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = g * u[0];
    const vector v3 = w - v2;
    return v3;
}

void scalars(double t, const double *settings, REAL *to)
{
    if (t == 1) {
        to[0] = (REAL)settings[0];
    } else {
        to[0] = (REAL)settings[0];
    }
}

#include "optimizer.h"
