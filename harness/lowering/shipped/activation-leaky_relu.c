// {"kind": "activation", "name": "leaky_relu", "settings": []}
#include "component.h"

INLINE vector forward(vector x)
{
    const integers v1 = x > 0;
    const vector v2 = x * (REAL)0.01;
    const vector v3 = chosen(v1, x, v2);
    return v3;
}

INLINE vector backward(vector grad, vector x, vector y)
{
    const integers v2 = x > 0;
    const vector v3 = grad * (REAL)0.01;
    const vector v4 = chosen(v2, grad, v3);
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
