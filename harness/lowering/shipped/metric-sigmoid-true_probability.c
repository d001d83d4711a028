// {"classes": 10, "head": "sigmoid", "kind": "metric", "metric": "true_probability", "settings": []}
#include "component.h"
#define CLASSES 10

void measure(const REAL *restrict z, const int_of_real *restrict label, int64_t b, int64_t count, double *sum)
{
    const vector hit = all_of(1), miss = all_of(0);
    for (int64_t i = 0; i < b; i += LANES) {
        const integers own = *(const integers *)(label + i);
        vector kept_v0[CLASSES];
        vector v1 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v2 = *(const vector *)(z + j * b + i);
            const vector v0 = vector_sigmoid(v2);
            kept_v0[j] = v0;
            v1 = v1 + v0;
        }
        vector v3 = all_of(0);
        for (int j = 0; j < CLASSES; j++) {
            const vector v0 = kept_v0[j];
            const vector v4 = chosen(own == (int_of_real)j, hit, miss);
            const vector v5 = v0 / v1;
            const vector v6 = v5 * v4;
            v3 = v3 + v6;
        }
        const vector value = v3;
        for (int u = 0; u < LANES && i + u < count; u++) *sum += value[u];
    }
}
