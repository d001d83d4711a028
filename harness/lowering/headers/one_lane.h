/* Vectors of one number, for a GPU, where each thread computes one: C++ that the text of `lanes.h` and of emitted
   components reads as it reads the vectors of a CPU. Comparisons give 0 or -1, and a cast between the two types keeps
   the bits. The compiler of a GPU knows neither GCC's builtins nor headers. */
#define LANES 1
#define INLINE static inline __attribute__((always_inline))
#define INLINE_MEMBER inline __attribute__((always_inline))
#define restrict __restrict__
#define EACH(i, n) _Pragma("unroll") for (int i = 0; i < (n); i++)
#define SETTLED(x)

#ifdef __CUDACC_RTC__
typedef unsigned char uint8_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fc00000)
#define __builtin_inff() INFINITY
#define __builtin_nanf(x) NAN
#define __builtin_sqrtf sqrtf
#define __builtin_sqrt sqrt
#define __builtin_floorf floorf
#define __builtin_floor floor
#define __builtin_ceilf ceilf
#define __builtin_ceil ceil
#define __builtin_truncf truncf
#define __builtin_trunc trunc
#define __builtin_rintf rintf
#define __builtin_rint rint
#define __builtin_fabs fabs
#else
#include <math.h>
#include <stdint.h>
#include <string.h>
#endif

#if REAL_BYTES == 4
typedef int32_t int_of_real;
typedef uint32_t bits_of_real;
#else
typedef int64_t int_of_real;
typedef uint64_t bits_of_real;
#endif

struct integers;
struct vector {
    REAL x;
    vector() = default;
    INLINE_MEMBER vector(REAL y) : x(y) {}
    INLINE_MEMBER explicit vector(integers bits);
    INLINE_MEMBER REAL &operator[](int) { return x; }
    INLINE_MEMBER REAL operator[](int) const { return x; }
};
struct integers {
    int_of_real x;
    integers() = default;
    INLINE_MEMBER integers(int_of_real y) : x(y) {}
    INLINE_MEMBER explicit integers(vector bits);
    INLINE_MEMBER int_of_real &operator[](int) { return x; }
    INLINE_MEMBER int_of_real operator[](int) const { return x; }
};
INLINE_MEMBER vector::vector(integers bits) { memcpy(&x, &bits.x, sizeof x); }
INLINE_MEMBER integers::integers(vector bits) { memcpy(&x, &bits.x, sizeof x); }

#define ARITHMETIC(sign) \
    INLINE vector operator sign(vector a, vector b) { return vector(a.x sign b.x); } \
    INLINE vector &operator sign##=(vector &a, vector b) { return a = vector(a.x sign b.x); }
ARITHMETIC(+) ARITHMETIC(-) ARITHMETIC(*) ARITHMETIC(/)
INLINE vector operator-(vector a) { return vector(-a.x); }

#define COMPARISON(sign) \
    INLINE integers operator sign(vector a, vector b) { return integers(a.x sign b.x ? -1 : 0); } \
    INLINE integers operator sign(integers a, integers b) { return integers(a.x sign b.x ? -1 : 0); }
COMPARISON(<) COMPARISON(<=) COMPARISON(>) COMPARISON(>=) COMPARISON(==) COMPARISON(!=)

/* without the sign, so that what is beyond the range wraps around, as in a vector register */
#define OF_BITS(sign) \
    INLINE integers operator sign(integers a, integers b) \
    { \
        return integers((int_of_real)((bits_of_real)a.x sign (bits_of_real)b.x)); \
    }
OF_BITS(+) OF_BITS(-) OF_BITS(&) OF_BITS(|) OF_BITS(^)
INLINE integers operator~(integers a) { return integers(~a.x); }
INLINE integers operator<<(integers a, int n) { return integers((int_of_real)((bits_of_real)a.x << n)); }
INLINE integers operator>>(integers a, int n) { return integers(a.x >> n); }
