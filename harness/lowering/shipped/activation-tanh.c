// {"kind": "activation", "name": "tanh", "settings": []}
#include "component.h"

INLINE vector forward(vector x)
{
    const vector v1 = vector_tanh(x);
    return v1;
}

INLINE vector backward(vector grad, vector x, vector y)
{
    const vector v2 = y * y;
    const vector v3 = 1 - v2;
    const vector v4 = grad * v3;
    return v4;
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
