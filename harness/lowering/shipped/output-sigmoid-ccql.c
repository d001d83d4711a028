// {"classes": 10, "head": "sigmoid", "kind": "output", "settings": ["ccql_weight"]}
#include "component.h"
#define CLASSES 10
static const REAL table0[CLASSES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};

REAL loss(const REAL *restrict z, const int_of_real *restrict label, int64_t b, int64_t count, REAL keep,
          REAL spread, const double *restrict settings, REAL *restrict grad)
{
    const vector hit = all_of(keep + spread), miss = all_of(spread), scale = all_of(1 / (REAL)count);
    vector total = {0};
    const double v14 = settings[0] / 2.0;
    for (int64_t i = 0; i < b; i += LANES) {
        const integers own = *(const integers *)(label + i);
        const integers inside = lane_numbers() < (int_of_real)(count - i);
        vector kept_v1[CLASSES];
        vector v2 = all_of(0);
        vector v3 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v4 = *(const vector *)(z + j * b + i);
            const vector v5 = chosen(own == (int_of_real)j, hit, miss);
            const vector v1 = vector_sigmoid(v4);
            kept_v1[j] = v1;
            const vector v6 = v1 * v5;
            const vector v7 = v1 - v5;
            const vector v8 = v7 * v7;
            v2 = v2 + v6;
            v3 = v3 + v8;
        }
        const vector v9 = 1 - v2;
        const vector v10 = (REAL)settings[0] * v9;
        const vector v11 = v3 / 2;
        const vector v12 = v9 * v9;
        const vector v13 = (REAL)v14 * v12;
        const vector v15 = v11 + v13;
        for (int j = 0; j < CLASSES; j++) {
            const vector v1 = kept_v1[j];
            const vector v5 = chosen(own == (int_of_real)j, hit, miss);
            const vector v7 = v1 - v5;
            const vector v16 = v10 * v5;
            const vector v17 = v7 - v16;
            const vector v18 = v17 * v1;
            const vector v19 = 1 - v1;
            const vector v0 = v18 * v19;
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
    const double v14 = settings[0] / 2.0;
    for (int64_t i = 0; i < b; i += LANES) {
        const integers own = *(const integers *)(label + i);
        vector kept_v0[CLASSES];
        vector v1 = all_of(0);
        vector v2 = all_of(0);
        vector v3 = all_of(-INFINITY);
        vector v4 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v5 = *(const vector *)(z + j * b + i);
            const vector v6 = chosen(own == (int_of_real)j, hit, miss);
            const vector v0 = vector_sigmoid(v5);
            kept_v0[j] = v0;
            const vector v7 = v0 * v6;
            const vector v8 = v0 - v6;
            const vector v9 = v8 * v8;
            v1 = v1 + v7;
            v2 = v2 + v9;
            v3 = vector_max(v0, v3);
            v4 = v4 + v0;
        }
        const vector v10 = 1 - v1;
        const vector v11 = v2 / 2;
        const vector v12 = v10 * v10;
        const vector v13 = (REAL)v14 * v12;
        const vector v15 = v11 + v13;
        const vector v16 = v3 / v4;
        vector v17 = all_of(INFINITY);
        for (int j = 0; j < CLASSES; j++) {
            const vector v0 = kept_v0[j];
            const integers v18 = v0 == v3;
            const vector v19 = all_of(table0[j]);
            const vector v20 = chosen(v18, v19, all_of(9));
            v17 = vector_min(v20, v17);
        }
        const vector lost = v15, first = v17, probability = v16;
        for (int u = 0; u < LANES && i + u < count; u++) {
            *loss += lost[u];
            *hits += (int64_t)first[u] == label[i + u];
            if (best) best[i + u] = (int64_t)first[u];
            if (sure) sure[i + u] = probability[u];
        }
    }
}
