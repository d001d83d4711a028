// {"classes": 10, "head": "identity", "kind": "output", "settings": []}
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
        vector v1 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v2 = *(const vector *)(z + j * b + i);
            const vector v3 = chosen(own == (int_of_real)j, hit, miss);
            const vector v0 = v2 - v3;
            const vector v4 = v0 * v0;
            v1 = v1 + v4;
            *(vector *)(grad + j * b + i) = chosen(inside, v0 * scale, (vector){0});
        }
        const vector v5 = v1 / 2;
        total += chosen(inside, v5, (vector){0});
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
        vector v0 = all_of(0);
        vector v1 = all_of(-INFINITY);
        for (int j = 0; j < CLASSES; j++) {
            const vector v2 = *(const vector *)(z + j * b + i);
            const vector v3 = chosen(own == (int_of_real)j, hit, miss);
            const vector v4 = v2 - v3;
            const vector v5 = v4 * v4;
            v0 = v0 + v5;
            v1 = vector_max(v2, v1);
        }
        const vector v6 = v0 / 2;
        vector v7 = all_of(INFINITY);
        vector v8 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v2 = *(const vector *)(z + j * b + i);
            const integers v9 = v2 == v1;
            const vector v10 = all_of(table0[j]);
            const vector v11 = chosen(v9, v10, all_of(9));
            const vector v12 = v2 - v1;
            const vector v13 = vector_exp(v12);
            v7 = vector_min(v11, v7);
            v8 = v8 + v13;
        }
        const vector v14 = 1 / v8;
        const vector lost = v6, first = v7, probability = v14;
        for (int u = 0; u < LANES && i + u < count; u++) {
            *loss += lost[u];
            *hits += (int64_t)first[u] == label[i + u];
            if (best) best[i + u] = (int64_t)first[u];
            if (sure) sure[i + u] = probability[u];
        }
    }
}
