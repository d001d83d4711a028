// {"classes": 10, "head": "log_softmax", "kind": "metric", "metric": "top3", "settings": []}
#include "component.h"
#define CLASSES 10

void measure(const REAL *restrict z, const int_of_real *restrict label, int64_t b, int64_t count, double *sum)
{
    const vector hit = all_of(1), miss = all_of(0);
    for (int64_t i = 0; i < b; i += LANES) {
        const integers own = *(const integers *)(label + i);
        vector kept_v0[CLASSES];
        vector v1 = all_of(-INFINITY);
        for (int j = 0; j < CLASSES; j++) {
            const vector v2 = *(const vector *)(z + j * b + i);
            v1 = vector_max(v2, v1);
        }
        vector v3 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v2 = *(const vector *)(z + j * b + i);
            const vector v4 = v2 - v1;
            const vector v5 = vector_exp(v4);
            v3 = v3 + v5;
        }
        const vector v6 = vector_log(v3);
        vector v7 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v2 = *(const vector *)(z + j * b + i);
            const vector v8 = chosen(own == (int_of_real)j, hit, miss);
            const vector v4 = v2 - v1;
            const vector v9 = v4 - v6;
            const vector v0 = vector_exp(v9);
            kept_v0[j] = v0;
            const vector v10 = v0 * v8;
            v7 = v7 + v10;
        }
        vector v11 = all_of(0);
        vector sum_v12 = {0};
        for (int j = 0; j < CLASSES; j++) {
            const vector v0 = kept_v0[j];
            const vector v8 = chosen(own == (int_of_real)j, hit, miss);
            const integers v13 = v0 < v7;
            const integers v14 = v0 == v7;
            const vector v12 = sum_v12 += v8;
            const integers v15 = v12 > 0;
            const integers v16 = v14 & v15;
            const integers v17 = v13 | v16;
            const vector v18 = chosen(v17, all_of(1), all_of(0));
            v11 = v11 + v18;
        }
        const integers v19 = v11 >= 8;
        const vector v20 = chosen(v19, all_of(1), all_of(0));
        const vector value = v20;
        for (int u = 0; u < LANES && i + u < count; u++) *sum += value[u];
    }
}
