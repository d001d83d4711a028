/* What a compiled component and its caller agree on. Every emitted text includes this. */
#pragma once
#include "lanes.h"

#define WIDEST 8 /* tiles that read a turned batch together, at most */
#define MOST_STATES 4

typedef struct {          /* a batch, turned: pixel d is not zero in sample[start[d]..start[d + 1]] */
    const int32_t *start, *sample;
    const REAL *value;
} turned;

typedef struct {          /* a step of `width` tiles (1, 2, 4 or 8) that lie side by side and see one batch */
    REAL *w, *state[MOST_STATES]; /* tile g at + g * d * LANES */
    const REAL *sums;     /* (B, width, LANES): gradients at the pre-activations */
    const REAL *c;        /* (d,) or NULL: pixels are u + c, u mostly zeros; c is what a zero pixel has become */
    const REAL *total;    /* (width, LANES): gradients summed over the batch; only with c */
    REAL *moved;          /* (width, LANES): receives the sum over d of c[d] * new w; only with c */
    const uint8_t *occurs; /* (d,): the pixel is not zero in some image; NULL where a step without a gradient
                              moves a weight or a state */
    int64_t d, width, first; /* first: this is step 1, states are not there yet */
    const REAL *scalars[WIDEST]; /* of each tile's member */
} tiles_step;
