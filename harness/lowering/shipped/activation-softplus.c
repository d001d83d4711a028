// {"kind": "activation", "name": "softplus", "settings": []}
#include "component.h"

INLINE vector forward(vector x)
{
    const vector v1 = vector_exp(x);
    const vector v2 = vector_log1p(v1);
    const integers v3 = x > 20;
    const vector v4 = chosen(v3, x, v2);
    return v4;
}

INLINE vector backward(vector grad, vector x, vector y)
{
    const vector v2 = vector_exp(x);
    const integers v3 = x > 20;
    const vector v4 = grad * v2;
    const vector v5 = v2 + 1;
    const vector v6 = v4 / v5;
    const vector v7 = chosen(v3, grad, v6);
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
