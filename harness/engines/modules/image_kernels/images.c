/* Layers of images, of the members of a stack one after the other: convolutions, pooling, batch normalisation.

   A member's images lie in memory (channels, height, width, batch): lanes are images, so that an edge of an image is
   a bound of a loop, a weight is one number for a whole vector, and a layer reads what the one before it wrote. A
   batch has at least LANES images; where it is no multiple, its last vector overlaps the one before it. No sum runs
   over members. Compiled with REAL float and with REAL double; __init__.py declares all of it again. */

#if REAL_BYTES == 8 && !defined(LANES)
#if defined(__AVX512F__)
#define LANES 8
#else
#define LANES 4
#endif
#endif
#include "lanes.h"

#if defined(__AVX512F__) || defined(__aarch64__)
#define SUMS 24 /* in registers at once */
#define MOST_WIDE 4
#else
#define SUMS 12
#define MOST_WIDE 2
#endif
#define MOST_ROWS 8
#define MOST_TAPS 5
#define READ(x) (*(const vector *)(x))
#define WRITE(x) (*(vector *)(x))

int64_t lanes(void) { return LANES; }
int64_t most_rows(void) { return MOST_ROWS; }
static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

INLINE REAL sum_of(vector v)
{
    REAL sum[LANES];
    WRITE(sum) = v;
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) sum[i] += sum[i + half];
    return sum[0];
}

/* The lanes of a batch's last vector that no vector before it has. */
INLINE integers last_lanes(int64_t b) { return lane_numbers() >= (int_of_real)((LANES - b % LANES) % LANES); }

#include "convolutions.h"
#include "normalisation.h"
#include "pooling.h"
#include "blocks.h"
