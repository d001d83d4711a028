// {"kind": "activation", "name": "gelu", "settings": []}
#include "component.h"

INLINE vector forward(vector x)
{
    const vector v1 = x * (REAL)0.5;
    const vector v2 = x * (REAL)0.7071067811865476;
    const vector v3 = vector_erf(v2);
    const vector v4 = v3 + 1;
    const vector v5 = v1 * v4;
    return v5;
}

INLINE vector backward(vector grad, vector x, vector y)
{
    const vector v2 = x * (REAL)0.7071067811865476;
    const vector v3 = vector_erf(v2);
    const vector v4 = v3 + 1;
    const vector v5 = v4 * (REAL)0.5;
    const vector v6 = x * x;
    const vector v7 = v6 * ((REAL)-0.5);
    const vector v8 = vector_exp(v7);
    const vector v9 = v8 * (REAL)0.3989422804014327;
    const vector v10 = x * v9;
    const vector v11 = v5 + v10;
    const vector v12 = grad * v11;
    return v12;
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
