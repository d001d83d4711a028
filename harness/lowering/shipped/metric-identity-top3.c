// {"classes": 10, "head": "identity", "kind": "metric", "metric": "top3", "settings": []}
#include "component.h"
#define CLASSES 10

void measure(const REAL *restrict z, const int_of_real *restrict label, int64_t b, int64_t count, double *sum)
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
        for (int j = 0; j < CLASSES; j++) {
            const vector v0 = kept_v0[j];
            const vector v7 = chosen(own == (int_of_real)j, hit, miss);
            const vector v1 = v0 / v4;
            kept_v1[j] = v1;
            const vector v8 = v1 * v7;
            v6 = v6 + v8;
        }
        vector v9 = all_of(0);
        vector sum_v10 = {0};
        for (int j = 0; j < CLASSES; j++) {
            const vector v1 = kept_v1[j];
            const vector v7 = chosen(own == (int_of_real)j, hit, miss);
            const integers v11 = v1 < v6;
            const integers v12 = v1 == v6;
            const vector v10 = sum_v10 += v7;
            const integers v13 = v10 > 0;
            const integers v14 = v12 & v13;
            const integers v15 = v11 | v14;
            const vector v16 = chosen(v15, all_of(1), all_of(0));
            v9 = v9 + v16;
        }
        const integers v17 = v9 >= 8;
        const vector v18 = chosen(v17, all_of(1), all_of(0));
        const vector value = v18;
        for (int u = 0; u < LANES && i + u < count; u++) *sum += value[u];
    }
}
