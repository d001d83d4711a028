/* Images that are mostly one value a pixel, and layer one's products with them.

   An image is x = u + c: c (D,) is what a pixel of zero has become, the same in all images, and u is mostly
   zeros. A product with a pixel whose u is zero is not computed: on MNIST that leaves a fifth of the
   arithmetic, W x = W u + W c, and W c is one sum for all images. Where c is zero it is NULL. What is left runs
   on vectors of LANES hidden units. Their weights are a tile, (D, LANES): pixel by pixel, so that a pixel's
   weights are one vector and nothing is gathered. Members are whole tiles side by side, the last one filled
   up with rows of zeros, which stay zeros: their gradients are.

   Images are compressed rows: image n has the values value[row[n * R]..row[(n + 1) * R]] of u at the pixels
   column[...], in R ranges of pixels, so that a range's weights stay in the first cache while all images of a batch
   read them. A batch is turned (transposed) by `turn`, once a step: for each pixel it then has the images in which u
   is not zero there. So the gradient of a pixel's weights is one sum over these, and the optimizer's step is taken
   while the sum is still in registers: weights and an optimizer's states are read and written once. */

#define FILLED(n) (((n) + LANES - 1) / LANES * LANES)

typedef struct {      /* images, compressed or in full */
    const REAL *full;       /* (N + 1, D), c NULL and nothing else; or NULL */
    const int64_t *row;     /* (N * R + 1,) */
    const uint16_t *column; /* (row[N * R],) */
    const REAL *value;      /* (row[N * R],) */
    const REAL *c;          /* (D,), or NULL */
    int64_t ranges;         /* R */
} images;

#define RANGE_BYTES 32768 /* of the weights of a range of pixels, of TOGETHER tiles */
#define TOGETHER 4        /* tiles that a product computes at once */

/* Count the pixels of a range, of all but the last. */
static int64_t range_of(int64_t d)
{
    const int64_t most = RANGE_BYTES / (int64_t)(TOGETHER * LANES * sizeof(REAL)), ranges = (d + most - 1) / most;
    return (d + ranges - 1) / ranges;
}

int64_t ranges_of(int64_t d) { return (d + range_of(d) - 1) / range_of(d); }

typedef struct {      /* LANES hidden units of a member, or fewer at its end */
    int64_t row;      /* of the matrix (k*h, B) of its block's pre-activations */
    int32_t rows;     /* how many */
    int32_t block;    /* which matrix */
    int32_t batch;    /* which of the batches its member sees */
    int32_t member;
} tile;

/* Count the pixels of images (N, D) that differ from c, or from zero. */
int64_t compressed_size(const REAL *x, const REAL *c, int64_t n, int64_t d)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++, x += d)
        for (int64_t j = 0; j < d; j++) count += x[j] != (c ? c[j] : 0);
    return count;
}

/* Compress images (N, D) into `row`, `column` and `value`, as of `images`. */
void compress(const REAL *x, const REAL *c, int64_t n, int64_t d, int64_t *row, uint16_t *column, REAL *value)
{
    int64_t at = 0;
    const int64_t range = range_of(d);
    for (int64_t i = 0; i < n; i++, x += d)
        for (int64_t j = 0; j < d; j++) {
            const REAL zero = c ? c[j] : 0;
            if (j % range == 0) *row++ = at;
            if (x[j] != zero) column[at] = (uint16_t)j, value[at++] = x[j] - zero;
        }
    *row = at;
}

/* The batches from one on. */
INLINE turned turned_from(turned all, int64_t batch, int64_t b, int64_t d)
{
    return (turned){all.start + batch * (d + 2), all.sample + batch * b * d, all.value + batch * b * d};
}

/* Turn batches of b images by their places, (batches, b). */
void turn(images from, const int64_t *index, int64_t batches, int64_t b, int64_t d, turned to)
{
    const int64_t r = from.ranges;
    for (int64_t s = 0; s < batches; s++, index += b) {
        int32_t *start = (int32_t *)to.start + s * (d + 2), *sample = (int32_t *)to.sample + s * b * d;
        REAL *value = (REAL *)to.value + s * b * d;
        memset(start, 0, (d + 2) * sizeof *start);
        for (int64_t i = 0; i < b; i++)
            for (int64_t p = from.row[index[i] * r]; p < from.row[(index[i] + 1) * r]; p++)
                start[from.column[p] + 2]++;
        for (int64_t j = 0; j < d; j++) start[j + 2] += start[j + 1];
        for (int64_t i = 0; i < b; i++)
            for (int64_t p = from.row[index[i] * r]; p < from.row[(index[i] + 1) * r]; p++) {
                int32_t at = start[from.column[p] + 1]++;
                sample[at] = (int32_t)i;
                value[at] = from.value[p];
            }
    }
}

/* Write W c of tiles into `moved` (tiles, LANES): by so much c moves all their products. */
static void move(const REAL *restrict w, const REAL *restrict c, int64_t tiles, int64_t d, REAL *restrict moved)
{
    for (int64_t t = 0; t < tiles; t++, w += d * LANES) {
        vector sum = {0};
        for (int64_t j = 0; j < d; j++) sum += c[j] * *(const vector *)(w + j * LANES);
        *(vector *)(moved + t * LANES) = sum;
    }
}

/* sums (B, width, LANES), of tile g, to rows (rows, B), and back */

static void lay_out(const REAL *restrict sums, int g, int width, int64_t b, int rows, REAL *restrict z)
{
    int64_t i = 0;
    for (; rows == LANES && i + LANES <= b; i += LANES) {
        vector m[LANES];
        EACH(j, LANES) m[j] = *(const vector *)(sums + ((i + j) * width + g) * LANES);
        transpose(m);
        EACH(u, LANES) *(vector *)(z + u * b + i) = m[u];
    }
    for (; i < b; i++)
        for (int u = 0; u < rows; u++) z[u * b + i] = sums[(i * width + g) * LANES + u];
}

static void take_up(REAL *restrict sums, int g, int width, int64_t b, int rows, const REAL *restrict z)
{
    int64_t i = 0;
    for (; rows == LANES && i + LANES <= b; i += LANES) {
        vector m[LANES];
        EACH(u, LANES) m[u] = *(const vector *)(z + u * b + i);
        transpose(m);
        EACH(j, LANES) *(vector *)(sums + ((i + j) * width + g) * LANES) = m[j];
    }
    for (; i < b; i++)
        for (int u = 0; u < LANES; u++)
            sums[(i * width + g) * LANES + u] = u < rows ? z[u * b + i] : 0;
}

typedef struct {      /* a batch of `count` images, filled up to b */
    const int64_t *index;
    const REAL *full; /* (b, row): u in full; or NULL, and the products leave pixels out */
    int64_t count, b;
    int64_t units;    /* 0, or a member's: then its products are (count, FILLED(units)), unit by unit of an image */
} batch_of;

/* sums (count, width, LANES) = W u + W c without the pixels where u is zero */
INLINE void sparse_product(int width, const REAL *restrict w, const REAL *restrict moved, images x, batch_of batch,
                           int64_t d, REAL *restrict sums)
{
    const int64_t *index = batch.index;
    for (int64_t r = 0; r < x.ranges; r++)
        for (int64_t i = 0; i < batch.count; i++) {
            vector even[TOGETHER], odd[TOGETHER]; /* width at most */
            REAL *own = sums + i * width * LANES;
            if (r) EACH(g, width) even[g] = *(const vector *)(own + g * LANES);
            else if (moved) EACH(g, width) even[g] = *(const vector *)(moved + g * LANES);
            else EACH(g, width) even[g] = (vector){0};
            EACH(g, width) odd[g] = (vector){0};
            int64_t p = x.row[index[i] * x.ranges + r];
            const int64_t end = x.row[index[i] * x.ranges + r + 1];
            for (; p + 2 <= end; p += 2) {
                const REAL *one = w + x.column[p] * LANES, *other = w + x.column[p + 1] * LANES;
                EACH(g, width) even[g] += x.value[p] * *(const vector *)(one + g * d * LANES);
                EACH(g, width) odd[g] += x.value[p + 1] * *(const vector *)(other + g * d * LANES);
            }
            if (p < end)
                EACH(g, width) even[g] += x.value[p] * *(const vector *)(w + (x.column[p] + g * d) * LANES);
            EACH(g, width) *(vector *)(own + g * LANES) = even[g] + odd[g];
        }
}

/* Put the sums of `width` tiles to their places in z. */
INLINE void put(int width, const tile *tiles, batch_of batch, REAL *restrict sums, REAL *const *z)
{
    for (int g = 0; batch.units && g < width; g++) {
        REAL *to = z[0] + tiles[g].member * (batch.count * FILLED(batch.units) - batch.units) + tiles[g].row;
        for (int64_t i = 0; i < batch.count; i++)
            *(vector *)(to + i * FILLED(batch.units)) = *(const vector *)(sums + (i * width + g) * LANES);
    }
    if (batch.units) return;
    memset(sums + batch.count * width * LANES, 0, (batch.b - batch.count) * width * LANES * sizeof(REAL));
    EACH(g, width) lay_out(sums, g, width, batch.b, tiles[g].rows, z[tiles[g].block] + tiles[g].row * batch.b);
}

#include "full_images.h"

INLINE void product(int width, const REAL *restrict w, const REAL *restrict moved, const tile *tiles, images x,
                    batch_of batch, int64_t d, REAL *restrict sums, REAL *const *z)
{
    if (batch.full && width <= PAIR) full_product(width, w, moved, batch.full, batch.count, d, sums);
    else sparse_product(width, w, moved, x, batch, d, sums);
    put(width, tiles, batch, sums, z);
}

/* z[block] (k*h, B) = weights times images, of all tiles; `sums` has room for TOGETHER * B * LANES. `moved` is W c of
   the tiles, or NULL where c is. Batches lie `apart` images from one another: 0 where all members see the first. */
static void products(const REAL *w, const REAL *moved, const tile *tiles, int64_t count, images x, batch_of batch,
                     int64_t apart, int64_t d, REAL *sums, REAL *const *z)
{
    const int64_t most = batch.full ? PAIR : TOGETHER;
    for (int64_t t = 0; t < count;) {
        const REAL *from = w + t * d * LANES, *start = moved ? moved + t * LANES : NULL;
        const int64_t place = tiles[t].batch * apart;
        const batch_of own = {batch.index + place, batch.full ? batch.full + place * row_of(d) : NULL, batch.count,
                              batch.b, batch.units};
        int64_t same = 1;
        while (same < most && t + same < count && (!apart || tiles[t + same].batch == tiles[t].batch)) same++;
        if (same == 4) product(4, from, start, tiles + t, x, own, d, sums, z), t += 4;
        else if (same >= 2) product(2, from, start, tiles + t, x, own, d, sums, z), t += 2;
        else product(1, from, start, tiles + t, x, own, d, sums, z), t += 1;
    }
}

/* W c (tiles, LANES) of all tiles, and products: a call of its own for networks whose other layers are PyTorch's.
   `full` are the batches in full, or NULL. */
void products_of_all(const REAL *w, const tile *tiles, int64_t count, images x, const int64_t *index, const REAL *full,
                     int64_t apart, int64_t b, int64_t d, REAL *moved, REAL *sums, REAL *const *z)
{
    if (x.c) move(w, x.c, count, d, moved);
    products(w, x.c ? moved : NULL, tiles, count, x, (batch_of){index, full, b, b, 0}, apart, d, sums, z);
}

static void sparse_gradient(const tiles_step *k, turned x, REAL *restrict to)
{
    for (int64_t j = 0; j < k->d; j++) {
        vector sum = k->c ? k->c[j] * *(const vector *)k->total : (vector){0};
        for (int32_t p = x.start[j]; p < x.start[j + 1]; p++)
            sum += x.value[p] * *(const vector *)(k->sums + x.sample[p] * LANES);
        *(vector *)(to + j * LANES) = sum;
    }
}

/* The gradient (tiles, D, LANES) of all tiles' weights, from those at the blocks' pre-activations (k*h, B): of batches
   that are turned, or in full. `sums` has room for B * LANES. */
void gradients(REAL *to, const tile *tiles, int64_t count, const REAL *const *grads, const REAL *c, turned batches,
               const REAL *full, int64_t b, int64_t d, REAL *sums)
{
    for (int64_t t = 0; t < count; t++, to += d * LANES) {
        vector total = {0};
        take_up(sums, 0, 1, b, tiles[t].rows, grads[tiles[t].block] + tiles[t].row * b);
        for (int64_t i = 0; c && i < b; i++) total += *(const vector *)(sums + i * LANES);
        const tiles_step step = {.sums = sums, .c = c, .total = (const REAL *)&total, .d = d};
        const REAL *x = full ? full + tiles[t].batch * b * row_of(d) : NULL;
        if (!full) sparse_gradient(&step, turned_from(batches, tiles[t].batch, b, d), to);
        else for (int64_t j = 0; j < d; j += PIXELS)
            full_gradient(1, &step, x, b, j, d - j < PIXELS ? d - j : PIXELS, to + j * LANES);
    }
}
