// {"classes": 10, "head": "sigmoid", "kind": "output", "settings": []}
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
            const vector v4 = vector_sigmoid(v2);
            const vector v5 = v4 - v3;
            const vector v6 = v5 * v5;
            const vector v7 = v5 * v4;
            const vector v8 = 1 - v4;
            const vector v0 = v7 * v8;
            v1 = v1 + v6;
            *(vector *)(grad + j * b + i) = chosen(inside, v0 * scale, (vector){0});
        }
        const vector v9 = v1 / 2;
        total += chosen(inside, v9, (vector){0});
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
        vector v1 = all_of(0);
        vector v2 = all_of(-INFINITY);
        vector v3 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v4 = *(const vector *)(z + j * b + i);
            const vector v5 = chosen(own == (int_of_real)j, hit, miss);
            const vector v0 = vector_sigmoid(v4);
            kept_v0[j] = v0;
            const vector v6 = v0 - v5;
            const vector v7 = v6 * v6;
            v1 = v1 + v7;
            v2 = vector_max(v0, v2);
            v3 = v3 + v0;
        }
        const vector v8 = v1 / 2;
        const vector v9 = v2 / v3;
        vector v10 = all_of(INFINITY);
        for (int j = 0; j < CLASSES; j++) {
            const vector v0 = kept_v0[j];
            const integers v11 = v0 == v2;
            const vector v12 = all_of(table0[j]);
            const vector v13 = chosen(v11, v12, all_of(9));
            v10 = vector_min(v13, v10);
        }
        const vector lost = v8, first = v10, probability = v9;
        for (int u = 0; u < LANES && i + u < count; u++) {
            *loss += lost[u];
            *hits += (int64_t)first[u] == label[i + u];
            if (best) best[i + u] = (int64_t)first[u];
            if (sure) sure[i + u] = probability[u];
        }
    }
}
