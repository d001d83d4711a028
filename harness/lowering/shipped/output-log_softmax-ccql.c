// {"classes": 10, "head": "log_softmax", "kind": "output", "settings": ["ccql_weight"]}
#include "component.h"
#define CLASSES 10
static const REAL table0[CLASSES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};

REAL loss(const REAL *restrict z, const int_of_real *restrict label, int64_t b, int64_t count, REAL keep,
          REAL spread, const double *restrict settings, REAL *restrict grad)
{
    const vector hit = all_of(keep + spread), miss = all_of(spread), scale = all_of(1 / (REAL)count);
    vector total = {0};
    const double v21 = settings[0] / 2.0;
    for (int64_t i = 0; i < b; i += LANES) {
        const integers own = *(const integers *)(label + i);
        const integers inside = lane_numbers() < (int_of_real)(count - i);
        vector kept_v1[CLASSES];
        vector kept_v2[CLASSES];
        vector v3 = all_of(-INFINITY);
        for (int j = 0; j < CLASSES; j++) {
            const vector v4 = *(const vector *)(z + j * b + i);
            v3 = vector_max(v4, v3);
        }
        vector v5 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v4 = *(const vector *)(z + j * b + i);
            const vector v6 = v4 - v3;
            const vector v7 = vector_exp(v6);
            v5 = v5 + v7;
        }
        const vector v8 = vector_log(v5);
        vector v9 = all_of(0);
        vector v10 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v4 = *(const vector *)(z + j * b + i);
            const vector v11 = chosen(own == (int_of_real)j, hit, miss);
            const vector v6 = v4 - v3;
            const vector v12 = v6 - v8;
            const vector v1 = vector_exp(v12);
            kept_v1[j] = v1;
            const vector v13 = v1 * v11;
            const vector v14 = v1 - v11;
            const vector v15 = v14 * v14;
            v9 = v9 + v13;
            v10 = v10 + v15;
        }
        const vector v16 = 1 - v9;
        const vector v17 = (REAL)settings[0] * v16;
        const vector v18 = v10 / 2;
        const vector v19 = v16 * v16;
        const vector v20 = (REAL)v21 * v19;
        const vector v22 = v18 + v20;
        vector v23 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v1 = kept_v1[j];
            const vector v11 = chosen(own == (int_of_real)j, hit, miss);
            const vector v14 = v1 - v11;
            const vector v24 = v17 * v11;
            const vector v25 = v14 - v24;
            const vector v2 = v1 * v25;
            kept_v2[j] = v2;
            v23 = v23 + v2;
        }
        for (int j = 0; j < CLASSES; j++) {
            const vector v1 = kept_v1[j];
            const vector v2 = kept_v2[j];
            const vector v26 = v1 * v23;
            const vector v0 = v2 - v26;
            *(vector *)(grad + j * b + i) = chosen(inside, v0 * scale, (vector){0});
        }
        total += chosen(inside, v22, (vector){0});
    }
    REAL sum = 0;
    for (int u = 0; u < LANES; u++) sum += total[u];
    return sum / (REAL)count;
}

void judge(const REAL *restrict z, const int_of_real *restrict label, int64_t b, int64_t count,
           const double *restrict settings, double *loss, int64_t *hits, int64_t *best, REAL *sure)
{
    const vector hit = all_of(1), miss = all_of(0);
    const double v19 = settings[0] / 2.0;
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
        vector v7 = all_of(0);
        vector v8 = all_of(-INFINITY);
        for (int j = 0; j < CLASSES; j++) {
            const vector v1 = *(const vector *)(z + j * b + i);
            const vector v9 = chosen(own == (int_of_real)j, hit, miss);
            const vector v3 = v1 - v0;
            const vector v10 = v3 - v5;
            const vector v11 = vector_exp(v10);
            const vector v12 = v11 * v9;
            const vector v13 = v11 - v9;
            const vector v14 = v13 * v13;
            v6 = v6 + v12;
            v7 = v7 + v14;
            v8 = vector_max(v10, v8);
        }
        const vector v15 = 1 - v6;
        const vector v16 = v7 / 2;
        const vector v17 = v15 * v15;
        const vector v18 = (REAL)v19 * v17;
        const vector v20 = v16 + v18;
        const vector v21 = vector_exp(v8);
        vector v22 = all_of(INFINITY);
        for (int j = 0; j < CLASSES; j++) {
            const vector v1 = *(const vector *)(z + j * b + i);
            const vector v3 = v1 - v0;
            const vector v10 = v3 - v5;
            const integers v23 = v10 == v8;
            const vector v24 = all_of(table0[j]);
            const vector v25 = chosen(v23, v24, all_of(9));
            v22 = vector_min(v25, v22);
        }
        const vector lost = v20, first = v22, probability = v21;
        for (int u = 0; u < LANES && i + u < count; u++) {
            *loss += lost[u];
            *hits += (int64_t)first[u] == label[i + u];
            if (best) best[i + u] = (int64_t)first[u];
            if (sure) sure[i + u] = probability[u];
        }
    }
}
