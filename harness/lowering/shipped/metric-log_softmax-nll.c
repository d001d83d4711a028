// {"classes": 10, "head": "log_softmax", "kind": "metric", "metric": "nll", "settings": []}
#include "component.h"
#define CLASSES 10

void measure(const REAL *restrict z, const int_of_real *restrict label, int64_t b, int64_t count, double *sum)
{
    const vector hit = all_of(1), miss = all_of(0);
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
        for (int j = 0; j < CLASSES; j++) {
            const vector v1 = *(const vector *)(z + j * b + i);
            const vector v7 = chosen(own == (int_of_real)j, hit, miss);
            const vector v3 = v1 - v0;
            const vector v8 = v3 - v5;
            const vector v9 = vector_exp(v8);
            const vector v10 = v9 * v7;
            v6 = v6 + v10;
        }
        const vector v11 = vector_log(v6);
        const vector v12 = -v11;
        const vector value = v12;
        for (int u = 0; u < LANES && i + u < count; u++) *sum += value[u];
    }
}
