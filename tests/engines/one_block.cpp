/* Three steps of one member in eight threads; `SHARED` bytes of shared memory. */
#include <stdio.h>
#include "cuda_on_host.h"
#include PROGRAM
RUN_BLOCKS(train, arguments, REAL)

static uint8_t codes[100 * INPUTS];
static REAL palette[256], first[FIRST_SIZE], rest[REST_SIZE], losses[64], states[4][FIRST_SIZE + REST_SIZE];
static int64_t label[100], order[100];
static int32_t zero[1];
static double rates[64], settings[SETTINGS + 1], other[8] = {1, 0}, dropped[1] = {0.5};
static float uniform[99999];

int main(void)
{
    for (int i = 0; i < 100 * INPUTS; i++) codes[i] = i * 7 % 11;
    for (int i = 0; i < 256; i++) palette[i] = i;
    for (int i = 0; i < 100; i++) label[i] = i % CLASSES_ALL, order[i] = 99 - i;
    for (int i = 0; i < FIRST_SIZE; i++) first[i] = 0.001 * (i % 13);
    for (int i = 0; i < REST_SIZE; i++) rest[i] = 0.01 * (i % 7);
    for (int i = 0; i < 99999; i++) uniform[i] = i % 10 * 0.1;
    for (int i = 0; i < 64; i++) rates[i] = 0.01;
    for (int i = 0; i < SETTINGS; i++) settings[i] = 0.5;
    arguments a = {};
    a.codes = codes, a.palette = palette, a.label = label, a.order = order, a.order_step = 100, a.images = 40;
    a.seed = a.activation = a.output = a.drawn = zero, a.drawn_seeds = 1;
    a.rates = rates, a.rates_step = 1, a.settings = settings, a.loss_settings = a.smoothing = other;
    a.first = first, a.rest = rest, a.losses = losses, a.losses_step = 1, a.kept = 64, a.dropped = dropped;
    for (int i = 0; i < 4; i++) a.first_state[i] = states[i], a.rest_state[i] = states[i] + FIRST_SIZE;
    for (int i = 0; i < HIDDEN; i++) a.uniforms[i] = uniform, a.uniform_rows[i] = 8;
    a.t = 1, a.steps = 3;
    run(&a, 1, 8, SHARED, 0);
    printf("%g\n", (double)losses[2]);
    return losses[2] != losses[2];
}
