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
        vector v1 = all_of(-INFINITY);
        vector v2 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v3 = *(const vector *)(z + j * b + i);
            const vector v4 = chosen(own == (int_of_real)j, hit, miss);
            const vector v5 = 0 - v4;
            v1 = vector_max(v3, v1);
            v2 = v2 + v5;
        }
        vector v6 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v3 = *(const vector *)(z + j * b + i);
            const vector v7 = v3 - v1;
            const vector v8 = vector_exp(v7);
            v6 = v6 + v8;
        }
        const vector v9 = vector_log(v6);
        vector v10 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v3 = *(const vector *)(z + j * b + i);
            const vector v4 = chosen(own == (int_of_real)j, hit, miss);
            const vector v7 = v3 - v1;
            const vector v11 = v7 - v9;
            const vector v5 = 0 - v4;
            const vector v12 = v4 * v11;
            const vector v13 = vector_exp(v11);
            const vector v14 = v13 * v2;
            const vector v0 = v5 - v14;
            v10 = v10 + v12;
            *(vector *)(grad + j * b + i) = chosen(inside, v0 * scale, (vector){0});
        }
        const vector v15 = -v10;
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
            const vector v10 = v8 * v9;
            v6 = v6 + v10;
            v7 = vector_max(v9, v7);
        }
        const vector v11 = -v6;
        const vector v12 = vector_exp(v7);
        vector v13 = all_of(INFINITY);
        for (int j = 0; j < CLASSES; j++) {
            const vector v1 = *(const vector *)(z + j * b + i);
            const vector v3 = v1 - v0;
            const vector v9 = v3 - v5;
            const integers v14 = v9 == v7;
            const vector v15 = all_of(table0[j]);
            const vector v16 = chosen(v14, v15, all_of(9));
            v13 = vector_min(v16, v13);
        }
        const vector lost = v11, first = v13, probability = v12;
        for (int u = 0; u < LANES && i + u < count; u++) {
            *loss += lost[u];
            *hits += (int64_t)first[u] == label[i + u];
            if (best) best[i + u] = (int64_t)first[u];
            if (sure) sure[i + u] = probability[u];
        }
    }
}
