/* The layers of a member behind layer one, for batches of few images: the units of an image side by side,
   (b, FILLED(units)), and not the images of a unit. Filled up to a vector, a batch of one image would take LANES times
   the arithmetic. What fills units up is zero wherever it is multiplied. */

#define FEW 4 /* images of a batch, at most */

/* out (b, FILLED(rows)) = start + w y, where w is (rows, n) and y is (b, FILLED(n)) */
static void multiply_few(const REAL *restrict w, const REAL *restrict start, int64_t rows, int64_t n,
                         const REAL *restrict y, int64_t b, REAL *restrict out)
{
    for (int64_t r = 0; r < rows; r += LANES)
        for (int64_t j = 0; j < b; j++) { /* all images while these rows are in the cache */
            const int64_t left = rows - r < LANES ? rows - r : LANES;
            vector m[LANES] = {{0}};
            for (int64_t u = 0; u < left; u++)
                for (int64_t i = 0; i < n; i += LANES)
                    m[u] += first_of(w + (r + u) * n + i, n - i) * *(const vector *)(y + j * FILLED(n) + i);
            *(vector *)(out + j * FILLED(rows) + r) = first_of(start + r, left) + sum_across(m);
        }
}

/* Dropout, as `leave_out`: `u` are its numbers (n, step), of which each unit has the first b. */
static void leave_out_few(const float *restrict u, int64_t step, double share, const REAL *x, REAL *y, int64_t n, int64_t b)
{
    const REAL scale = (REAL)(1 / (1 - share));
    for (int64_t j = 0; j < b; j++)
        for (int64_t r = 0; r < n; r++)
            y[j * FILLED(n) + r] = x[j * FILLED(n) + r] * (u[r * step + j] >= (float)share ? scale : 0);
}

static void clear_filling(REAL *x, int64_t n, int64_t b)
{
    for (int64_t j = 0; j < b; j++) memset(x + j * FILLED(n) + n, 0, (FILLED(n) - n) * sizeof(REAL));
}

/* As `forward`, of b images whose batch is filled up to `filled` elsewhere; the logits are (C, filled), as losses want
   them, with zeros for the images that are none. */
static void forward_few(const members *m, int64_t k, int64_t b, int64_t filled, const layers *of, const float *u,
                        int64_t u_step, REAL *scratch, REAL *logits)
{
    const int64_t *h = m->widths, classes = h[m->depth];
    const REAL *rest = m->rest + k * m->n;
    const parts *own = m->parts + k;
    for (int64_t j = 0; j < b; j++)
        for (int64_t r = 0; r < h[0]; r += LANES)
            *(vector *)(of->z[0] + j * FILLED(h[0]) + r) += first_of(rest + r, h[0] - r);
    rest += h[0];
    for (int64_t l = 0; l < m->depth; l++) {
        REAL *out = l + 1 < m->depth ? of->z[l + 1] : scratch;
        own->activate(of->z[l], of->a[l], b * FILLED(h[l]));
        if (u) leave_out_few(u + l * u_step, filled, own->dropped, of->a[l], of->y[l], h[l], b);
        clear_filling(of->y[l], h[l], b);
        multiply_few(rest, rest + h[l] * h[l + 1], h[l + 1], h[l], of->y[l], b, out);
        rest += (h[l] + 1) * h[l + 1];
    }
    const REAL *last = m->depth ? scratch : of->z[0];
    for (int64_t c = 0; c < classes; c++)
        for (int64_t j = 0; j < filled; j++) logits[c * filled + j] = j < b ? last[j * FILLED(classes) + c] : 0;
}

/* As `backward`; the gradient at the logits is (C, filled), that at layer one's product (b, FILLED(units)). */
static void backward_few(const members *m, int64_t k, int64_t b, int64_t filled, const layers *of, const float *u,
                         int64_t u_step, const REAL *grad, REAL *first, REAL *grad_rest, REAL *scratch)
{
    const int64_t *h = m->widths, widest = widest_of(m), classes = h[m->depth];
    REAL *held[2] = {scratch, scratch + widest * b}, *g = m->depth ? held[m->depth & 1] : first;
    const parts *own = m->parts + k;
    int64_t at = m->n;
    memset(g, 0, b * FILLED(classes) * sizeof(REAL));
    for (int64_t j = 0; j < b; j++)
        for (int64_t c = 0; c < classes; c++) g[j * FILLED(classes) + c] = grad[c * filled + j];
    for (int64_t l = m->depth - 1; l >= 0; l--) {
        const int64_t n = h[l], rows = h[l + 1], wide = FILLED(n), high = FILLED(rows);
        at -= (n + 1) * rows;
        const REAL *w = m->rest + k * m->n + at;
        REAL *grad_w = grad_rest + at, *next = l ? held[l & 1] : first;
        for (int64_t i = 0; i < n; i += LANES) {
            vector sum[FEW];
            for (int64_t j = 0; j < b; j++) sum[j] = (vector){0};
            for (int64_t r = 0; r < rows; r++) {
                const vector own_w = first_of(w + r * n + i, n - i);
                vector total = {0};
                for (int64_t j = 0; j < b; j++) {
                    total += g[j * high + r] * *(const vector *)(of->y[l] + j * wide + i);
                    sum[j] += g[j * high + r] * own_w;
                }
                put_first(grad_w + r * n + i, total, n - i);
            }
            for (int64_t j = 0; j < b; j++) *(vector *)(next + j * wide + i) = sum[j];
        }
        for (int64_t r = 0; r < rows; r += LANES) {
            vector total = {0};
            for (int64_t j = 0; j < b; j++) total += *(const vector *)(g + j * high + r);
            put_first(grad_w + n * rows + r, total, rows - r);
        }
        if (u) leave_out_few(u + l * u_step, filled, own->dropped, next, next, n, b);
        own->derive(next, of->z[l], of->a[l], b * wide);
        clear_filling(next, n, b);
        g = next;
    }
    for (int64_t r = 0; r < h[0]; r += LANES) {
        vector total = {0};
        for (int64_t j = 0; j < b; j++) total += *(const vector *)(first + j * FILLED(h[0]) + r);
        put_first(grad_rest + r, total, h[0] - r);
    }
}
