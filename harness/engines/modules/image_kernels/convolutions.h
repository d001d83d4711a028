/* Convolutions, as sums over channels and the taps of a kernel that a place meets. */

typedef struct {
    int64_t members, batch;
    int64_t channels, height, width;        /* of the images that are convolved */
    int64_t outputs, out_height, out_width; /* of what comes out */
    int64_t rows, columns;                  /* of a kernel */
    int64_t down, across;                   /* pixels from an output to the next one */
    int64_t above, before;                  /* zeros around an image */
    int64_t shared;                         /* all members see the same images */
} convolution;

/* Which of an axis's kernel rows a place meets, and where: `first`, every `step`; from `place` on, every `move`. */
typedef struct { int64_t first, count, step, place, move; } taps;

/* Those of an output. */
INLINE taps met(int64_t at, int64_t stride, int64_t pad, int64_t kernel, int64_t size)
{
    const int64_t begin = at * stride - pad, first = larger(0, -begin), last = smaller(kernel, size - begin);
    return (taps){first, larger(0, last - first), 1, begin + first, 1};
}

/* Those of a pixel, among outputs: in their order in memory, so from the last kernel row on. */
INLINE taps met_by(int64_t at, int64_t stride, int64_t pad, int64_t kernel, int64_t size)
{
    int64_t first = stride == 1 ? 0 : (at + pad) % stride;
    int64_t place = stride == 1 ? at + pad : (at + pad) / stride;
    if (place > size - 1) first += (place - size + 1) * stride, place = size - 1;
    const int64_t possible = first >= kernel ? 0 : (kernel - 1 - first) / stride + 1;
    const int64_t count = larger(0, smaller(possible, place + 1));
    return (taps){first + (count - 1) * stride, count, -stride, place - count + 1, 1};
}

/* `rows` channels of one pixel of what comes out, for `wide` vectors of images. */
typedef struct {
    const REAL *x;  /* the images that are read, from these lanes on */
    int64_t channels, channel, row, pixel; /* how many; numbers from one to the next */
    const REAL *w;  /* (channels, rows, columns of a kernel, channels of the panel) */
    int64_t kernel, columns;
    const REAL *start;
    REAL *out;
    int64_t out_channel;
} panel;

INLINE void fill(int rows, int wide, const panel *p, taps down, taps across)
{
    vector sum[MOST_ROWS][MOST_WIDE];
    EACH(r, rows) EACH(v, wide) sum[r][v] = (vector){0} + (p->start ? p->start[r] : 0);
    const REAL *x = p->x + down.place * p->row + across.place * p->pixel;
    const REAL *w = p->w + (down.first * p->columns + across.first) * rows;
    const int64_t to_row = down.move * p->row, to_pixel = across.move * p->pixel;
    const int64_t to_kernel_row = down.step * p->columns * rows, to_weight = across.step * rows;
    for (int64_t c = 0; c < p->channels; c++, x += p->channel, w += p->kernel * rows) {
        const REAL *from = x, *by = w;
        for (int64_t i = 0; i < down.count; i++, from += to_row, by += to_kernel_row) {
            const REAL *at = from, *weight = by;
            for (int64_t j = 0; j < across.count; j++, at += to_pixel, weight += to_weight) {
                vector own[MOST_WIDE];
                EACH(v, wide) own[v] = READ(at + v * LANES);
                EACH(v, wide) SETTLED(own[v]);
                EACH(r, rows) EACH(v, wide) sum[r][v] += weight[r] * own[v];
            }
        }
    }
    EACH(r, rows) EACH(v, wide) WRITE(p->out + r * p->out_channel + v * LANES) = sum[r][v];
}

typedef void filler(const panel *p, taps down, taps across);
#define FILLER(rows, wide) \
    static void fill_##rows##_##wide(const panel *p, taps down, taps across) { fill(rows, wide, p, down, across); }
#define OF_ROWS(DO, wide) DO(1, wide) DO(2, wide) DO(3, wide) DO(4, wide) DO(5, wide) DO(6, wide)
#define NAMED(wide) {0, fill_1_##wide, fill_2_##wide, fill_3_##wide, fill_4_##wide, fill_5_##wide, fill_6_##wide
OF_ROWS(FILLER, 1) FILLER(7, 1) FILLER(8, 1)
OF_ROWS(FILLER, 2)
#if MOST_WIDE == 4
FILLER(7, 2) FILLER(8, 2)
OF_ROWS(FILLER, 3) FILLER(7, 3) FILLER(8, 3)
OF_ROWS(FILLER, 4)
#endif
static filler *const fillers[][MOST_ROWS + 1] = {
    {0},
    NAMED(1), fill_7_1, fill_8_1},
#if MOST_WIDE == 4
    NAMED(2), fill_7_2, fill_8_2},
    NAMED(3), fill_7_3, fill_8_3},
    NAMED(4)},
#else
    NAMED(2)},
#endif
};

/* Channels of a panel, of so many, for a batch. */
INLINE int64_t rows_of_panel(int64_t outputs, int64_t batch)
{
    const int64_t wide = smaller(MOST_WIDE, batch / LANES), most = smaller(MOST_ROWS, SUMS / wide);
    const int64_t panels = (outputs + most - 1) / most;
    return (outputs + panels - 1) / panels;
}

typedef taps meeting(int64_t at, int64_t stride, int64_t pad, int64_t kernel, int64_t size);

/* All pixels of a panel's channels, for `wide` vectors of images. */
INLINE void fill_part(meeting met_at, const convolution *c, panel p, int64_t wide, int64_t rows,
                      const int64_t size[2], const int64_t out_size[2])
{
    filler *const filled = fillers[wide][rows];
    for (int64_t i = 0; i < out_size[0]; i++) {
        const taps down = met_at(i, c->down, c->above, c->rows, size[0]);
        for (int64_t j = 0; j < out_size[1]; j++, p.out += c->batch)
            filled(&p, down, met_at(j, c->across, c->before, c->columns, size[1]));
    }
}

/* All pixels of a panel's channels: `p` is at the first pixel; images of (height, width) are read. */
INLINE void fill_all(meeting met_at, const convolution *c, panel p, int64_t rows, const int64_t size[2],
                     const int64_t out_size[2])
{
    const int64_t b = c->batch;
    const REAL *x = p.x;
    REAL *out = p.out;
    for (int64_t done = 0, wide; b - done >= LANES; done += wide * LANES) {
        wide = smaller(MOST_WIDE, (b - done) / LANES);
        p.x = x + done, p.out = out + done;
        fill_part(met_at, c, p, wide, rows, size, out_size);
    }
    if (b % LANES == 0) return;
    p.x = x + b - LANES, p.out = out + b - LANES;
    fill_part(met_at, c, p, 1, rows, size, out_size);
}

/* w (O, C, kernel), to panels of rows: (C, kernel, rows) of each. With `turned`, rows are channels: (O, kernel, rows). */
static void pack(const convolution *c, const REAL *w, int64_t first, int64_t rows, int turned, REAL *to)
{
    const int64_t kernel = c->rows * c->columns, inner = turned ? c->outputs : c->channels;
    const int64_t of_row = turned ? kernel : c->channels * kernel, of_inner = turned ? c->channels * kernel : kernel;
    for (int64_t i = 0; i < inner; i++)
        for (int64_t t = 0; t < kernel; t++)
            for (int64_t r = 0; r < rows; r++) *to++ = w[(first + r) * of_row + i * of_inner + t];
}

/* out (K, O, H', W', B) of x (K or 1, C, H, W, B), w (K, O, C, rows, columns), bias (K, O) or NULL. `room` holds
   the weights of one member. */
void convolve(const convolution *c, const REAL *x, const REAL *w, const REAL *bias, REAL *out, REAL *room)
{
    const int64_t b = c->batch, kernel = c->rows * c->columns, pixels = c->height * c->width;
    const int64_t size[] = {c->height, c->width}, out_size[] = {c->out_height, c->out_width};
    const int64_t out_channel = c->out_height * c->out_width * b, most = rows_of_panel(c->outputs, b);
    for (int64_t k = 0; k < c->members; k++) {
        const REAL *own = x + (c->shared ? 0 : k * c->channels * pixels * b);
        for (int64_t o = 0; o < c->outputs; o += most) {
            const int64_t rows = smaller(most, c->outputs - o), at = k * c->outputs + o;
            pack(c, w + k * c->outputs * c->channels * kernel, o, rows, 0, room);
            const panel p = {own, c->channels, pixels * b, c->width * b, b, room, kernel, c->columns,
                             bias ? bias + at : 0, out + at * out_channel, out_channel};
            fill_all(met, c, p, rows, size, out_size);
        }
    }
}

/* The gradient at x (K, C, H, W, B), of g (K, O, H', W', B). */
void convolve_back(const convolution *c, const REAL *g, const REAL *w, REAL *to, REAL *room)
{
    const int64_t b = c->batch, kernel = c->rows * c->columns, pixels = c->out_height * c->out_width;
    const int64_t size[] = {c->out_height, c->out_width}, out_size[] = {c->height, c->width};
    const int64_t out_channel = c->height * c->width * b, most = rows_of_panel(c->channels, b);
    for (int64_t k = 0; k < c->members; k++)
        for (int64_t i = 0; i < c->channels; i += most) {
            const int64_t rows = smaller(most, c->channels - i);
            pack(c, w + k * c->outputs * c->channels * kernel, i, rows, 1, room);
            const panel p = {g + k * c->outputs * pixels * b, c->outputs, pixels * b, c->out_width * b, b,
                             room, kernel, c->columns, 0, to + (k * c->channels + i) * out_channel, out_channel};
            fill_all(met_by, c, p, rows, size, out_size);
        }
}

/* Gradients of `many` neighbouring weights of one channel and kernel row, for `rows` outputs: what one row of pixels
   and some images add to them. */
typedef struct {
    const REAL *x, *g;        /* the row of the channel; of the first output; from these images on */
    int64_t tap, g_channel;   /* the first of the weights; numbers from an output to the next one */
    int64_t images;           /* whole vectors of them */
    int64_t last;             /* only the last lanes count, of one vector */
    REAL *sum;                /* (rows, many, LANES) */
} slope;

INLINE void gather(int rows, int many, const convolution *c, const slope *p)
{
    vector sum[MOST_ROWS][MOST_TAPS];
    EACH(r, rows) EACH(t, many) sum[r][t] = READ(p->sum + (r * many + t) * LANES);
    const int64_t b = c->batch;
    const integers last = last_lanes(b);
    for (int64_t j = 0; j < c->out_width; j++) {
        const int64_t begin = j * c->across - c->before + p->tap;
        const REAL *x = p->x + begin * b, *g = p->g + j * b;
        if (begin >= 0 && begin + many <= c->width && !p->last)
            for (int64_t u = 0; u < p->images; u += LANES) {
                vector own[MOST_TAPS];
                EACH(t, many) own[t] = READ(x + t * b + u);
                EACH(t, many) SETTLED(own[t]);
                EACH(r, rows) {
                    vector of = READ(g + r * p->g_channel + u);
                    SETTLED(of);
                    EACH(t, many) sum[r][t] += of * own[t];
                }
            }
        else
            for (int64_t u = 0; u < p->images; u += LANES)
                EACH(t, many) {
                    if (begin + t < 0 || begin + t >= c->width) continue;
                    vector own = READ(x + t * b + u);
                    if (p->last) own = chosen(last, own, (vector){0});
                    EACH(r, rows) {
                        vector of = READ(g + r * p->g_channel + u);
                        if (p->last) of = chosen(last, of, (vector){0});
                        sum[r][t] += of * own;
                    }
                }
    }
    EACH(r, rows) EACH(t, many) WRITE(p->sum + (r * many + t) * LANES) = sum[r][t];
}

typedef void gatherer(const convolution *c, const slope *p);
#define GATHERER(rows, many) \
    static void gather_##rows##_##many(const convolution *c, const slope *p) { gather(rows, many, c, p); }
#define FOUR(DO, many) DO(1, many) DO(2, many) DO(3, many) DO(4, many)
#define FOUR_NAMED(many) {0, gather_1_##many, gather_2_##many, gather_3_##many, gather_4_##many
FOUR(GATHERER, 1) FOUR(GATHERER, 2) FOUR(GATHERER, 3) FOUR(GATHERER, 4) FOUR(GATHERER, 5)
#if MOST_WIDE == 4
GATHERER(5, 1) GATHERER(5, 2) GATHERER(5, 3) GATHERER(5, 4)
GATHERER(6, 1) GATHERER(6, 2) GATHERER(6, 3) GATHERER(6, 4)
GATHERER(7, 3) GATHERER(8, 3)
static const int64_t most_outputs[] = {0, 6, 6, 8, 6, 4};
static gatherer *const gatherers[][MOST_ROWS + 1] = {
    {0}, FOUR_NAMED(1), gather_5_1, gather_6_1}, FOUR_NAMED(2), gather_5_2, gather_6_2},
    FOUR_NAMED(3), gather_5_3, gather_6_3, gather_7_3, gather_8_3}, FOUR_NAMED(4), gather_5_4, gather_6_4},
    FOUR_NAMED(5)}};
#else
static const int64_t most_outputs[] = {0, 4, 4, 4, 3, 2};
static gatherer *const gatherers[][MOST_ROWS + 1] = {
    {0}, FOUR_NAMED(1)}, FOUR_NAMED(2)}, FOUR_NAMED(3)}, FOUR_NAMED(4)}, FOUR_NAMED(5)}};
#endif

static void bias_slopes(const REAL *g, int64_t channels, int64_t pixels, int64_t b, REAL *to)
{
    const integers last = last_lanes(b);
    for (int64_t o = 0; o < channels; o++) {
        vector sum[4] = {{0}};
        const REAL *own = g + o * pixels * b;
        const int64_t all = pixels * b, whole = b % LANES ? 0 : all / (4 * LANES) * 4 * LANES;
        for (int64_t u = 0; u < whole; u += 4 * LANES) EACH(v, 4) sum[v] += READ(own + u + v * LANES);
        if (b % LANES == 0)
            for (int64_t u = whole; u < all; u += LANES) sum[0] += READ(own + u);
        else
            for (int64_t p = 0; p < pixels; p++) {
                for (int64_t u = 0; u + LANES <= b; u += LANES) sum[0] += READ(own + p * b + u);
                sum[1] += chosen(last, READ(own + p * b + b - LANES), (vector){0});
            }
        to[o] = sum_of((sum[0] + sum[1]) + (sum[2] + sum[3]));
    }
}

/* The sums of sums (C, rows, chunks of columns, outputs, columns of a chunk, LANES), to (outputs, C, rows, columns). */
static void add_up(const convolution *c, const REAL *sum, int64_t outputs, int64_t each, REAL *to)
{
    for (int64_t row = 0; row < c->channels * c->rows; row++)
        for (int64_t tap = 0; tap < c->columns; tap += each) {
            const int64_t many = smaller(each, c->columns - tap);
            for (int64_t o = 0; o < outputs; o++)
                for (int64_t t = 0; t < many; t++, sum += LANES)
                    to[(o * c->channels * c->rows + row) * c->columns + tap + t] = sum_of(READ(sum));
        }
}

/* What images from `from` on add to the sums (C, kernel, outputs of a panel, LANES), pixel row by pixel row: those of
   one row stay in the first cache while all channels and kernel rows are multiplied by them. */
INLINE void gather_rows(const convolution *c, slope p, int64_t from, int64_t outputs, int64_t each, REAL *sum)
{
    const int64_t b = c->batch, image = c->height * c->width * b;
    const REAL *x = p.x + from, *g = p.g + from;
    for (int64_t i = 0; i < c->out_height; i++) {
        p.sum = sum, p.g = g + i * c->out_width * b;
        for (int64_t channel = 0; channel < c->channels; channel++)
            for (int64_t row = 0; row < c->rows; row++) {
                const int64_t y = i * c->down - c->above + row;
                p.x = x + channel * image + y * c->width * b;
                for (p.tap = 0; p.tap < c->columns; p.tap += each) {
                    const int64_t many = smaller(each, c->columns - p.tap);
                    if (y >= 0 && y < c->height) gatherers[many][outputs](c, &p);
                    p.sum += many * outputs * LANES;
                }
            }
    }
}

/* Gradients at w, and at the bias unless NULL, of g (K, O, H', W', B). `room` holds (C, kernel, MOST_ROWS, LANES). */
void convolve_slopes(const convolution *c, const REAL *x, const REAL *g, REAL *to, REAL *to_bias, REAL *room)
{
    const int64_t b = c->batch, kernel = c->rows * c->columns, pixels = c->out_height * c->out_width;
    const int64_t image = c->height * c->width * b, chunks = (c->columns + MOST_TAPS - 1) / MOST_TAPS;
    const int64_t each = (c->columns + chunks - 1) / chunks, most = most_outputs[each];
    const int64_t panels = (c->outputs + most - 1) / most, usual = (c->outputs + panels - 1) / panels;
    for (int64_t k = 0; k < c->members; k++) {
        const REAL *images = x + (c->shared ? 0 : k * c->channels * image), *own = g + k * c->outputs * pixels * b;
        if (to_bias) bias_slopes(own, c->outputs, pixels, b, to_bias + k * c->outputs);
        for (int64_t o = 0; o < c->outputs; o += usual) {
            const int64_t outputs = smaller(usual, c->outputs - o);
            slope p = {images, own + o * pixels * b, 0, pixels * b, 0, 0, 0};
            memset(room, 0, c->channels * kernel * outputs * LANES * sizeof(REAL));
            for (int64_t from = 0; b - from >= LANES; from += p.images) {
                p.images = smaller(MOST_WIDE, (b - from) / LANES) * LANES;
                gather_rows(c, p, from, outputs, each, room);
            }
            p.images = LANES, p.last = 1;
            if (b % LANES) gather_rows(c, p, b - LANES, outputs, each, room);
            add_up(c, room, outputs, each, to + (k * c->outputs + o) * c->channels * kernel);
        }
    }
}
