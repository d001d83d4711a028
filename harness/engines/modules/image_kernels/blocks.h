/* A convolution with the layers behind it, member by member: what lies between them is one member's, written again and
   again into the same memory, and so stays in the caches. What the way back needs of a window of pixels is a byte for
   each lane, its mark: of the largest pixel the place, or -1 where ReLU lets nothing through; of an average the bits of
   the pixels that ReLU lets through. */

typedef signed char marks __attribute__((vector_size(LANES), aligned(1)));
#define MARKED(x) (*(marks *)(x))
#define TO_MARKS(x) __builtin_convertvector(x, marks)
#define FROM_MARKS(x) __builtin_convertvector(x, integers)

typedef struct {
    convolution of;
    int64_t normalised, rectified; /* batch normalisation, ReLU, in this order */
    int64_t pooled;                /* 1: averages, 2: the largest pixels; 0: none */
    int64_t rows, columns;         /* of a window */
    double epsilon;
} block;

/* ReLU counts in the marks only where no normalisation stands ahead of it: that finds it out again. */
INLINE void pool_marked(int largest, int rectified, const pooling *p, const REAL *x, REAL *out, signed char *to)
{
    vector value = {0};
    integers mark = {0};
    if (largest) {
        mark = largest_of(p, x, &value);
        if (rectified) mark |= value <= 0, value = vector_relu(value);
    } else {
        for (int64_t i = 0, n = 0; i < p->rows; i++)
            for (int64_t j = 0; j < p->columns; j++, n++) {
                const vector own = READ(x + (i * p->width + j) * p->batch);
                const integers none = own <= 0;
                value += rectified ? chosen(none, (vector){0}, own) : own;
                mark |= ~none & (int_of_real)(1 << n);
            }
        value /= (REAL)(p->rows * p->columns);
    }
    WRITE(out) = value;
    if (largest || rectified) MARKED(to) = TO_MARKS(mark);
}

INLINE void pool_marked_back(int largest, int rectified, const pooling *p, const signed char *mark, const REAL *g,
                             REAL *to)
{
    const integers marked = largest || rectified ? FROM_MARKS(MARKED(mark)) : (integers){0};
    vector of = READ(g);
    if (!largest) of /= (REAL)(p->rows * p->columns);
    for (int64_t i = 0, n = 0; i < p->rows; i++)
        for (int64_t j = 0; j < p->columns; j++, n++) {
            vector own = of;
            if (largest) own = chosen(marked == (int_of_real)n, of, (vector){0});
            else if (rectified) own = chosen((marked & (int_of_real)(1 << n)) != 0, of, (vector){0});
            WRITE(to + (i * p->width + j) * p->batch) = own;
        }
}

INLINE void pool_member(int back, int largest, int rectified, const pooling *p, const REAL *x, REAL *out,
                        signed char *mark)
{
    const int64_t b = p->batch, down = p->height / p->rows, across = p->width / p->columns;
    for (int64_t n = 0; n < p->planes; n++)
        for (int64_t i = 0; i < down; i++)
            for (int64_t j = 0; j < across; j++) {
                const int64_t large = ((n * p->height + i * p->rows) * p->width + j * p->columns) * b;
                const int64_t small = ((n * down + i) * across + j) * b;
                for (int64_t u = 0; u < b; u += LANES) {
                    const int64_t at = smaller(u, b - LANES), in = large + at, to = small + at;
                    if (back) pool_marked_back(largest, rectified, p, mark + to, x + to, out + in);
                    else pool_marked(largest, rectified, p, x + in, out + to, mark + to);
                }
            }
}

INLINE void pool_each(int back, const block *k, const REAL *x, REAL *out, signed char *mark)
{
    const int two = k->rows == 2 && k->columns == 2, rectified = k->rectified && !k->normalised;
    pooling p = {k->of.outputs, k->of.batch, k->of.out_height, k->of.out_width, k->rows, k->columns};
    if (two) p.rows = p.columns = 2;
    if (back && (p.height % p.rows || p.width % p.columns))
        memset(out, 0, p.planes * p.height * p.width * p.batch * sizeof(REAL));
#define POOL(largest, rectified) pool_member(back, largest, rectified, &p, x, out, mark)
    if (k->pooled == 2 && rectified) POOL(1, 1);
    else if (k->pooled == 2) POOL(1, 0);
    else if (rectified) POOL(0, 1);
    else POOL(0, 0);
#undef POOL
}

static void pool_forth(const block *k, const REAL *x, REAL *out, signed char *mark) { pool_each(0, k, x, out, mark); }
static void pool_home(const block *k, const REAL *g, REAL *to, signed char *mark) { pool_each(1, k, g, to, mark); }

static void rectify_all(REAL *x, int64_t count)
{
    THROUGH(count, WRITE(x + at) = vector_relu(READ(x + at)););
}

static void rectify_back(const REAL *x, const REAL *g, REAL *to, int64_t count)
{
    THROUGH(count, WRITE(to + at) = chosen(READ(x + at) <= 0, (vector){0}, READ(g + at)););
}

/* Of one member, or NULL where there is none. */
typedef struct {
    const REAL *x, *w, *bias, *scale, *shift;
    REAL *convolved, *out, *mean, *variance, *inverse; /* `convolved` is kept only for a normalisation */
    signed char *mark;
    const REAL *g;
    REAL *to_x, *to_w, *to_bias, *to_scale, *to_shift;
} pointers;

#define NEXT(field, count) if (p.field) p.field += (count)

/* The pointers of the member behind `p`'s. */
INLINE pointers next_member(const block *k, pointers p)
{
    const convolution *c = &k->of;
    const int64_t pixels = c->out_height * c->out_width * c->batch, o = c->outputs;
    const int64_t images = c->channels * c->height * c->width * c->batch;
    const int64_t down = k->pooled ? c->out_height / k->rows : c->out_height;
    const int64_t across = k->pooled ? c->out_width / k->columns : c->out_width, out = o * down * across * c->batch;
    const int64_t weights = o * c->channels * c->rows * c->columns;
    p.x += c->shared ? 0 : images;
    NEXT(w, weights); NEXT(to_w, weights);
    NEXT(bias, o); NEXT(scale, o); NEXT(shift, o); NEXT(mean, o); NEXT(variance, o); NEXT(inverse, o);
    NEXT(to_bias, o); NEXT(to_scale, o); NEXT(to_shift, o);
    NEXT(convolved, o * pixels); NEXT(out, out); NEXT(mark, out); NEXT(g, out); NEXT(to_x, images);
    return p;
}

/* `between` holds what the convolution of one member gives, `room` its weights. */
void block_forth(const block *k, const pointers *given, REAL *between, REAL *room)
{
    convolution one = k->of;
    one.members = 1;
    const int64_t count = one.out_height * one.out_width * one.batch;
    const normalisation n = {one.outputs, count, k->rectified, k->epsilon};
    pointers p = *given;
    for (int64_t i = 0; i < k->of.members; i++, p = next_member(k, p)) {
        REAL *last = k->pooled ? between : p.out, *z = k->normalised ? p.convolved : last;
        convolve(&one, p.x, p.w, p.bias, z, room);
        if (k->normalised) normalise(&n, z, p.scale, p.shift, last, p.mean, p.variance, p.inverse);
        else if (k->rectified && !k->pooled) rectify_all(z, one.outputs * count);
        if (k->pooled) pool_forth(k, last, p.out, p.mark);
    }
}

/* `between` holds twice what the convolution of one member gives, `room` what `convolve_slopes` needs and no less
   than a member's weights. */
void block_back(const block *k, const pointers *given, REAL *between, REAL *room)
{
    convolution one = k->of;
    one.members = 1;
    const int64_t count = one.out_height * one.out_width * one.batch, all = one.outputs * count;
    const normalisation n = {one.outputs, count, k->rectified, k->epsilon};
    pointers p = *given;
    for (int64_t i = 0; i < k->of.members; i++, p = next_member(k, p)) {
        const REAL *g = p.g;
        if (k->pooled) pool_home(k, g, between, p.mark), g = between;
        if (k->normalised) {
            normalise_back(&n, p.convolved, g, p.mean, p.inverse, p.scale, p.shift, between + all, p.to_scale,
                           p.to_shift);
            g = between + all;
        } else if (k->rectified && !k->pooled) rectify_back(p.out, g, between, all), g = between;
        convolve_slopes(&one, p.x, g, p.to_w, p.to_bias, room);
        if (p.to_x) convolve_back(&one, g, p.w, p.to_x, room);
    }
}
