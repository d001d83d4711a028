// {"classes": 10, "head": "softmax", "kind": "output", "settings": []}
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
        vector kept_v2[CLASSES];
        vector kept_v3[CLASSES];
        vector v4 = all_of(-INFINITY);
        for (int j = 0; j < CLASSES; j++) {
            const vector v5 = *(const vector *)(z + j * b + i);
            v4 = vector_max(v5, v4);
        }
        vector v6 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v5 = *(const vector *)(z + j * b + i);
            const vector v7 = v5 - v4;
            const vector v1 = vector_exp(v7);
            kept_v1[j] = v1;
            v6 = v6 + v1;
        }
        vector v8 = all_of(0);
        vector v9 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v1 = kept_v1[j];
            const vector v10 = chosen(own == (int_of_real)j, hit, miss);
            const vector v2 = v1 / v6;
            kept_v2[j] = v2;
            const vector v11 = -v10;
            const integers v12 = v10 > 0;
            const vector v13 = chosen(v12, v2, all_of(1));
            const vector v3 = v11 / v13;
            kept_v3[j] = v3;
            const vector v14 = vector_log(v13);
            const vector v15 = v10 * v14;
            const vector v16 = v3 * v2;
            v8 = v8 + v15;
            v9 = v9 + v16;
        }
        const vector v17 = -v8;
        for (int j = 0; j < CLASSES; j++) {
            const vector v2 = kept_v2[j];
            const vector v3 = kept_v3[j];
            const vector v18 = v3 - v9;
            const vector v0 = v2 * v18;
            *(vector *)(grad + j * b + i) = chosen(inside, v0 * scale, (vector){0});
        }
        total += chosen(inside, v17, (vector){0});
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
        vector kept_v0[CLASSES];
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
            const vector v0 = vector_exp(v5);
            kept_v0[j] = v0;
            v4 = v4 + v0;
        }
        vector v6 = all_of(0);
        vector v7 = all_of(-INFINITY);
        for (int j = 0; j < CLASSES; j++) {
            const vector v0 = kept_v0[j];
            const vector v8 = chosen(own == (int_of_real)j, hit, miss);
            const vector v1 = v0 / v4;
            kept_v1[j] = v1;
            const integers v9 = v8 > 0;
            const vector v10 = chosen(v9, v1, all_of(1));
            const vector v11 = vector_log(v10);
            const vector v12 = v8 * v11;
            v6 = v6 + v12;
            v7 = vector_max(v1, v7);
        }
        const vector v13 = -v6;
        vector v14 = all_of(INFINITY);
        for (int j = 0; j < CLASSES; j++) {
            const vector v1 = kept_v1[j];
            const integers v15 = v1 == v7;
            const vector v16 = all_of(table0[j]);
            const vector v17 = chosen(v15, v16, all_of(9));
            v14 = vector_min(v17, v14);
        }
        const vector lost = v13, first = v14, probability = v7;
        for (int u = 0; u < LANES && i + u < count; u++) {
            *loss += lost[u];
            *hits += (int64_t)first[u] == label[i + u];
            if (best) best[i + u] = (int64_t)first[u];
            if (sure) sure[i + u] = probability[u];
        }
    }
}
