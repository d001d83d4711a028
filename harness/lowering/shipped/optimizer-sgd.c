// {"kind": "optimizer", "name": "sgd", "scalars": 2, "settings": ["lr", "weight_decay"], "states": []}
#include "component.h"
#define STATES 0
#define SCALARS 2
#define FIRST_DIFFERS 0

INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = w * u[1];
    const vector v3 = g + v2;
    const vector v4 = v3 * u[0];
    const vector v5 = w - v4;
    return v5;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = w * u[1];
    const vector v3 = g + v2;
    const vector v4 = v3 * u[0];
    const vector v5 = w - v4;
    return v5;
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
