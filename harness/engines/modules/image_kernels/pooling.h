/* Pooling, of windows that lie side by side; pixels behind the last whole window are left out. */
typedef struct {
    int64_t planes, batch, height, width; /* planes: channels of all members */
    int64_t rows, columns;                /* of a window */
    int64_t largest;                      /* the largest pixel of a window, else the average */
    int64_t rectified;                    /* of what ReLU makes of the pixels */
} pooling;

INLINE vector rectify(int rectified, vector x) { return rectified ? vector_relu(x) : x; }

/* The place in its window of each lane's largest pixel, and the pixel: the first of them, or the last NaN, as in
   torch. */
INLINE integers largest_of(const pooling *p, const REAL *x, vector *value)
{
    integers place = {0};
    *value = READ(x);
    for (int64_t i = 0, n = 0; i < p->rows; i++)
        for (int64_t j = 0; j < p->columns; j++, n++) {
            const vector own = READ(x + (i * p->width + j) * p->batch);
            const integers more = (own > *value) | (own != own);
            *value = chosen(more, own, *value);
            place = (more & (int_of_real)n) | (~more & place);
        }
    return place;
}

INLINE void pool_window(int largest, int rectified, const pooling *p, const REAL *x, REAL *out)
{
    vector value = {0};
    if (largest) largest_of(p, x, &value), value = rectify(rectified, value);
    else {
        for (int64_t i = 0; i < p->rows; i++)
            for (int64_t j = 0; j < p->columns; j++)
                value += rectify(rectified, READ(x + (i * p->width + j) * p->batch));
        value /= (REAL)(p->rows * p->columns);
    }
    WRITE(out) = value;
}

INLINE void pool_window_back(int largest, int rectified, const pooling *p, const REAL *x, const REAL *g, REAL *to)
{
    vector value, of = READ(g);
    integers place = {0};
    if (largest) {
        place = largest_of(p, x, &value);
        if (rectified) of = chosen(value <= 0, (vector){0}, of);
    } else of /= (REAL)(p->rows * p->columns);
    for (int64_t i = 0, n = 0; i < p->rows; i++)
        for (int64_t j = 0; j < p->columns; j++, n++) {
            const int64_t at = (i * p->width + j) * p->batch;
            vector own = of;
            if (largest) own = chosen(place == (int_of_real)n, of, (vector){0});
            else if (rectified) own = chosen(READ(x + at) <= 0, (vector){0}, of);
            WRITE(to + at) = own;
        }
}

/* All windows: of `x` to `out`, or, where there is `g`, of it to `out`. */
INLINE void pool_all(int largest, int rectified, const pooling *p, const REAL *x, const REAL *g, REAL *out)
{
    const int64_t b = p->batch, down = p->height / p->rows, across = p->width / p->columns;
    const int64_t of_plane = p->height * p->width * b;
    for (int64_t n = 0; n < p->planes; n++)
        for (int64_t i = 0; i < down; i++)
            for (int64_t j = 0; j < across; j++) {
                const int64_t large = n * of_plane + (i * p->rows * p->width + j * p->columns) * b;
                const int64_t small = ((n * down + i) * across + j) * b;
                for (int64_t u = 0; u < b; u += LANES) {
                    const int64_t at = smaller(u, b - LANES);
                    if (g) pool_window_back(largest, rectified, p, x + large + at, g + small + at, out + large + at);
                    else pool_window(largest, rectified, p, x + large + at, out + small + at);
                }
            }
}

INLINE void pool_usual(int largest, int rectified, const pooling *p, const REAL *x, const REAL *g, REAL *out)
{
    pooling usual = *p;
    if (p->rows == 2 && p->columns == 2) usual.rows = usual.columns = 2, pool_all(largest, rectified, &usual, x, g, out);
    else pool_all(largest, rectified, p, x, g, out);
}

/* out (planes, H', W', B) of x (planes, H, W, B). */
void pool(const pooling *p, const REAL *x, REAL *out)
{
    if (p->largest && p->rectified) pool_usual(1, 1, p, x, 0, out);
    else if (p->largest) pool_usual(1, 0, p, x, 0, out);
    else if (p->rectified) pool_usual(0, 1, p, x, 0, out);
    else pool_usual(0, 0, p, x, 0, out);
}

/* The gradient at x, of g (planes, H', W', B). */
void pool_back(const pooling *p, const REAL *x, const REAL *g, REAL *to)
{
    if (p->height % p->rows || p->width % p->columns)
        memset(to, 0, p->planes * p->height * p->width * p->batch * sizeof(REAL));
    if (p->largest && p->rectified) pool_usual(1, 1, p, x, g, to);
    else if (p->largest) pool_usual(1, 0, p, x, g, to);
    else if (p->rectified) pool_usual(0, 1, p, x, g, to);
    else pool_usual(0, 0, p, x, g, to);
}
