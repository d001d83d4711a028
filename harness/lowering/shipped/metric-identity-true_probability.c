// {"classes": 10, "head": "identity", "kind": "metric", "metric": "true_probability", "settings": []}
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
            const vector v0 = vector_exp(v4);
            kept_v0[j] = v0;
            v3 = v3 + v0;
        }
        vector v5 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v0 = kept_v0[j];
            const vector v6 = chosen(own == (int_of_real)j, hit, miss);
            const vector v7 = v0 / v3;
            const vector v8 = v7 * v6;
            v5 = v5 + v8;
        }
        const vector value = v5;
        for (int u = 0; u < LANES && i + u < count; u++) *sum += value[u];
    }
}
