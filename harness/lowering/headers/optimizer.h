/* The steps of an emitted optimizer: tiles of layer one by a turned batch, and rows by their gradients.

   Before this is included there are STATES, SCALARS and FIRST_DIFFERS, and of the first step and the later ones
       INLINE vector step_first(const REAL *u, vector w, vector g, vector *s)
   which returns the new weights and changes the states s, by the member's scalars u. */

INLINE vector step(int first, const REAL *u, vector w, vector g, vector *s)
{
    return first ? step_first(u, w, g, s) : step_later(u, w, g, s);
}

INLINE void tiles(int width, int first, const tiles_step *k, turned x)
{
    REAL u[WIDEST][SCALARS + 1];
    vector total[WIDEST], moved[WIDEST];
    EACH(g, width) {
        memcpy(u[g], k->scalars[g], SCALARS * sizeof(REAL));
        moved[g] = total[g] = (vector){0};
        if (k->c) total[g] = *(const vector *)(k->total + g * LANES);
    }
    const REAL *restrict sums = k->sums;
    for (int64_t j = 0; j < k->d; j++) {
        const int32_t begin = x.start[j], end = x.start[j + 1];
        if (begin == end && !k->c && k->occurs && (!STATES || !k->occurs[j])) continue;
        vector grad[WIDEST];
        if (k->c) EACH(g, width) grad[g] = k->c[j] * total[g];
        else EACH(g, width) grad[g] = (vector){0};
        for (int32_t p = begin; p < end; p++) {
            const REAL *own = sums + (int64_t)x.sample[p] * width * LANES;
            EACH(g, width) grad[g] += x.value[p] * *(const vector *)(own + g * LANES);
        }
        EACH(g, width) {
            const int64_t at = (g * k->d + j) * LANES;
            vector s[STATES + 1];
            for (int i = 0; i < STATES && !first; i++) s[i] = *(vector *)(k->state[i] + at);
            SETTLED(grad[g]);
            const vector w = step(first, u[g], *(vector *)(k->w + at), grad[g], s);
            for (int i = 0; i < STATES; i++) *(vector *)(k->state[i] + at) = s[i];
            *(vector *)(k->w + at) = w;
            if (k->c) moved[g] += k->c[j] * w;
        }
    }
    if (k->c) EACH(g, width) *(vector *)(k->moved + g * LANES) = moved[g];
}

INLINE void tiles_of_width(int first, const tiles_step *k, turned x)
{
    switch (k->width) {
    case 1: tiles(1, first, k, x); break;
    case 2: tiles(2, first, k, x); break;
    case 4: tiles(4, first, k, x); break;
    case 8: tiles(8, first, k, x); break;
    }
}

void step_tiles(const tiles_step *k, turned x)
{
    if (FIRST_DIFFERS && k->first) tiles_of_width(1, k, x);
    else tiles_of_width(0, k, x);
}

INLINE void rows(int first, REAL *w, const REAL *g, REAL *const *state, int64_t n, const REAL *scalars)
{
    REAL u[SCALARS + 1];
    memcpy(u, scalars, SCALARS * sizeof(REAL));
    vector s[STATES + 1];
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int j = 0; j < STATES && !first; j++) s[j] = *(vector *)(state[j] + i);
        *(vector *)(w + i) = step(first, u, *(vector *)(w + i), *(const vector *)(g + i), s);
        for (int j = 0; j < STATES; j++) *(vector *)(state[j] + i) = s[j];
    }
    if (i < n) { /* the last ones, on a copy that is filled up */
        const size_t bytes = (n - i) * sizeof(REAL);
        vector last = {0}, grad = {0};
        memcpy(&last, w + i, bytes), memcpy(&grad, g + i, bytes);
        for (int j = 0; j < STATES && !first; j++) s[j] = (vector){0}, memcpy(s + j, state[j] + i, bytes);
        last = step(first, u, last, grad, s);
        for (int j = 0; j < STATES; j++) memcpy(state[j] + i, s + j, bytes);
        memcpy(w + i, &last, bytes);
    }
}

void step_rows(REAL *w, const REAL *g, REAL *const *state, int64_t n, int64_t first, const REAL *scalars)
{
    if (FIRST_DIFFERS && first) rows(1, w, g, state, n, scalars);
    else rows(0, w, g, state, n, scalars);
}
