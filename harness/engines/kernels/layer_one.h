/* Layer one of many networks at once, on images that are mostly zeros.

   A product with a pixel that is zero is not computed: on MNIST that leaves a fifth of the arithmetic. What is
   left runs on vectors of LANES hidden units. Their weights are a tile, (D, LANES): pixel by pixel, so that a
   pixel's weights are one vector and nothing is gathered. Members are whole tiles side by side, the last one
   filled up with rows of zeros, which stay zeros: their gradients are.

   Images are compressed rows: image n has the pixels column[row[n]..row[n+1]] with value[...]. A batch is
   turned by `turn`, once a step, so that the gradient of a pixel's weights is one sum over the images in
   which that pixel is not zero, and the optimizer's step is taken while the sum is still in registers: weights
   and an optimizer's state are read and written once. */

typedef struct {      /* images, compressed */
    const int64_t *row;     /* (N + 1,) */
    const uint16_t *column; /* (row[N],) */
    const REAL *value;      /* (row[N],) */
} images;

typedef struct {      /* LANES hidden units of a member, or fewer at its end */
    int64_t row;      /* of the matrix (k*h, B) of its block's pre-activations */
    int32_t rows;     /* how many */
    int32_t block;    /* which matrix */
    int32_t batch;    /* which of the batches its member sees */
    int32_t member;
} tile;

typedef struct {      /* batches, turned: pixel d is not zero in sample[start[d]..start[d+1]] */
    int32_t *start;   /* (D + 1,) a batch */
    int32_t *sample;  /* (B * D,) a batch */
    REAL *value;      /* (B * D,) a batch */
} turned;

int64_t compressed_size(const REAL *x, int64_t n)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) count += x[i] != 0;
    return count;
}

void compress(const REAL *x, int64_t n, int64_t d, int64_t *row, uint16_t *column, REAL *value)
{
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        row[i] = at;
        for (int64_t j = 0; j < d; j++)
            if (x[i * d + j] != 0) {
                column[at] = (uint16_t)j;
                value[at++] = x[i * d + j];
            }
    }
    row[n] = at;
}

void turn(images from, const int64_t *index, int64_t batches, int64_t b, int64_t d, turned to)
{
    for (int64_t s = 0; s < batches; s++, index += b) {
        int32_t *start = to.start + s * (d + 2), *sample = to.sample + s * b * d;
        REAL *value = to.value + s * b * d;
        memset(start, 0, (d + 2) * sizeof *start);
        for (int64_t i = 0; i < b; i++)
            for (int64_t p = from.row[index[i]]; p < from.row[index[i] + 1]; p++)
                start[from.column[p] + 2]++;
        for (int64_t j = 0; j < d; j++) start[j + 2] += start[j + 1];
        for (int64_t i = 0; i < b; i++)
            for (int64_t p = from.row[index[i]]; p < from.row[index[i] + 1]; p++) {
                int32_t at = start[from.column[p] + 1]++;
                sample[at] = (int32_t)i;
                value[at] = from.value[p];
            }
    }
}

/* sums (B, g, LANES), of tile g, to rows (rows, B), and back */

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

INLINE void product(int width, const REAL *restrict w, const tile *tiles, images x,
                    const int64_t *index, int64_t b, int64_t d, REAL *restrict sums, REAL *const *z)
{
    for (int64_t i = 0; i < b; i++) {
        vector even[width], odd[width];
        EACH(g, width) even[g] = odd[g] = (vector){0};
        int64_t p = x.row[index[i]];
        const int64_t end = x.row[index[i] + 1];
        for (; p + 2 <= end; p += 2) {
            const REAL *one = w + x.column[p] * LANES, *other = w + x.column[p + 1] * LANES;
            EACH(g, width) even[g] += x.value[p] * *(const vector *)(one + g * d * LANES);
            EACH(g, width) odd[g] += x.value[p + 1] * *(const vector *)(other + g * d * LANES);
        }
        if (p < end)
            EACH(g, width) even[g] += x.value[p] * *(const vector *)(w + (x.column[p] + g * d) * LANES);
        EACH(g, width) *(vector *)(sums + (i * width + g) * LANES) = even[g] + odd[g];
    }
    EACH(g, width) lay_out(sums, g, width, b, tiles[g].rows, z[tiles[g].block] + tiles[g].row * b);
}

/* z[block] (k*h, B) = weights times images, of all tiles; `sums` has room for 2 * B * LANES */
void products(const REAL *w, const tile *tiles, int64_t count, images x, const int64_t *index,
              int64_t b, int64_t d, REAL *sums, REAL *const *z)
{
    for (int64_t t = 0; t < count;) {
        const REAL *from = w + t * d * LANES;
        const int64_t *batch = index + tiles[t].batch * b;
        if (t + 1 < count && tiles[t + 1].batch == tiles[t].batch) {
            product(2, from, tiles + t, x, batch, b, d, sums, z);
            t += 2;
        } else {
            product(1, from, tiles + t, x, batch, b, d, sums, z);
            t += 1;
        }
    }
}
