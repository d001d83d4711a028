/* Vectors of LANES numbers: transposition, exp and tanh of all of them at once. */

#include <stdint.h>
#include <string.h>

/* As many as a vector register of the target holds: GCC keeps wider vectors in memory, which takes over ten
   times as long. */
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4 /* SSE, NEON */
#endif
#if REAL_BYTES == 4
typedef int32_t int_of_real;
#else
typedef int64_t int_of_real;
#endif
#define INLINE static inline __attribute__((always_inline))
#define EACH(i, n) _Pragma("GCC unroll 8") for (int i = 0; i < (n); i++)

typedef REAL vector __attribute__((vector_size(LANES * sizeof(REAL)), aligned(sizeof(REAL))));

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#if LANES == 16
#define LOW(a, b) \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH(a, b) \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif LANES == 8
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif
#define INTERLEAVE(to, from) \
    EACH(i, LANES / 2) { \
        to[2 * i] = LOW(from[i], from[i + LANES / 2]); \
        to[2 * i + 1] = HIGH(from[i], from[i + LANES / 2]); \
    }
#endif
#endif

INLINE void transpose(vector m[LANES])
{
#ifdef INTERLEAVE
    vector t[LANES];
    INTERLEAVE(t, m) INTERLEAVE(m, t) /* as often as LANES can be halved */
#if LANES == 16
    INTERLEAVE(t, m) INTERLEAVE(m, t)
#elif LANES == 8
    INTERLEAVE(t, m)
    EACH(i, LANES) m[i] = t[i];
#endif
#else
    for (int i = 0; i < LANES; i++)
        for (int j = 0; j < i; j++) {
            REAL held = m[i][j];
            m[i][j] = m[j][i];
            m[j][i] = held;
        }
#endif
}

typedef int_of_real integers __attribute__((vector_size(LANES * sizeof(REAL)), aligned(sizeof(REAL))));

/* a where the mask is set, else b: no arithmetic, so that a NaN stays where it is */
INLINE vector chosen(integers mask, vector a, vector b)
{
    return (vector)((mask & (integers)a) | (~mask & (integers)b));
}

/* e^x, to 1 ulp or so; beyond the range of normal numbers it stays at the range's end. Cephes' polynomial. */
INLINE vector exponential(vector given)
{
#if REAL_BYTES == 4
    const vector zero = {0}, one = zero + 1;
    vector x = chosen(given > 88.37f, zero + 88.37f, given);
    x = chosen(x < -87.33f, zero - 87.33f, x);
    vector n = x * 1.44269504088896341f + 12582912.0f; /* 1.5 * 2^23: rounds to an integer */
    const integers power = ((integers)n - 0x4b400000) << 23;
    n -= 12582912.0f;
    const vector r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vector p = one * 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1;
    return chosen(given != given, given, (vector)((integers)p + power));
#else
    vector e;
    for (int u = 0; u < LANES; u++) e[u] = __builtin_exp(given[u]);
    return e;
#endif
}

INLINE vector tangent(vector x)
{
#if REAL_BYTES == 4
    const vector zero = {0};
    const vector size = chosen(x < 0, zero - x, x), square = x * x;
    vector p = zero - 5.70498872745e-3f; /* Cephes' polynomial, near 0 */
    p = p * square + 2.06390887954e-2f;
    p = p * square - 5.37397155531e-2f;
    p = p * square + 1.33314422036e-1f;
    p = p * square - 3.33332819422e-1f;
    const vector near = p * square * x + x, far = 1 - 2 / (exponential(2 * size) + 1);
    return chosen(size < 0.625f, near, chosen(x < 0, zero - far, far));
#else
    vector t;
    for (int u = 0; u < LANES; u++) t[u] = __builtin_tanh(x[u]);
    return t;
#endif
}

INLINE REAL logarithm(REAL x) { return REAL_BYTES == 4 ? (REAL)__builtin_logf(x) : (REAL)__builtin_log(x); }
