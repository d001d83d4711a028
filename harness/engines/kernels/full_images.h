/* Images in full, and layer one's products with them: where few pixels are zero, arithmetic in a regular order is
   faster than leaving some of it out.

   A batch is (b, row): u of all pixels, image by image, `row` numbers apart. Products and gradients keep the sums of
   some images, or pixels, times two tiles in registers. Each sum is taken in the order of the pixels, or of the
   images, wherever it is cut, so that it does not depend on how many are computed together. */

#if defined(__AVX512F__) && LANES * REAL_BYTES == 64
#define IN_REGISTERS 8   /* sums of two tiles each: 16 of 32 registers */
#elif defined(__aarch64__)
#define IN_REGISTERS 8
#else
#define IN_REGISTERS 6    /* 12 of 16 */
#endif
#define PAIR 2            /* tiles */
#define PIXELS 128         /* whose weights stay in the first cache while all images of a batch read them */
#define IMAGES 128        /* whose gradients stay there while all pixels of a range read them */

/* An odd number of cache lines: what lies one below the other is not in the same place of a cache. */
int64_t row_of(int64_t d) { return ((d + LANES - 1) / LANES | 1) * LANES; }

/* Write u of batches of images by their places (batches, b): of each the first `count`, to (batches, b, row). */
void expand(images from, const int64_t *index, int64_t batches, int64_t b, int64_t count, int64_t d, REAL *to)
{
    const int64_t row = row_of(d);
    for (int64_t s = 0; s < batches; s++)
        for (int64_t i = 0; i < count; i++) {
            REAL *restrict own = to + (s * b + i) * row;
            const int64_t n = index[s * b + i];
            if (from.full) { memcpy(own, from.full + n * d, d * sizeof(REAL)); continue; }
            memset(own, 0, d * sizeof(REAL));
            for (int64_t p = from.row[n * from.ranges]; p < from.row[(n + 1) * from.ranges]; p++)
                own[from.column[p]] = from.value[p];
        }
}

INLINE void product_block(int rows, int width, const REAL *restrict w, int64_t d, int64_t count,
                          const REAL *restrict x, int64_t row, REAL *restrict sums)
{
    vector sum[IN_REGISTERS][PAIR];
    ALL(r, rows) ALL(g, width) sum[r][g] = *(const vector *)(sums + (r * width + g) * LANES);
    for (int64_t j = 0; j < count; j++) {
        vector own[PAIR];
        ALL(g, width) own[g] = *(const vector *)(w + (g * d + j) * LANES);
        ALL(r, rows) ALL(g, width) sum[r][g] += x[r * row + j] * own[g];
    }
    ALL(r, rows) ALL(g, width) *(vector *)(sums + (r * width + g) * LANES) = sum[r][g];
}

/* sums (count, width, LANES) = W u of the first `count` images of a batch, plus `moved` unless that is NULL */
INLINE void full_product(int width, const REAL *restrict w, const REAL *restrict moved, const REAL *restrict x,
                         int64_t count, int64_t d, REAL *restrict sums)
{
    const int64_t row = row_of(d);
    for (int64_t i = 0; i < count; i++)
        EACH(g, width)
            *(vector *)(sums + (i * width + g) * LANES) = moved ? *(const vector *)(moved + g * LANES) : (vector){0};
    for (int64_t j = 0; j < d; j += PIXELS) {
        const int64_t pixels = d - j < PIXELS ? d - j : PIXELS;
        int64_t i = 0;
#define BLOCKS(n) \
    for (; i + n <= count; i += n) \
        product_block(n, width, w + j * LANES, d, pixels, x + i * row + j, row, sums + i * width * LANES);
        BLOCKS(IN_REGISTERS) BLOCKS(4) BLOCKS(2) BLOCKS(1)
#undef BLOCKS
    }
}

INLINE void gradient_block(int pixels, int width, const REAL *restrict x, int64_t row, int64_t count,
                           const REAL *restrict sums, REAL *restrict grad)
{
    vector sum[IN_REGISTERS][PAIR];
    ALL(p, pixels) ALL(g, width) sum[p][g] = *(const vector *)(grad + (g * PIXELS + p) * LANES);
    for (int64_t i = 0; i < count; i++) {
        vector own[PAIR];
        ALL(g, width) own[g] = *(const vector *)(sums + (i * width + g) * LANES);
        ALL(p, pixels) ALL(g, width) sum[p][g] += x[i * row + p] * own[g];
    }
    ALL(p, pixels) ALL(g, width) *(vector *)(grad + (g * PIXELS + p) * LANES) = sum[p][g];
}

/* Gradients `grad` (width, PIXELS, LANES) of the weights of pixels j .. j + pixels, of a batch's `count` images. */
INLINE void full_gradient(int width, const tiles_step *k, const REAL *restrict x, int64_t count, int64_t j,
                          int64_t pixels, REAL *restrict grad)
{
    const int64_t row = row_of(k->d);
    for (int64_t p = 0; p < pixels; p++)
        EACH(g, width)
            *(vector *)(grad + (g * PIXELS + p) * LANES) =
                k->c ? k->c[j + p] * *(const vector *)(k->total + g * LANES) : (vector){0};
    for (int64_t i = 0; i < count; i += IMAGES) {
        const int64_t images = count - i < IMAGES ? count - i : IMAGES;
        int64_t p = 0;
#define BLOCKS(n) \
    for (; p + n <= pixels; p += n) \
        gradient_block(n, width, x + i * row + j + p, row, images, k->sums + i * width * LANES, grad + p * LANES);
        BLOCKS(IN_REGISTERS) BLOCKS(4) BLOCKS(2) BLOCKS(1)
#undef BLOCKS
    }
}

typedef void (*rows_step)(REAL *w, const REAL *g, REAL *const *state, int64_t n, int64_t first, const REAL *scalars);

/* The step of an optimizer on one tile, or two: some pixels' gradients, then their weights. */
INLINE void full_step(int width, const tiles_step *k, const REAL *x, int64_t count, int64_t states, rows_step take)
{
    REAL grad[PAIR * PIXELS * LANES] __attribute__((aligned(64)));
    for (int64_t j = 0; j < k->d; j += PIXELS) {
        const int64_t pixels = k->d - j < PIXELS ? k->d - j : PIXELS;
        full_gradient(width, k, x, count, j, pixels, grad);
        for (int64_t g = 0; g < width; g++) {
            const int64_t at = (g * k->d + j) * LANES;
            REAL *state[MOST_STATES];
            for (int64_t s = 0; s < states; s++) state[s] = k->state[s] + at;
            take(k->w + at, grad + g * PIXELS * LANES, state, pixels * LANES, k->first, k->scalars[g]);
        }
    }
    if (k->c) move(k->w, k->c, width, k->d, k->moved);
}
