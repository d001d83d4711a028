// {"classes": 10, "head": "identity", "kind": "output", "settings": ["ccql_weight"]}
#include "component.h"
#define CLASSES 10
static const REAL table0[CLASSES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};

REAL loss(const REAL *restrict z, const int_of_real *restrict label, int64_t b, int64_t count, REAL keep,
          REAL spread, const double *restrict settings, REAL *restrict grad)
{
    const vector hit = all_of(keep + spread), miss = all_of(spread), scale = all_of(1 / (REAL)count);
    vector total = {0};
    const double v13 = settings[0] / 2.0;
    for (int64_t i = 0; i < b; i += LANES) {
        const integers own = *(const integers *)(label + i);
        const integers inside = lane_numbers() < (int_of_real)(count - i);
        vector v1 = all_of(0);
        vector v2 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v3 = *(const vector *)(z + j * b + i);
            const vector v4 = chosen(own == (int_of_real)j, hit, miss);
            const vector v5 = v3 * v4;
            const vector v6 = v3 - v4;
            const vector v7 = v6 * v6;
            v1 = v1 + v5;
            v2 = v2 + v7;
        }
        const vector v8 = 1 - v1;
        const vector v9 = (REAL)settings[0] * v8;
        const vector v10 = v2 / 2;
        const vector v11 = v8 * v8;
        const vector v12 = (REAL)v13 * v11;
        const vector v14 = v10 + v12;
        for (int j = 0; j < CLASSES; j++) {
            const vector v3 = *(const vector *)(z + j * b + i);
            const vector v4 = chosen(own == (int_of_real)j, hit, miss);
            const vector v6 = v3 - v4;
            const vector v15 = v9 * v4;
            const vector v0 = v6 - v15;
            *(vector *)(grad + j * b + i) = chosen(inside, v0 * scale, (vector){0});
        }
        total += chosen(inside, v14, (vector){0});
    }
    REAL sum = 0;
    for (int u = 0; u < LANES; u++) sum += total[u];
    return sum / (REAL)count;
}

void judge(const REAL *restrict z, const int_of_real *restrict label, int64_t b, int64_t count,
           const double *restrict settings, double *loss, int64_t *hits, int64_t *best, REAL *sure)
{
    const vector hit = all_of(1), miss = all_of(0);
    const double v12 = settings[0] / 2.0;
    for (int64_t i = 0; i < b; i += LANES) {
        const integers own = *(const integers *)(label + i);
        vector v0 = all_of(0);
        vector v1 = all_of(0);
        vector v2 = all_of(-INFINITY);
        for (int j = 0; j < CLASSES; j++) {
            const vector v3 = *(const vector *)(z + j * b + i);
            const vector v4 = chosen(own == (int_of_real)j, hit, miss);
            const vector v5 = v3 * v4;
            const vector v6 = v3 - v4;
            const vector v7 = v6 * v6;
            v0 = v0 + v5;
            v1 = v1 + v7;
            v2 = vector_max(v3, v2);
        }
        const vector v8 = 1 - v0;
        const vector v9 = v1 / 2;
        const vector v10 = v8 * v8;
        const vector v11 = (REAL)v12 * v10;
        const vector v13 = v9 + v11;
        vector v14 = all_of(INFINITY);
        vector v15 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v3 = *(const vector *)(z + j * b + i);
            const integers v16 = v3 == v2;
            const vector v17 = all_of(table0[j]);
            const vector v18 = chosen(v16, v17, all_of(9));
            const vector v19 = v3 - v2;
            const vector v20 = vector_exp(v19);
            v14 = vector_min(v18, v14);
            v15 = v15 + v20;
        }
        const vector v21 = 1 / v15;
        const vector lost = v13, first = v14, probability = v21;
        for (int u = 0; u < LANES && i + u < count; u++) {
            *loss += lost[u];
            *hits += (int64_t)first[u] == label[i + u];
            if (best) best[i + u] = (int64_t)first[u];
            if (sure) sure[i + u] = probability[u];
        }
    }
}
