/* Many steps of one network by one block of threads: its weights stay in shared memory from step to step.

   Before this text stand, made for a group of members (sources.py): REAL and the components, as `activate_one`,
   `derive_one`, `loss_one`, `step_one` and `scalars`; INPUTS, BATCH, CLASSES_ALL, SETTINGS, LOSS_SETTINGS, STATES,
   SCALARS, CODED, DROPOUT, X_SHARED; the places of arrays in shared memory; and lists of the layers:
       LAYERS_OF(DO)  DO(layer, IN, OUT, w, bias, x, z, y, place in `rest`, T, SLICES, TI, TO) from first to last
       BACK_OF(DO)    DO(hidden layer, IN, OUT, w, gradient, y, z) from the last but one to the first

   Matrices of images have a row a feature and a column an image, weights a row an input and a column an output. Rows
   are filled up with zeros to a multiple of 8, so that threads read four numbers at once, and their groups of four are
   exchanged (`place`), so that threads which read one column of neighbouring rows meet in different banks. A sum's
   order depends on the shape of the network alone: not on the number of threads, nor on other members. */

#define EDGE 8
#define FILLED(n) (((n) + EDGE - 1) / EDGE * EDGE)
#define COLUMNS FILLED(BATCH)
#define MOST_STATES 4
#define MOST_HIDDEN 30

typedef struct {
    const uint8_t *codes;       /* (N, D) places in the palette, or */
    const REAL *pixels;         /* (N, D) */
    const REAL *palette;        /* (256,) */
    const int64_t *label;       /* (N,) */
    const int64_t *order;       /* (S, order_step): the images of an epoch, as each seed sees them */
    const int32_t *seed;        /* (k,): the place of each member's seed */
    const int32_t *activation, *output; /* (k,): which of the group's */
    const double *rates;        /* (steps of the run, rates_step): learning rates */
    const double *settings;     /* (k, SETTINGS) of the optimizer; the first is the learning rate */
    const double *loss_settings; /* (k, LOSS_SETTINGS) */
    const double *smoothing;    /* (k, 2): what a label keeps, what each class gets */
    const double *dropped;      /* (k,): share of the hidden units that dropout leaves out */
    const int32_t *drawn;       /* (k,): the place of each member's seed among those that dropout draws for */
    const float *uniforms[MOST_HIDDEN]; /* of each hidden layer (kept, drawn_seeds, uniform_rows, BATCH) */
    REAL *first, *rest;         /* (k, outputs * D), (k, n) */
    REAL *first_state[MOST_STATES], *rest_state[MOST_STATES];
    REAL *scratch;              /* (k, INPUTS * COLUMNS) for pixels, where shared memory has no room for them */
    REAL *losses;               /* (kept, losses_step): of step t in row (t - 1) % kept */
    int64_t uniform_rows[MOST_HIDDEN];
    int64_t order_step, rates_step, losses_step, kept, drawn_seeds;
    int64_t t, steps, begin, images; /* steps t, t + 1, ..; the first image's place in the epoch; images of an epoch */
} arguments;

typedef struct {
    REAL v[4];
} __attribute__((aligned(4 * REAL_BYTES))) quad;

/* Where a number of a matrix is, whose rows have STRIDE numbers. */
template <int STRIDE> INLINE int place(int row, int column)
{
    constexpr int groups = STRIDE / 4, mask = (groups & -groups) < EDGE ? (groups & -groups) - 1 : EDGE - 1;
    return row * STRIDE + ((((column >> 2) ^ (row & mask)) << 2) | (column & 3));
}

template <int STRIDE> INLINE quad quad_at(const REAL *x, int row, int column)
{
    return *(const quad *)(x + place<STRIDE>(row, column));
}

template <int STRIDE, int COUNT> INLINE void load(const REAL *x, int row, int column, REAL *to)
{
    EACH(i, COUNT / 4) {
        const quad own = quad_at<STRIDE>(x, row, column + 4 * i);
        EACH(j, 4) to[4 * i + j] = own.v[j];
    }
}

/* z = w x + bias: each thread has T outputs by T images of a slice of the inputs, which are added slice by slice. */
template <int IN, int OUT, int T, int SLICES> INLINE void multiply(const REAL *w, const REAL *bias, const REAL *x, REAL *z)
{
    constexpr int high = FILLED(OUT) / T, tiles = high * (COLUMNS / T), items = tiles * SLICES;
    constexpr int each = (IN + SLICES - 1) / SLICES;
    for (int round = 0; round < items; round += blockDim.x) {
        const int item = round + threadIdx.x, tile = item % tiles, slice = item / tiles;
        const int row = tile % high * T, column = tile / high * T;
        const int until = (slice + 1) * each < IN ? (slice + 1) * each : IN;
        REAL sum[T][T] = {};
        if (item < items)
            for (int i = slice * each; i < until; i++) {
                REAL a[T], b[T];
                load<FILLED(OUT), T>(w, i, row, a);
                load<COLUMNS, T>(x, i, column, b);
                EACH(r, T) EACH(c, T) sum[r][c] += a[r] * b[c];
            }
        const int last = (round + (int)blockDim.x < items ? round + (int)blockDim.x : items) - 1;
        for (int turn = round / tiles; turn <= last / tiles; turn++) {
            if (item < items && slice == turn)
                EACH(r, T) EACH(c, T / 4) {
                    quad *to = (quad *)(z + place<COLUMNS>(row + r, column + 4 * c));
                    quad own = *to;
                    EACH(j, 4) own.v[j] = (turn ? own.v[j] : bias[row + r]) + sum[r][4 * c + j];
                    *to = own;
                }
            __syncthreads();
        }
    }
}

/* What a step of one member is given. */
typedef struct {
    int first, count, activation; /* is it step 1; images of the batch */
    float dropped;
    REAL scale;                   /* of the units that stay */
    const float *uniforms[MOST_HIDDEN]; /* (uniform_rows, BATCH) of this step */
    const REAL *scalars;          /* of the optimizer */
} step_of;

/* What dropout makes of a unit's activation: 0, or more of it. */
INLINE REAL factor_of(const step_of *s, int layer, int unit, int image)
{
    return s->uniforms[layer][unit * BATCH + image] >= s->dropped ? s->scale : (REAL)0;
}

template <int WIDTH> INLINE void activate_layer(const step_of *s, int layer, const REAL *z, REAL *y)
{
    for (int i = threadIdx.x; i < WIDTH * COLUMNS; i += blockDim.x) {
        const int unit = i / COLUMNS, image = i % COLUMNS, at = place<COLUMNS>(unit, image);
        REAL own = 0;
        if (image < s->count) {
            own = activate_one(s->activation, z[at]);
            if (DROPOUT && s->dropped > 0) own *= factor_of(s, layer, unit, image);
        }
        y[at] = own;
    }
}

/* The gradient at the pre-activations z of the inputs, in place of them: w of the gradients at the outputs, times the
   activation's derivative. */
template <int IN, int OUT, int T> INLINE void go_back(const step_of *s, int layer, const REAL *w, const REAL *grad,
                                                      const REAL *y, REAL *z)
{
    constexpr int high = (IN + T - 1) / T, items = high * (COLUMNS / T);
    for (int item = threadIdx.x; item < items; item += blockDim.x) {
        const int row = item % high, column = item / high * T;
        REAL sum[T][T] = {};
        for (int j = 0; j < FILLED(OUT); j += 4) {
            quad own[T];
            EACH(r, T) own[r] = quad_at<FILLED(OUT)>(w, row + r * high < IN ? row + r * high : IN - 1, j);
            EACH(k, 4) {
                REAL b[T];
                load<COLUMNS, T>(grad, j + k, column, b);
                EACH(r, T) EACH(c, T) sum[r][c] += own[r].v[k] * b[c];
            }
        }
        EACH(r, T) EACH(c, T) {
            const int unit = row + r * high, image = column + c;
            if (unit < IN) {
                const int at = place<COLUMNS>(unit, image);
                REAL own = 0;
                if (image < s->count) {
                    const bool dropping = DROPOUT && s->dropped > 0; /* y is what dropout left */
                    const REAL active = dropping ? activate_one(s->activation, z[at]) : y[at];
                    const REAL g = dropping ? sum[r][c] * factor_of(s, layer, unit, image) : sum[r][c];
                    own = derive_one(s->activation, g, z[at], active);
                }
                z[at] = own;
            }
        }
    }
}

/* A weight after a step; its states change. */
INLINE REAL stepped(bool first, const step_of *s, REAL w, REAL g, REAL *const *state, int64_t at)
{
    REAL own[STATES + 1];
    EACH(i, STATES) own[i] = s->first ? (REAL)0 : state[i][at];
    w = step_one(first, s->scalars, w, g, own);
    EACH(i, STATES) state[i][at] = own[i];
    return w;
}

/* The first step of weights, one at a time. Where it differs from the later ones it is apart from them, because the
   compiler repeats a step's text for each weight of a thread. */
template <int IN, int OUT> INLINE void update_first(const step_of *s, REAL *w, const REAL *x, const REAL *grad,
                                                    REAL *const *state)
{
    for (int i = threadIdx.x; i < IN * OUT; i += blockDim.x) {
        const int input = i % IN, unit = i / IN, at = place<FILLED(OUT)>(input, unit);
        REAL sum = 0;
        for (int b = 0; b < COLUMNS; b++) sum += x[place<COLUMNS>(input, b)] * grad[place<COLUMNS>(unit, b)];
        w[at] = stepped(true, s, w[at], sum, state, i);
    }
}

/* The gradient of weights, of TI inputs by TO outputs a thread, and their step. */
template <int IN, int OUT, int TI, int TO> INLINE void update(const step_of *s, REAL *w, const REAL *x, const REAL *grad,
                                                              REAL *const *state)
{
    constexpr int high = (IN + TI - 1) / TI, items = high * (FILLED(OUT) / TO);
    for (int item = threadIdx.x; item < items; item += blockDim.x) {
        const int row = item % high, column = item / high * TO;
        REAL sum[TI][TO] = {};
        for (int b = 0; b < COLUMNS; b += 4) {
            quad g[TO];
            EACH(c, TO) g[c] = quad_at<COLUMNS>(grad, column + c, b);
            EACH(r, TI) {
                const quad own = quad_at<COLUMNS>(x, row + r * high < IN ? row + r * high : IN - 1, b);
                EACH(c, TO) EACH(k, 4) sum[r][c] += own.v[k] * g[c].v[k];
            }
        }
        EACH(r, TI) {
            const int input = row + r * high;
            if (input < IN)
                EACH(q, TO / 4) {
                    quad *to = (quad *)(w + place<FILLED(OUT)>(input, column + 4 * q));
                    quad own = *to;
                    EACH(k, 4) {
                        const int unit = column + 4 * q + k;
                        if (unit < OUT)
                            own.v[k] = stepped(false, s, own.v[k], sum[r][4 * q + k], state, (int64_t)unit * IN + input);
                    }
                    *to = own;
                }
        }
    }
}

template <int OUT> INLINE void update_bias(const step_of *s, REAL *bias, const REAL *grad, REAL *const *state)
{
    for (int unit = threadIdx.x; unit < OUT; unit += blockDim.x) {
        REAL sum = 0;
        for (int image = 0; image < COLUMNS; image++) sum += grad[place<COLUMNS>(unit, image)];
        if (FIRST_DIFFERS && s->first) bias[unit] = stepped(true, s, bias[unit], sum, state, unit);
        else bias[unit] = stepped(false, s, bias[unit], sum, state, unit);
    }
}

/* Each image's loss, and in place of its logits the gradient of the batch's mean loss. */
INLINE void lose(const arguments *a, int64_t member, int count, const int32_t *label, REAL *z, REAL *losses)
{
    const REAL share = 1 / (REAL)count;
    for (int image = threadIdx.x; image < COLUMNS; image += blockDim.x) {
        REAL own[CLASSES_ALL], grad[CLASSES_ALL], loss = 0;
        int_of_real target = label[image];
        if (image < count) {
            for (int j = 0; j < CLASSES_ALL; j++) own[j] = z[place<COLUMNS>(j, image)];
            loss = loss_one(a->output[member], own, &target, (REAL)a->smoothing[2 * member],
                            (REAL)a->smoothing[2 * member + 1], a->loss_settings + member * LOSS_SETTINGS, grad);
        }
        for (int j = 0; j < CLASSES_ALL; j++) z[place<COLUMNS>(j, image)] = image < count ? grad[j] * share : (REAL)0;
        losses[image] = loss;
    }
}

/* The pixels (D, COLUMNS) of a batch, and its labels. Neighbouring threads have neighbouring images: they write into
   different banks, and each reads what it needs of its image's row at once. */
INLINE void read_batch(const arguments *a, const int64_t *index, int count, const REAL *palette, REAL *x, int32_t *label)
{
    constexpr int piece = CODED && INPUTS % 16 == 0 ? 16 : 1;
    for (int i = threadIdx.x; i < COLUMNS * (INPUTS / piece); i += blockDim.x) {
        const int image = i % COLUMNS, from = i / COLUMNS * piece;
        const int64_t at = image < count ? index[image] * INPUTS + from : 0;
#if CODED
        struct __attribute__((aligned(piece))) { uint8_t of[piece]; } own = {};
        if (image < count) memcpy(&own, __builtin_assume_aligned(a->codes + at, piece), piece);
        EACH(j, piece) x[place<COLUMNS>(from + j, image)] = image < count ? palette[own.of[j]] : (REAL)0;
#else
        x[place<COLUMNS>(from, image)] = image < count ? a->pixels[at] : (REAL)0;
#endif
    }
    for (int image = threadIdx.x; image < COLUMNS; image += blockDim.x)
        label[image] = image < count ? (int32_t)a->label[index[image]] : 0;
}

/* The weights of a layer, (outputs, inputs) in the device's memory. */
template <int IN, int OUT> INLINE void fetch(const REAL *from, const REAL *from_bias, REAL *w, REAL *bias)
{
    for (int i = threadIdx.x; i < IN * FILLED(OUT); i += blockDim.x) {
        const int unit = i / IN, input = i % IN;
        w[place<FILLED(OUT)>(input, unit)] = unit < OUT ? from[i] : (REAL)0;
    }
    for (int unit = threadIdx.x; unit < FILLED(OUT); unit += blockDim.x) bias[unit] = unit < OUT ? from_bias[unit] : (REAL)0;
}

template <int IN, int OUT> INLINE void give(REAL *to, REAL *to_bias, const REAL *w, const REAL *bias)
{
    for (int i = threadIdx.x; i < IN * OUT; i += blockDim.x) to[i] = w[place<FILLED(OUT)>(i % IN, i / IN)];
    for (int unit = threadIdx.x; unit < OUT; unit += blockDim.x) to_bias[unit] = bias[unit];
}

/* Steps t, t + 1, .. of the member of this block, within an epoch; `shared` is its memory. */
static void train(const arguments *a, REAL *shared)
{
    const int64_t k = blockIdx.x;
    REAL *const palette = shared + PALETTE_AT, *const losses = shared + LOSSES_AT, *const u = shared + SCALARS_AT;
    int32_t *const label = (int32_t *)(shared + LABEL_AT);
    REAL *const x = X_SHARED ? shared + X_AT : a->scratch + k * INPUTS * COLUMNS;
    REAL *const first = a->first + k * FIRST_SIZE, *const rest = a->rest + k * REST_SIZE;
    REAL *first_state[STATES + 1], *rest_state[STATES + 1];
    EACH(i, STATES) {
        first_state[i] = a->first_state[i] + k * FIRST_SIZE;
        rest_state[i] = a->rest_state[i] + k * REST_SIZE;
    }
    for (int i = threadIdx.x; i < X_AT; i += blockDim.x) shared[i] = 0;
    __syncthreads();
    for (int i = threadIdx.x; CODED && i < 256; i += blockDim.x) palette[i] = a->palette[i];
#define FETCH(l, IN, OUT, W, BIAS, X, Z, Y, REST, T, SLICES, TI, TO) \
    fetch<IN, OUT>(l ? rest + REST : first, l ? rest + REST + IN * OUT : rest, shared + W, shared + BIAS);
    LAYERS_OF(FETCH)
    step_of s;
    s.activation = a->activation[k];
    s.dropped = (float)a->dropped[k];
    s.scale = (REAL)(1 / (1 - a->dropped[k]));
    s.scalars = u;
    __syncthreads();
    for (int64_t step = 0; step < a->steps; step++) {
        const int64_t t = a->t + step, row = (t - 1) % a->kept, from = a->begin + step * BATCH;
        s.first = t == 1;
        s.count = a->images - from < BATCH ? (int)(a->images - from) : BATCH;
        if (DROPOUT && s.dropped > 0)
            for (int l = 0; l < HIDDEN; l++)
                s.uniforms[l] = a->uniforms[l] + (row * a->drawn_seeds + a->drawn[k]) * a->uniform_rows[l] * BATCH;
        if (threadIdx.x == 0) {
            double settings[SETTINGS];
            for (int i = 0; i < SETTINGS; i++) settings[i] = a->settings[k * SETTINGS + i];
            settings[0] = a->rates[(t - 1) * a->rates_step + k];
            scalars((double)t, settings, u);
        }
        read_batch(a, a->order + a->seed[k] * a->order_step + from, s.count, palette, x, label);
        __syncthreads();
#define FORWARD(l, IN, OUT, W, BIAS, X, Z, Y, REST, T, SLICES, TI, TO) \
    multiply<IN, OUT, T, SLICES>(shared + W, shared + BIAS, l ? shared + X : x, shared + Z); \
    if (l < HIDDEN) { \
        activate_layer<OUT>(&s, l, shared + Z, shared + Y); \
        __syncthreads(); \
    }
        LAYERS_OF(FORWARD)
        lose(a, k, s.count, label, shared + LOGITS_AT, losses);
        __syncthreads();
#define BACK(l, IN, OUT, W, GRAD, Y, Z) \
    go_back<IN, OUT, 4>(&s, l, shared + W, shared + GRAD, shared + Y, shared + Z); \
    __syncthreads();
        BACK_OF(BACK)
        REAL *state[STATES + 1];
#define UPDATE(l, IN, OUT, W, BIAS, X, Z, Y, REST, T, SLICES, TI, TO) \
    EACH(i, STATES) state[i] = l ? rest_state[i] + REST : first_state[i]; \
    if (FIRST_DIFFERS && s.first) update_first<IN, OUT>(&s, shared + W, l ? shared + X : x, shared + Z, state); \
    else update<IN, OUT, TI, TO>(&s, shared + W, l ? shared + X : x, shared + Z, state); \
    EACH(i, STATES) state[i] = l ? rest_state[i] + REST + IN * OUT : rest_state[i]; \
    update_bias<OUT>(&s, shared + BIAS, shared + Z, state);
        LAYERS_OF(UPDATE)
        if (threadIdx.x == 0) {
            REAL sum = 0;
            for (int image = 0; image < s.count; image++) sum += losses[image];
            a->losses[row * a->losses_step + k] = sum / (REAL)s.count;
        }
        __syncthreads();
    }
#define GIVE(l, IN, OUT, W, BIAS, X, Z, Y, REST, T, SLICES, TI, TO) \
    give<IN, OUT>(l ? rest + REST : first, l ? rest + REST + IN * OUT : rest, shared + W, shared + BIAS);
    LAYERS_OF(GIVE)
}

#ifdef __CUDACC__
extern "C" __global__ void __launch_bounds__(THREADS) resident(const arguments a)
{
    extern __shared__ quad memory[];
    train(&a, (REAL *)memory);
}
#endif
