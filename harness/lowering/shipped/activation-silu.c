// {"kind": "activation", "name": "silu", "settings": []}
#include "component.h"

INLINE vector forward(vector x)
{
    const vector v1 = vector_sigmoid(x);
    const vector v2 = x * v1;
    return v2;
}

INLINE vector backward(vector grad, vector x, vector y)
{
    const vector v2 = vector_sigmoid(x);
    const vector v3 = grad * v2;
    const vector v4 = 1 - v2;
    const vector v5 = x * v4;
    const vector v6 = v5 + 1;
    const vector v7 = v3 * v6;
    return v7;
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
