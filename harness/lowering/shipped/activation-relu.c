// {"kind": "activation", "name": "relu", "settings": []}
#include "component.h"

INLINE vector forward(vector x)
{
    const vector v1 = vector_relu(x);
    return v1;
}

INLINE vector backward(vector grad, vector x, vector y)
{
    const integers v2 = y <= 0;
    const vector v3 = chosen(v2, all_of(0), grad);
    return v3;
}

void activate(const REAL *restrict x, REAL *restrict y, int64_t n)
{
    for (int64_t i = 0; i < n; i += LANES) *(vector *)(y + i) = forward(*(const vector *)(x + i));
}

void derive(REAL *restrict grad, const REAL *restrict x, const REAL *restrict y, int64_t n)
{
    for (int64_t i = 0; i < n; i += LANES) {
        vector *g = (vector *)(grad + i);
        *g = backward(*g, *(const vector *)(x + i), *(const vector *)(y + i));
    }
}
