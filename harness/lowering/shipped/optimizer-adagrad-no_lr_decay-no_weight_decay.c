// {"kind": "optimizer", "name": "adagrad", "scalars": 3, "settings": ["lr", "eps", "initial_accumulator_value"], "states": ["total"]}
#include "component.h"
#define STATES 1
#define SCALARS 3
#define FIRST_DIFFERS 1

INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
{
    const vector v2 = g * g;
    const vector v3 = u[2] + v2;
    const vector v4 = vector_sqrt(v3);
    const vector v5 = v4 + u[1];
    const vector v6 = g / v5;
    const vector v7 = v6 * u[0];
    const vector v8 = w - v7;
    s[0] = v3;
    return v8;
}

INLINE vector step_later(const REAL *u, vector w, vector g, vector *s)
{
    const vector old0 = s[0];
    const vector v3 = g * g;
    const vector v4 = old0 + v3;
    const vector v5 = vector_sqrt(v4);
    const vector v6 = v5 + u[1];
    const vector v7 = g / v6;
    const vector v8 = v7 * u[0];
    const vector v9 = w - v8;
    s[0] = v4;
    return v9;
}

void scalars(double t, const double *settings, REAL *to)
{
    if (t == 1) {
        to[0] = (REAL)settings[0];
        to[1] = (REAL)settings[1];
        to[2] = (REAL)settings[2];
    } else {
        to[0] = (REAL)settings[0];
        to[1] = (REAL)settings[1];
    }
}

#include "optimizer.h"
