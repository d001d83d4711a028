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
        vector v3 = all_of(-INFINITY);
        for (int j = 0; j < CLASSES; j++) {
            const vector v4 = *(const vector *)(z + j * b + i);
            v3 = vector_max(v4, v3);
        }
        vector v5 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v4 = *(const vector *)(z + j * b + i);
            const vector v6 = v4 - v3;
            const vector v1 = vector_exp(v6);
            kept_v1[j] = v1;
            v5 = v5 + v1;
        }
        vector v7 = all_of(0);
        vector v8 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v1 = kept_v1[j];
            const vector v9 = chosen(own == (int_of_real)j, hit, miss);
            const vector v2 = v1 / v5;
            kept_v2[j] = v2;
            const vector v10 = v2 - v9;
            const vector v11 = v10 * v10;
            const vector v12 = v10 * v2;
            v7 = v7 + v11;
            v8 = v8 + v12;
        }
        const vector v13 = v7 / 2;
        for (int j = 0; j < CLASSES; j++) {
            const vector v2 = kept_v2[j];
            const vector v9 = chosen(own == (int_of_real)j, hit, miss);
            const vector v10 = v2 - v9;
            const vector v14 = v10 - v8;
            const vector v0 = v2 * v14;
            *(vector *)(grad + j * b + i) = chosen(inside, v0 * scale, (vector){0});
        }
        total += chosen(inside, v13, (vector){0});
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
            const vector v9 = v1 - v8;
            const vector v10 = v9 * v9;
            v6 = v6 + v10;
            v7 = vector_max(v1, v7);
        }
        const vector v11 = v6 / 2;
        vector v12 = all_of(INFINITY);
        for (int j = 0; j < CLASSES; j++) {
            const vector v1 = kept_v1[j];
            const integers v13 = v1 == v7;
            const vector v14 = all_of(table0[j]);
            const vector v15 = chosen(v13, v14, all_of(9));
            v12 = vector_min(v15, v12);
        }
        const vector lost = v11, first = v12, probability = v7;
        for (int u = 0; u < LANES && i + u < count; u++) {
            *loss += lost[u];
            *hits += (int64_t)first[u] == label[i + u];
            if (best) best[i + u] = (int64_t)first[u];
            if (sure) sure[i + u] = probability[u];
        }
    }
}
