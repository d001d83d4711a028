/* Vectors of LANES numbers: transposition, and elementary functions of all of them at once.

   Single precision has polynomials (Cephes; erf: N. Juffa), within 1.5 units in the last place, whose inf, NaN
   and subnormal results are libm's. Double precision, and what has no polynomial, goes to libm lane by lane. */
#pragma once
#ifdef ONE_LANE
#include "one_lane.h"
#else
#include <math.h>
#include <stdint.h>
#include <string.h>

/* As many as a vector register of the target holds: GCC keeps wider vectors in memory, which takes over ten
   times as long. */
#ifndef LANES
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4 /* SSE, NEON */
#endif
#endif
#if REAL_BYTES == 4
typedef int32_t int_of_real;
#else
typedef int64_t int_of_real;
#endif
#define INLINE static inline __attribute__((always_inline))
#define EACH(i, n) _Pragma("GCC unroll 8") for (int i = 0; i < (n); i++)
#define ALL(i, n) _Pragma("GCC unroll 16") for (int i = 0; i < (n); i++)

typedef REAL vector __attribute__((vector_size(LANES * sizeof(REAL)), aligned(sizeof(REAL))));
typedef int_of_real integers __attribute__((vector_size(LANES * sizeof(REAL)), aligned(sizeof(REAL))));

/* What computes `x` ends here: the compiler moves nothing across, so that products and sums behind it become one
   rounding, or two, alike wherever the same text stands in a loop of another width. */
#if defined(__AVX512F__)
#define REGISTER_BYTES 64
#elif defined(__AVX__)
#define REGISTER_BYTES 32
#else
#define REGISTER_BYTES 16
#endif
#if LANES * REAL_BYTES <= REGISTER_BYTES && defined(__AVX512F__)
#define SETTLED(x) __asm__("" : "+v"(x))
#elif LANES * REAL_BYTES <= REGISTER_BYTES && defined(__SSE2__)
#define SETTLED(x) __asm__("" : "+x"(x))
#elif LANES * REAL_BYTES <= REGISTER_BYTES && defined(__aarch64__)
#define SETTLED(x) __asm__("" : "+w"(x))
#else
#define SETTLED(x) __asm__("" : "+m"(x))
#endif

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

#endif

/* a where the mask is set, else b: no arithmetic, so that a NaN stays where it is */
INLINE vector chosen(integers mask, vector a, vector b)
{
    return (vector)((mask & (integers)a) | (~mask & (integers)b));
}

INLINE vector all_of(REAL x) { return x - (vector){0}; } /* x - 0 is x, which 0 + x is not where x is -0 */
INLINE integers lane_numbers(void)
{
    integers n;
    for (int u = 0; u < LANES; u++) n[u] = u;
    return n;
}
INLINE integers mask_of(int is) { return (integers){0} - (int_of_real)(is != 0); }

/* As in torch, a NaN of either is what comes out. */
INLINE vector vector_max(vector a, vector b) { return chosen((a > b) | (a != a), a, b); }
INLINE vector vector_min(vector a, vector b) { return chosen((a < b) | (a != a), a, b); }
INLINE vector vector_relu(vector x) { return chosen(x < 0, (vector){0}, x); }
#define SIGN ((integers){0} + (int_of_real)(1ULL << (8 * REAL_BYTES - 1)))
INLINE vector vector_abs(vector x) { return (vector)((integers)x & ~SIGN); }
INLINE vector with_sign(vector size, vector x) { return (vector)((integers)size | ((integers)x & SIGN)); }
INLINE vector vector_sign(vector x) { return chosen(x > 0, all_of(1), chosen(x < 0, all_of(-1), (vector){0})); }

INLINE double double_max(double a, double b) { return a > b || a != a ? a : b; }
INLINE double double_min(double a, double b) { return a < b || a != a ? a : b; }
INLINE double double_sign(double x) { return (x > 0) - (x < 0); }

/* base^n of a whole number n, by repeated squaring */
INLINE double whole_power(double base, double n)
{
    double result = 1;
    int64_t left = (int64_t)(n < 0 ? -n : n);
    for (; left; left >>= 1, base *= base)
        if (left & 1) result *= base;
    return n < 0 ? 1 / result : result;
}

#define BY_LANE(name, single_form, double_form) \
    INLINE vector name(vector x) \
    { \
        vector y; \
        for (int u = 0; u < LANES; u++) \
            y[u] = REAL_BYTES == 4 ? (REAL)single_form((float)x[u]) : (REAL)double_form((double)x[u]); \
        return y; \
    }
BY_LANE(vector_sqrt, __builtin_sqrtf, __builtin_sqrt)
BY_LANE(vector_floor, __builtin_floorf, __builtin_floor)
BY_LANE(vector_ceil, __builtin_ceilf, __builtin_ceil)
BY_LANE(vector_trunc, __builtin_truncf, __builtin_trunc)
BY_LANE(vector_round, __builtin_rintf, __builtin_rint)
BY_LANE(vector_sin, sinf, sin)
BY_LANE(vector_cos, cosf, cos)
BY_LANE(vector_tan, tanf, tan)
BY_LANE(vector_asin, asinf, asin)
BY_LANE(vector_acos, acosf, acos)
BY_LANE(vector_atan, atanf, atan)
BY_LANE(vector_sinh, sinhf, sinh)
BY_LANE(vector_cosh, coshf, cosh)
BY_LANE(vector_asinh, asinhf, asinh)
BY_LANE(vector_acosh, acoshf, acosh)
BY_LANE(vector_atanh, atanhf, atanh)
BY_LANE(vector_erfc, erfcf, erfc)
BY_LANE(vector_exp2, exp2f, exp2)
BY_LANE(vector_log2, log2f, log2)
BY_LANE(vector_log10, log10f, log10)
BY_LANE(vector_lgamma, lgammaf, lgamma)

INLINE vector vector_pow(vector base, vector power)
{
    vector y;
    for (int u = 0; u < LANES; u++)
        y[u] = REAL_BYTES == 4 ? (REAL)powf((float)base[u], (float)power[u])
                               : (REAL)pow((double)base[u], (double)power[u]);
    return y;
}

#if REAL_BYTES == 4

#define ROUNDER 12582912.0f /* 1.5 * 2^23: a float added to it is rounded to a whole number */

/* Takes x apart, x = n log 2 + r, and returns e^r - 1. */
INLINE vector reduced(vector x, vector *n)
{
    *n = x * 1.44269504088896341f + ROUNDER - ROUNDER;
    const vector r = x - *n * 0.693359375f + *n * 2.12194440e-4f;
    vector p = all_of(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return p * (r * r) + r;
}

INLINE integers whole(vector n) { return (integers)(n + ROUNDER) - 0x4b400000; }
INLINE vector two_to(integers n) { return (vector)((n + 127) << 23); } /* n from -126 to 127 */

INLINE vector vector_exp(vector given)
{
    vector n, x = chosen(given > 89.0f, all_of(89), given);
    x = chosen(x < -104.0f, all_of(-104), x);
    const vector e = reduced(x, &n) + 1;
    const integers k = whole(n), half = k >> 1; /* in two steps: 2^k may be beyond the normal numbers */
    return e * two_to(half) * two_to(k - half); /* of a NaN, e is NaN */
}

INLINE vector vector_expm1(vector given)
{
    vector n, x = chosen(given > 89.0f, all_of(89), given);
    x = chosen(x < -20.0f, all_of(-20), x);
    const vector q = reduced(x, &n), half = two_to(whole(n) - 1); /* half of 2^n, as 2^128 is no float */
    const vector e = 2 * (half * q + (half - 0.5f));
    return chosen(given == 0, given, e); /* which may be -0 */
}

INLINE vector vector_log(vector given)
{
    const integers tiny = given < 1.17549435e-38f; /* subnormal */
    const vector x = chosen(tiny, given * 8388608.0f, given); /* 2^23 */
    const integers bits = (integers)x - 0x3f3504f3, k = bits >> 23; /* counted from the root of 1/2 */
    const vector f = (vector)((bits & 0x7fffff) + 0x3f3504f3) - 1, s = f * f;
    const vector e = (vector)(k + 0x4b400000) - ROUNDER - chosen(tiny, all_of(23), all_of(0));
    vector p = all_of(7.0376836292e-2f);
    p = p * f - 1.1514610310e-1f;
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    const vector small = p * s * f - e * 2.12194440e-4f - 0.5f * s;
    vector y = small + f + e * 0.693359375f;
    y = chosen(given == __builtin_inff(), given, y);
    y = chosen(given == 0, all_of(-__builtin_inff()), y);
    return chosen((given < 0) | (given != given), all_of(__builtin_nanf("")), y);
}

INLINE vector vector_log1p(vector x)
{
    const vector u = 1 + x, log = vector_log(u);
    const vector y = log - ((u - 1) - x) / u; /* what rounding took from u */
    return chosen((u == 0) | (u == __builtin_inff()) | (u != u), log, chosen(u == 1, x, y));
}

INLINE vector vector_tanh(vector x)
{
    const vector size = vector_abs(x), s = x * x;
    vector p = all_of(-5.70498872745e-3f);
    p = p * s + 2.06390887954e-2f;
    p = p * s - 5.37397155531e-2f;
    p = p * s + 1.33314422036e-1f;
    p = p * s - 3.33332819422e-1f;
    const vector near = p * s * size + size, far = 1 - 2 / (vector_expm1(2 * size) + 2);
    return with_sign(chosen(size < 0.625f, near, far), x);
}

INLINE vector vector_erf(vector x)
{
    const vector size = vector_abs(x), s = x * x;
    vector r = all_of(-1.72853470e-5f) * size + 3.83197126e-4f;
    r = r * s + (all_of(-3.88396438e-3f) * size + 2.42546219e-2f);
    r = r * size - 1.06777877e-1f;
    r = r * size - 6.34846687e-1f;
    r = r * size - 1.28717512e-1f;
    r = r * size - size;
    r = chosen(r < -87.0f, all_of(-87), r); /* far below what moves 1 */
    vector n;
    const vector e = reduced(r, &n) + 1, far = 1 - e * two_to(whole(n));
    vector p = all_of(-5.96761703e-4f);
    p = p * s + 4.99119423e-3f;
    p = p * s - 2.67681349e-2f;
    p = p * s + 1.12819925e-1f;
    p = p * s - 3.76125336e-1f;
    p = p * s + 1.28379166e-1f;
    return with_sign(chosen(size > 0.927734375f, far, p * size + size), x);
}

#else

BY_LANE(vector_exp, expf, exp)
BY_LANE(vector_expm1, expm1f, expm1)
BY_LANE(vector_log, logf, log)
BY_LANE(vector_log1p, log1pf, log1p)
BY_LANE(vector_tanh, tanhf, tanh)
BY_LANE(vector_erf, erff, erf)

#endif

INLINE vector vector_sigmoid(vector x)
{
    const vector e = vector_exp(-vector_abs(x)); /* which does not overflow */
    return chosen(x < 0, e, all_of(1)) / (1 + e);
}
