/* Layer one of many networks at once, on images that are mostly zeros; and the optimizers' steps.

   A product with a pixel that is zero is not computed: on MNIST that leaves a fifth of the arithmetic. What is
   left runs on vectors of LANES hidden units. Their weights are a tile, (D, LANES): pixel by pixel, so that a
   pixel's weights are one vector and nothing is gathered. Members are whole tiles side by side, the last one
   filled up with rows of zeros, which stay zeros: their gradients are.

   Images are compressed rows: image n has the pixels column[row[n]..row[n+1]] with value[...]. A batch is
   turned by `turn`, once a step, so that the gradient of a pixel's weights is one sum over the images in
   which that pixel is not zero, and the optimizer's step is taken while the sum is still in registers: weights
   and an optimizer's state are read and written once.

   No sum runs over tiles or lanes, and none in an order that depends on what stands beside it: a member's bits
   are its own. Compiled once with REAL float and REAL_BYTES 4, and once with double and 8. */

#include <stdint.h>
#include <string.h>

#define LANES 16
#if REAL_BYTES == 4
typedef int32_t int_of_real;
#else
typedef int64_t int_of_real;
#endif
#define INLINE static inline __attribute__((always_inline))
#define EACH(i, n) _Pragma("GCC unroll 8") for (int i = 0; i < (n); i++)

typedef REAL vector __attribute__((vector_size(LANES * sizeof(REAL)), aligned(sizeof(REAL))));

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

enum rule { GRADIENT, SGD, MOMENTUM, NESTEROV, ADAM, ADAMW };

/* ------------------------------------------------------------------------------------------------ images */

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

/* ------------------------------------------------------------------------------------------- transposition */

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define LOW(a, b) \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH(a, b) \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define INTERLEAVE(to, from) \
    EACH(i, 8) { to[2 * i] = LOW(from[i], from[i + 8]); to[2 * i + 1] = HIGH(from[i], from[i + 8]); }
#endif
#endif

INLINE void transpose(vector m[LANES])
{
#ifdef INTERLEAVE
    vector t[LANES];
    INTERLEAVE(t, m) INTERLEAVE(m, t) INTERLEAVE(t, m) INTERLEAVE(m, t)
#else
    for (int i = 0; i < LANES; i++)
        for (int j = 0; j < i; j++) {
            REAL held = m[i][j];
            m[i][j] = m[j][i];
            m[j][i] = held;
        }
#endif
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

/* ------------------------------------------------------------------------------------------------- products */

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

/* --------------------------------------------------------------------------------------------------- steps */

typedef struct { REAL lr, decay, first, second, third; } scalars;

INLINE double power(double base, int64_t n)
{
    double result = 1;
    for (; n; n >>= 1, base *= base)
        if (n & 1) result *= base;
    return result;
}

/* A member's scalars at step t (from 1), from its learning rate and its settings in the rule's order. */
INLINE scalars at_step(enum rule rule, int64_t t, double lr, const double *set)
{
    scalars s = {(REAL)lr, 0, 0, 0, 0};
    switch (rule) {
    case GRADIENT:
        break;
    case SGD: /* weight_decay */
        s.decay = (REAL)set[0];
        break;
    case MOMENTUM: /* momentum, dampening, weight_decay; the first step is not dampened, as in torch */
        s.first = (REAL)set[0];
        s.second = (REAL)(t == 1 ? 1 : 1 - set[1]);
        s.decay = (REAL)set[2];
        break;
    case NESTEROV: /* momentum, weight_decay */
        s.first = (REAL)set[0];
        s.decay = (REAL)set[1];
        break;
    case ADAM:
    case ADAMW: { /* beta1, beta2, eps, weight_decay; corrections of bias are in lr and eps */
        const double root = __builtin_sqrt(1 - power(set[1], t));
        s.first = (REAL)set[0];
        s.second = (REAL)set[1];
        s.third = (REAL)(set[2] * root);
        s.lr = (REAL)(lr * root / (1 - power(set[0], t)));
        s.decay = (REAL)(rule == ADAM ? set[3] : 1 - lr * set[3]);
        break;
    }
    }
    return s;
}

INLINE vector square_root(vector x)
{
    vector root;
    for (int u = 0; u < LANES; u++)
        root[u] = REAL_BYTES == 4 ? (REAL)__builtin_sqrtf((float)x[u]) : (REAL)__builtin_sqrt(x[u]);
    return root;
}

/* One step of LANES parameters w, whose gradient is g; `one` and `two` are the optimizer's states. */
INLINE vector stepped(enum rule rule, scalars s, vector w, vector g, REAL *one, REAL *two)
{
    vector *const a = (vector *)one, *const b = (vector *)two;
    switch (rule) {
    case GRADIENT:
        return g;
    case SGD:
        return w - s.lr * (g + s.decay * w);
    case MOMENTUM:
        *a = s.first * *a + s.second * (g + s.decay * w);
        return w - s.lr * *a;
    case NESTEROV:
        g += s.decay * w;
        *a = s.first * *a + g;
        return w - s.lr * (g + s.first * *a);
    case ADAM:
        g += s.decay * w;
        break;
    case ADAMW:
        w *= s.decay;
        break;
    }
    *a = s.first * *a + (1 - s.first) * g;
    *b = s.second * *b + (1 - s.second) * (g * g);
    return w - s.lr * *a / (square_root(*b) + s.third);
}

#define WIDEST 8 /* tiles that read the turned batch together */

typedef struct {      /* what steps of some tiles need: first..first + count of the stack's */
    REAL *w;          /* theirs; where the rule is GRADIENT, their gradients */
    REAL *one, *two;  /* as large; unused ones are w */
    const tile *tiles;
    const REAL *const *grads; /* at the blocks' pre-activations, (k*h, B) each */
    const double *lr, *settings; /* (k,) and (k, n), of the members from first_member on */
    int64_t count, first_member, n, t, b, d;
    const uint8_t *occurs; /* (D,) whether a pixel is not zero in any image of the split */
    REAL *sums;       /* room for WIDEST * B * LANES */
} task;

INLINE void step_tiles(enum rule rule, int width, const task *k, int64_t from, turned x)
{
    const tile *tiles = k->tiles + from;
    scalars s[WIDEST];
    int untouched = 1; /* without decay, weights of a pixel that is always zero stay as they are */
    EACH(g, width) {
        const int64_t m = tiles[g].member - k->first_member;
        s[g] = at_step(rule, k->t, k->lr[m], k->settings + m * k->n);
        untouched &= s[g].decay == (rule == ADAMW) && (rule < ADAM || s[g].third > 0);
        take_up(k->sums, g, width, k->b, tiles[g].rows, k->grads[tiles[g].block] + tiles[g].row * k->b);
    }
    const REAL *restrict sums = k->sums;
    for (int64_t j = 0; j < k->d; j++) {
        const int32_t begin = x.start[j], end = x.start[j + 1];
        if (begin == end && untouched && (rule == SGD || (rule != GRADIENT && !k->occurs[j]))) continue;
        vector g_[width];
        EACH(g, width) g_[g] = (vector){0};
        for (int32_t p = begin; p < end; p++) {
            const REAL *grad = sums + (int64_t)x.sample[p] * width * LANES;
            EACH(g, width) g_[g] += x.value[p] * *(const vector *)(grad + g * LANES);
        }
        EACH(g, width) {
            const int64_t at = ((from + g) * k->d + j) * LANES;
            *(vector *)(k->w + at) =
                stepped(rule, s[g], *(vector *)(k->w + at), g_[g], k->one + at, k->two + at);
        }
    }
}

INLINE void step_all(enum rule rule, const task *k, turned x)
{
    for (int64_t t = 0; t < k->count;) {
        const int64_t batch = k->tiles[t].batch;
        int64_t same = 1;
        while (same < WIDEST && t + same < k->count && k->tiles[t + same].batch == batch) same++;
        turned own = {x.start + batch * (k->d + 2), x.sample + batch * k->b * k->d, x.value + batch * k->b * k->d};
        if (same == 8) step_tiles(rule, 8, k, t, own), t += 8;
        else if (same >= 4) step_tiles(rule, 4, k, t, own), t += 4;
        else if (same >= 2) step_tiles(rule, 2, k, t, own), t += 2;
        else step_tiles(rule, 1, k, t, own), t += 1;
    }
}

/* A step of layer one of some tiles, by a turned batch and the gradients at the pre-activations. */
void step_first(enum rule rule, const task *k, turned x)
{
    switch (rule) { /* so that each rule is compiled for itself */
    case GRADIENT: step_all(GRADIENT, k, x); break;
    case SGD: step_all(SGD, k, x); break;
    case MOMENTUM: step_all(MOMENTUM, k, x); break;
    case NESTEROV: step_all(NESTEROV, k, x); break;
    case ADAM: step_all(ADAM, k, x); break;
    case ADAMW: step_all(ADAMW, k, x); break;
    }
}

INLINE void step_rows(enum rule rule, const task *k, const REAL *grad, int64_t size)
{
    for (int64_t m = 0; m < k->count; m++) {
        const scalars s = at_step(rule, k->t, k->lr[m], k->settings + m * k->n);
        REAL *w = k->w + m * size, *one = k->one + m * size, *two = k->two + m * size;
        const REAL *g = grad + m * size;
        int64_t i = 0;
        for (; i + LANES <= size; i += LANES)
            *(vector *)(w + i) =
                stepped(rule, s, *(vector *)(w + i), *(const vector *)(g + i), one + i, two + i);
        if (i < size) { /* the last ones, on a copy that is filled up */
            REAL last[4][LANES] = {{0}};
            const size_t bytes = (size - i) * sizeof(REAL);
            memcpy(last[0], w + i, bytes), memcpy(last[1], g + i, bytes);
            memcpy(last[2], one + i, bytes), memcpy(last[3], two + i, bytes);
            *(vector *)last[0] =
                stepped(rule, s, *(vector *)last[0], *(vector *)last[1], last[2], last[3]);
            memcpy(one + i, last[2], bytes), memcpy(two + i, last[3], bytes), memcpy(w + i, last[0], bytes);
        }
    }
}

/* A step of parameters (k, size), row by row, by their gradients. */
void step_rest(enum rule rule, const task *k, const REAL *grad, int64_t size)
{
    switch (rule) {
    case GRADIENT: break;
    case SGD: step_rows(SGD, k, grad, size); break;
    case MOMENTUM: step_rows(MOMENTUM, k, grad, size); break;
    case NESTEROV: step_rows(NESTEROV, k, grad, size); break;
    case ADAM: step_rows(ADAM, k, grad, size); break;
    case ADAMW: step_rows(ADAMW, k, grad, size); break;
    }
}

/* ------------------------------------------------------------------------------------------ exp, tanh, log */

typedef int_of_real integers __attribute__((vector_size(LANES * sizeof(REAL)), aligned(sizeof(REAL))));

/* a where the mask is set, else b: no arithmetic, so that a NaN stays where it is */
INLINE vector chosen(integers mask, vector a, vector b)
{
    return (vector)((mask & (integers)a) | (~mask & (integers)b));
}

/* e^x, to 1 ulp or so; beyond the range of normal numbers it stays at the range's end. Cephes' polynomial. */
INLINE vector exponential(vector given)
{
#if REAL_BYTES == 4
    const vector zero = {0}, one = zero + 1;
    vector x = chosen(given > 88.37f, zero + 88.37f, given);
    x = chosen(x < -87.33f, zero - 87.33f, x);
    vector n = x * 1.44269504088896341f + 12582912.0f; /* 1.5 * 2^23: rounds to an integer */
    const integers power = ((integers)n - 0x4b400000) << 23;
    n -= 12582912.0f;
    const vector r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vector p = one * 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1;
    return chosen(given != given, given, (vector)((integers)p + power));
#else
    vector e;
    for (int u = 0; u < LANES; u++) e[u] = __builtin_exp(given[u]);
    return e;
#endif
}

INLINE vector tangent(vector x)
{
#if REAL_BYTES == 4
    const vector zero = {0};
    const vector size = chosen(x < 0, zero - x, x), square = x * x;
    vector p = zero - 5.70498872745e-3f; /* Cephes' polynomial, near 0 */
    p = p * square + 2.06390887954e-2f;
    p = p * square - 5.37397155531e-2f;
    p = p * square + 1.33314422036e-1f;
    p = p * square - 3.33332819422e-1f;
    const vector near = p * square * x + x, far = 1 - 2 / (exponential(2 * size) + 1);
    return chosen(size < 0.625f, near, chosen(x < 0, zero - far, far));
#else
    vector t;
    for (int u = 0; u < LANES; u++) t[u] = __builtin_tanh(x[u]);
    return t;
#endif
}

INLINE REAL logarithm(REAL x) { return REAL_BYTES == 4 ? (REAL)__builtin_logf(x) : (REAL)__builtin_log(x); }

/* --------------------------------------------------------------------------- the layers behind the first one */

enum activation { IDENTITY, RELU, LEAKY_RELU, SIGMOID, TANH, SILU };

INLINE vector activated(enum activation what, vector x)
{
    const vector zero = {0};
    switch (what) {
    case IDENTITY: return x;
    case RELU: return chosen(x < 0, zero, x);
    case LEAKY_RELU: return chosen(x < 0, x * (REAL)0.01, x);
    case SIGMOID: return 1 / (1 + exponential(zero - x));
    case TANH: return tangent(x);
    case SILU: return x / (1 + exponential(zero - x));
    }
    return x;
}

/* the gradient at x, from that at y = activated(x) */
INLINE vector derived(enum activation what, vector grad, vector x, vector y)
{
    const vector zero = {0};
    switch (what) {
    case IDENTITY: return grad;
    case RELU: return chosen(y <= 0, zero, grad);
    case LEAKY_RELU: return chosen(x > 0, grad, grad * (REAL)0.01);
    case SIGMOID: return grad * (1 - y) * y;
    case TANH: return grad * (1 - y * y);
    case SILU: {
        const vector s = 1 / (1 + exponential(zero - x));
        return grad * s * (1 + x * (1 - s));
    }
    }
    return grad;
}

INLINE void activate(enum activation what, const REAL *restrict x, REAL *restrict y, int64_t n)
{
    for (int64_t i = 0; i < n; i += LANES)
        *(vector *)(y + i) = activated(what, *(const vector *)(x + i));
}

INLINE void derive(enum activation what, REAL *restrict grad, const REAL *restrict x, const REAL *restrict y,
                   int64_t n)
{
    for (int64_t i = 0; i < n; i += LANES) {
        vector *g = (vector *)(grad + i);
        *g = derived(what, *g, *(const vector *)(x + i), *(const vector *)(y + i));
    }
}

#define OF_EACH_ACTIVATION(DO) \
    DO(IDENTITY) DO(RELU) DO(LEAKY_RELU) DO(SIGMOID) DO(TANH) DO(SILU)

/* out (rows, `columns`) = start + x y, where x (rows, inner) has any strides and y's rows are vectors. */
typedef struct {
    const REAL *x, *y, *start; /* start (rows,), or NULL for zero */
    int64_t across, along, step; /* of x from row to row, along a row; from row to row of y */
    int64_t inner, columns;
    REAL *out;
    int64_t out_step;
} product_of;

INLINE void panel(int rows, int wide, const product_of *p, int64_t row, int64_t column)
{
    vector sum[8][2];
    EACH(r, rows) EACH(v, wide) sum[r][v] = (vector){0} + (p->start ? p->start[row + r] : 0);
    const REAL *x = p->x + row * p->across, *y = p->y + column;
    for (int64_t i = 0; i < p->inner; i++, x += p->along, y += p->step) {
        vector own[2];
        EACH(v, wide) own[v] = *(const vector *)(y + v * LANES);
        EACH(r, rows) EACH(v, wide) sum[r][v] += x[r * p->across] * own[v];
    }
    EACH(r, rows) EACH(v, wide) {
        REAL *out = p->out + (row + r) * p->out_step + column + v * LANES;
        const int64_t left = p->columns - column - v * LANES;
        if (left >= LANES) *(vector *)out = sum[r][v];
        else memcpy(out, &sum[r][v], left * sizeof(REAL));
    }
}

static void multiply(const product_of *p, int64_t rows)
{
    int64_t column = 0;
    for (; p->columns - column > LANES; column += 2 * LANES) {
        int64_t row = 0;
        for (; row + 4 <= rows; row += 4) panel(4, 2, p, row, column);
        for (; row + 2 <= rows; row += 2) panel(2, 2, p, row, column);
        for (; row < rows; row++) panel(1, 2, p, row, column);
    }
    for (; column < p->columns; column += LANES) {
        int64_t row = 0;
        for (; row + 8 <= rows; row += 8) panel(8, 1, p, row, column);
        for (; row + 4 <= rows; row += 4) panel(4, 1, p, row, column);
        for (; row + 2 <= rows; row += 2) panel(2, 1, p, row, column);
        for (; row < rows; row++) panel(1, 1, p, row, column);
    }
}

#define FILLED(n) (((n) + LANES - 1) / LANES * LANES)

/* a (h, b), to (b, FILLED(h)), filled up with zeros */
static void turn_matrix(const REAL *restrict a, int64_t h, int64_t b, REAL *restrict to)
{
    for (int64_t r = 0; r < h; r += LANES)
        for (int64_t i = 0; i < b; i += LANES) {
            vector m[LANES];
            EACH(u, LANES) m[u] = r + u < h ? *(const vector *)(a + (r + u) * b + i) : (vector){0};
            transpose(m);
            EACH(j, LANES) *(vector *)(to + (i + j) * FILLED(h) + r) = m[j];
        }
}

INLINE REAL sum_of(const REAL *x, int64_t n)
{
    vector sum = {0};
    REAL total = 0;
    for (int64_t i = 0; i < n; i += LANES) sum += *(const vector *)(x + i);
    EACH(u, LANES) total += sum[u];
    return total;
}

typedef struct {      /* k members of one shape; b is a multiple of LANES */
    int64_t k, b, n, depth;
    const int64_t *widths;     /* (depth + 1,): hidden .., classes */
    const int32_t *activation; /* (k,) */
    REAL *rest, *grad_rest;    /* (k, n): layer one's biases, then each layer's weights and biases */
    REAL *const *z;            /* depth + 1 of (k, h, b): pre-activations, the last one logits */
    REAL *const *a;            /* depth of (k, h, b): activations */
    REAL *scratch;             /* room for 3 * b * the largest FILLED width */
} network;

/* From layer one's products, in z[0], to the logits. */
void forward_rest(const network *net)
{
    const int64_t b = net->b, *h = net->widths;
    for (int64_t k = 0; k < net->k; k++) {
        const REAL *rest = net->rest + k * net->n;
        REAL *z = net->z[0] + k * h[0] * b;
        for (int64_t u = 0; u < h[0]; u++)
            for (int64_t i = 0; i < b; i += LANES) *(vector *)(z + u * b + i) += rest[u];
        rest += h[0];
        for (int64_t l = 0; l < net->depth; l++) {
            REAL *a = net->a[l] + k * h[l] * b;
            switch (net->activation[k]) {
#define DO(WHAT) case WHAT: activate(WHAT, z, a, h[l] * b); break;
                OF_EACH_ACTIVATION(DO)
#undef DO
            }
            z = net->z[l + 1] + k * h[l + 1] * b;
            multiply(&(product_of){rest, a, rest + h[l] * h[l + 1], h[l], 1, b, h[l], b, z, b}, h[l + 1]);
            rest += (h[l] + 1) * h[l + 1];
        }
    }
}

/* From the gradients at the logits, (k, C, b), to those at layer one's products, in `first`, and grad_rest. */
void backward_rest(const network *net, const REAL *grad, REAL *first)
{
    const int64_t b = net->b, *h = net->widths;
    int64_t widest = 0;
    for (int64_t l = 0; l < net->depth; l++) widest = h[l] > widest ? h[l] : widest;
    REAL *turned = net->scratch, *held[2] = {turned + FILLED(widest) * b, turned + 2 * FILLED(widest) * b};
    for (int64_t k = 0; k < net->k; k++) {
        int64_t at = net->n;
        const REAL *g = grad + k * h[net->depth] * b;
        for (int64_t l = net->depth - 1; l >= 0; l--) {
            at -= (h[l] + 1) * h[l + 1];
            const REAL *w = net->rest + k * net->n + at, *a = net->a[l] + k * h[l] * b;
            REAL *grad_w = net->grad_rest + k * net->n + at;
            REAL *next = l ? held[l & 1] : first + k * h[0] * b;
            turn_matrix(a, h[l], b, turned);
            multiply(&(product_of){g, turned, 0, b, 1, FILLED(h[l]), b, h[l], grad_w, h[l]}, h[l + 1]);
            for (int64_t o = 0; o < h[l + 1]; o++) grad_w[h[l] * h[l + 1] + o] = sum_of(g + o * b, b);
            multiply(&(product_of){w, g, 0, 1, h[l], b, h[l + 1], b, next, b}, h[l]);
            switch (net->activation[k]) {
#define DO(WHAT) case WHAT: derive(WHAT, next, net->z[l] + k * h[l] * b, a, h[l] * b); break;
                OF_EACH_ACTIVATION(DO)
#undef DO
            }
            g = next;
        }
        if (!net->depth) memcpy(first + k * h[0] * b, g, h[0] * b * sizeof(REAL));
        for (int64_t u = 0; u < h[0]; u++) net->grad_rest[k * net->n + u] = sum_of(g + u * b, b);
    }
}

/* ------------------------------------------------------------------------------------- softmax cross-entropy */

/* Of logits (c, b) at samples i..i + LANES: their maximum, and the sum of e^(z - maximum). */
static vector exponentials(const REAL *z, int64_t c, int64_t b, int64_t i, vector *most)
{
    vector m = *(const vector *)(z + i), sum = {0};
    for (int64_t j = 1; j < c; j++) {
        const vector own = *(const vector *)(z + j * b + i);
        m = chosen((own > m) | (own != own), own, m);
    }
    for (int64_t j = 0; j < c; j++) sum += exponential(*(const vector *)(z + j * b + i) - m);
    *most = m;
    return sum;
}

/* A member's mean loss of logits (c, b) against targets (c, b), smoothed to keep * target + spread, and its
   gradient (c, b). Samples from `count` on only fill vectors up: they have no loss. */
static REAL member_cross_entropy(const REAL *z, const REAL *target, int64_t c, int64_t b, int64_t count,
                                 REAL keep, REAL spread, REAL *grad)
{
    vector total = {0};
    for (int64_t i = 0; i < b; i += LANES) {
        vector most, log, sum = exponentials(z, c, b, i, &most), hit = {0};
        for (int u = 0; u < LANES; u++) log[u] = logarithm(sum[u]);
        for (int64_t j = 0; j < c; j++) {
            const vector shifted = *(const vector *)(z + j * b + i) - most;
            const vector t = keep * *(const vector *)(target + j * b + i) + spread;
            hit += t * shifted;
            *(vector *)(grad + j * b + i) = (exponential(shifted) / sum - t) / (REAL)count;
        }
        vector loss = log - hit;
        for (int u = 0; u < LANES; u++)
            if (i + u >= count) {
                loss[u] = 0;
                for (int64_t j = 0; j < c; j++) grad[j * b + i + u] = 0;
            }
        total += loss;
    }
    REAL loss = 0;
    for (int u = 0; u < LANES; u++) loss += total[u] / (REAL)count;
    return loss;
}

/* Mean losses (k,) of logits (k, c, b), and their gradient (k, c, b). Targets are (b, c), or (k, b, c) where
   `own` is set. `scratch` has room for c * b. */
void cross_entropy(const REAL *z, const REAL *target, int64_t own, int64_t k, int64_t c, int64_t b,
                   const REAL *keep, const REAL *spread, REAL *scratch, REAL *loss, REAL *grad)
{
    for (int64_t m = 0; m < k; m++, z += c * b, grad += c * b) {
        if (own || !m)
            for (int64_t i = 0; i < b; i++)
                for (int64_t j = 0; j < c; j++) scratch[j * b + i] = target[(own * m * b + i) * c + j];
        loss[m] = member_cross_entropy(z, scratch, c, b, b, keep[m], spread[m], grad);
    }
}

/* Of logits (k, c, b) with labels (b,): sums of losses and of hits (k,) are added to; where `best` is not NULL,
   the first largest class and its probability are written at [m * step + i]. */
void judge(const REAL *z, const int64_t *label, int64_t k, int64_t c, int64_t b, double *loss, int64_t *hits,
           int64_t *best, REAL *sure, int64_t step)
{
    for (int64_t m = 0; m < k; m++, z += c * b)
        for (int64_t i = 0; i < b; i += LANES) {
            vector most, sum = exponentials(z, c, b, i, &most);
            integers first = {0}, open = ~first;
            first += (int_of_real)(c - 1);
            for (int64_t j = 0; j < c; j++) {
                const vector own = *(const vector *)(z + j * b + i);
                const integers is = open & (own == most);
                sum += 0 * (own - most); /* a logit that is not finite leaves no loss that is */
                first = (is & (int_of_real)j) | (~is & first);
                open &= ~is;
            }
            for (int u = 0; u < LANES; u++) {
                const int64_t y = label[i + u];
                loss[m] += logarithm(sum[u]) - (z[y * b + i + u] - most[u]);
                hits[m] += first[u] == y;
                if (best) best[m * step + i + u] = first[u], sure[m * step + i + u] = 1 / sum[u];
            }
        }
}

/* ----------------------------------------------------------------------------------------------- whole steps */

#define DEEPEST 30 /* layers behind the first */

typedef struct {      /* the members of one shape and one optimizer */
    int64_t k, n, d, depth, settings_each;
    const int64_t *widths;     /* (depth + 1,) */
    const int32_t *activation; /* (k,) */
    const tile *tiles;         /* of these members alone: rows, blocks and members counted from 0 */
    REAL *w, *one, *two;       /* tiles */
    REAL *rest, *rest_one, *rest_two, *grad_rest; /* (k, n) */
    const double *settings;    /* (k, settings_each) */
    const REAL *keep, *spread; /* (k,) of smoothed labels */
} members;

typedef struct {      /* a stretch of steps t, t + 1, .. */
    images x;
    turned batches;       /* of all steps */
    const uint8_t *occurs;
    const int64_t *index; /* (steps, seeds, b) */
    const int64_t *label; /* (N,) */
    int64_t t, steps, seeds, b, count; /* a batch has `count` images, and empty ones up to b */
} stretch;

/* Rooms for `together` members: 2 * depth + 3 layers of their activations, and what the kernels ask for. */
int64_t stretch_room(const members *m, int64_t b, int64_t together)
{
    int64_t units = 2 * m->widths[0], widest = m->widths[0];
    for (int64_t l = 0; l <= m->depth; l++) {
        units += 2 * m->widths[l];
        if (m->widths[l] > widest) widest = m->widths[l];
    }
    return b * (together * units + WIDEST * LANES + 3 * FILLED(widest) + m->widths[m->depth]);
}

/* Train members through a stretch, `together` of them at a time, so that their weights stay in the cache from
   step to step. Learning rates are (steps, rates_step), losses (steps, losses_step). */
void train_stretch(enum rule rule, const members *m, const stretch *s, int64_t together, const double *rates,
                   int64_t rates_step, REAL *losses, int64_t losses_step, REAL *room)
{
    const int64_t b = s->b, *h = m->widths, classes = h[m->depth];
    const int64_t each = (h[0] + LANES - 1) / LANES, tile_size = m->d * LANES;
    for (int64_t k = 0; k < m->k; k += together) {
        const int64_t count = m->k - k < together ? m->k - k : together;
        REAL *z[DEEPEST + 1], *a[DEEPEST], *at = room;
        for (int64_t l = 0; l <= m->depth; l++) z[l] = at, at += count * h[l] * b;
        for (int64_t l = 0; l < m->depth; l++) a[l] = at, at += count * h[l] * b;
        REAL *first = at, *logits = first + count * h[0] * b, *target = logits + count * classes * b;
        REAL *sums = target + classes * b, *scratch = sums + WIDEST * LANES * b;
        const network net = {count, b, m->n, m->depth, h, m->activation + k, m->rest + k * m->n,
                             m->grad_rest + k * m->n, z, a, scratch};
        REAL *const shifted = z[0] - k * h[0] * b; /* where row 0 of all members would be */
        const REAL *const grads = first - k * h[0] * b;
        task of_first = {m->w + k * each * tile_size, m->one + k * each * tile_size,
                         m->two + k * each * tile_size, m->tiles + k * each, &grads, NULL,
                         m->settings + k * m->settings_each, count * each, k, m->settings_each, 0, b, m->d,
                         s->occurs, sums};
        task of_rest = of_first;
        of_rest.w = m->rest + k * m->n, of_rest.one = m->rest_one + k * m->n;
        of_rest.two = m->rest_two + k * m->n, of_rest.count = count;
        for (int64_t step = 0; step < s->steps; step++) {
            const int64_t *index = s->index + step * s->seeds * b;
            const turned own = {s->batches.start + step * s->seeds * (m->d + 2),
                                s->batches.sample + step * s->seeds * b * m->d,
                                s->batches.value + step * s->seeds * b * m->d};
            products(of_first.w, of_first.tiles, of_first.count, s->x, index, b, m->d, sums, &shifted);
            forward_rest(&net);
            int64_t seen = -1;
            for (int64_t i = 0; i < count; i++) {
                const int64_t batch = of_first.tiles[i * each].batch;
                if (batch != seen) {
                    memset(target, 0, classes * b * sizeof *target);
                    for (int64_t j = 0; j < b; j++) target[s->label[index[batch * b + j]] * b + j] = 1;
                    seen = batch;
                }
                losses[step * losses_step + k + i] =
                    member_cross_entropy(z[m->depth] + i * classes * b, target, classes, b, s->count,
                                         m->keep[k + i], m->spread[k + i], logits + i * classes * b);
            }
            backward_rest(&net, logits, first);
            of_first.t = of_rest.t = s->t + step;
            of_first.lr = of_rest.lr = rates + step * rates_step + k;
            step_first(rule, &of_first, own);
            step_rest(rule, &of_rest, net.grad_rest, m->n);
        }
    }
}
