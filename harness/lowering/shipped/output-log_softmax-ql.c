// {"classes": 10, "head": "log_softmax", "kind": "output", "settings": []}
#include "component.h"
#define CLASSES 10
static const REAL table0[CLASSES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};

REAL loss(const REAL *restrict z, const int_of_real *restrict label, int64_t b, int64_t count, REAL keep,
          REAL spread, const double *restrict settings, REAL *restrict grad)
{
    const vector hit = all_of(keep + spread), miss = all_of(spread), scale = all_of(1 / (REAL)count);
    vector total = {0};
    for (int64_t i = 0; i < b; i += LANES) {
        const integers own = *(const integers *)(label + i);
        const integers inside = lane_numbers() < (int_of_real)(count - i);
        vector kept_v1[CLASSES];
        vector v2 = all_of(-INFINITY);
        for (int j = 0; j < CLASSES; j++) {
            const vector v3 = *(const vector *)(z + j * b + i);
            v2 = vector_max(v3, v2);
        }
        vector v4 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v3 = *(const vector *)(z + j * b + i);
            const vector v5 = v3 - v2;
            const vector v6 = vector_exp(v5);
            v4 = v4 + v6;
        }
        const vector v7 = vector_log(v4);
        vector v8 = all_of(0);
        vector v9 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v3 = *(const vector *)(z + j * b + i);
            const vector v10 = chosen(own == (int_of_real)j, hit, miss);
            const vector v5 = v3 - v2;
            const vector v11 = v5 - v7;
            const vector v1 = vector_exp(v11);
            kept_v1[j] = v1;
            const vector v12 = v1 - v10;
            const vector v13 = v1 * v12;
            const vector v14 = v12 * v12;
            v8 = v8 + v14;
            v9 = v9 + v13;
        }
        const vector v15 = v8 / 2;
        for (int j = 0; j < CLASSES; j++) {
            const vector v1 = kept_v1[j];
            const vector v10 = chosen(own == (int_of_real)j, hit, miss);
            const vector v12 = v1 - v10;
            const vector v13 = v1 * v12;
            const vector v16 = v1 * v9;
            const vector v0 = v13 - v16;
            *(vector *)(grad + j * b + i) = chosen(inside, v0 * scale, (vector){0});
        }
        total += chosen(inside, v15, (vector){0});
    }
    REAL sum = 0;
    for (int u = 0; u < LANES; u++) sum += total[u];
    return sum / (REAL)count;
}

void judge(const REAL *restrict z, const int_of_real *restrict label, int64_t b, int64_t count,
           const double *restrict settings, double *loss, int64_t *hits, int64_t *best, REAL *sure)
{
    const vector hit = all_of(1), miss = all_of(0);
    for (int64_t i = 0; i < b; i += LANES) {
        const integers own = *(const integers *)(label + i);
        vector v0 = all_of(-INFINITY);
        for (int j = 0; j < CLASSES; j++) {
            const vector v1 = *(const vector *)(z + j * b + i);
            v0 = vector_max(v1, v0);
        }
        vector v2 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v1 = *(const vector *)(z + j * b + i);
            const vector v3 = v1 - v0;
            const vector v4 = vector_exp(v3);
            v2 = v2 + v4;
        }
        const vector v5 = vector_log(v2);
        vector v6 = all_of(0);
        vector v7 = all_of(-INFINITY);
        for (int j = 0; j < CLASSES; j++) {
            const vector v1 = *(const vector *)(z + j * b + i);
            const vector v8 = chosen(own == (int_of_real)j, hit, miss);
            const vector v3 = v1 - v0;
            const vector v9 = v3 - v5;
            const vector v10 = vector_exp(v9);
            const vector v11 = v10 - v8;
            const vector v12 = v11 * v11;
            v6 = v6 + v12;
            v7 = vector_max(v9, v7);
        }
        const vector v13 = v6 / 2;
        const vector v14 = vector_exp(v7);
        vector v15 = all_of(INFINITY);
        for (int j = 0; j < CLASSES; j++) {
            const vector v1 = *(const vector *)(z + j * b + i);
            const vector v3 = v1 - v0;
            const vector v9 = v3 - v5;
            const integers v16 = v9 == v7;
            const vector v17 = all_of(table0[j]);
            const vector v18 = chosen(v16, v17, all_of(9));
            v15 = vector_min(v18, v15);
        }
        const vector lost = v13, first = v15, probability = v14;
        for (int u = 0; u < LANES && i + u < count; u++) {
            *loss += lost[u];
            *hits += (int64_t)first[u] == label[i + u];
            if (best) best[i + u] = (int64_t)first[u];
            if (sure) sure[i + u] = probability[u];
        }
    }
}
