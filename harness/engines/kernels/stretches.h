/* Stretches: many steps of the members of a stack, a few members at a time. */

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
