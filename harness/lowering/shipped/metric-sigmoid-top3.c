// {"classes": 10, "head": "sigmoid", "kind": "metric", "metric": "top3", "settings": []}
#include "component.h"
#define CLASSES 10

void measure(const REAL *restrict z, const int_of_real *restrict label, int64_t b, int64_t count, double *sum)
{
    const vector hit = all_of(1), miss = all_of(0);
    for (int64_t i = 0; i < b; i += LANES) {
        const integers own = *(const integers *)(label + i);
        vector kept_v0[CLASSES];
        vector kept_v1[CLASSES];
        vector v2 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v3 = *(const vector *)(z + j * b + i);
            const vector v0 = vector_sigmoid(v3);
            kept_v0[j] = v0;
            v2 = v2 + v0;
        }
        vector v4 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v0 = kept_v0[j];
            const vector v5 = chosen(own == (int_of_real)j, hit, miss);
            const vector v1 = v0 / v2;
            kept_v1[j] = v1;
            const vector v6 = v1 * v5;
            v4 = v4 + v6;
        }
        vector v7 = all_of(0);
        vector sum_v8 = {0};
        for (int j = 0; j < CLASSES; j++) {
            const vector v1 = kept_v1[j];
            const vector v5 = chosen(own == (int_of_real)j, hit, miss);
            const integers v9 = v1 < v4;
            const integers v10 = v1 == v4;
            const vector v8 = sum_v8 += v5;
            const integers v11 = v8 > 0;
            const integers v12 = v10 & v11;
            const integers v13 = v9 | v12;
            const vector v14 = chosen(v13, all_of(1), all_of(0));
            v7 = v7 + v14;
        }
        const integers v15 = v7 >= 8;
        const vector v16 = chosen(v15, all_of(1), all_of(0));
        const vector value = v16;
        for (int u = 0; u < LANES && i + u < count; u++) *sum += value[u];
    }
}
