/* The optimizers' steps: of layer one by a turned batch, and of the rest by its gradients. */

enum rule { GRADIENT, SGD, MOMENTUM, NESTEROV, ADAM, ADAMW };

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
