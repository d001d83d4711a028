/* Batch normalisation: each plane of `count` numbers by itself. */
typedef struct {
    int64_t planes, count;
    int64_t rectified; /* ReLU follows */
    double epsilon;
} normalisation;

INLINE int64_t whole_vectors(int64_t count) { return count / (4 * LANES) * 4 * LANES; }

/* For all `count` numbers `at`, and `mask` of those that count (the last vector overlaps the one before it). */
#define THROUGH(count, body) \
    do { \
        const int64_t whole_ = whole_vectors(count); \
        for (int64_t at_ = 0; at_ < whole_; at_ += 4 * LANES) \
            EACH(v, 4) { const int64_t at = at_ + v * LANES; const integers mask = ~(integers){0}; body } \
        for (int64_t at_ = whole_; at_ < count; at_ += LANES) { \
            const int v = 0; \
            const int64_t at = smaller(at_, count - LANES); \
            const integers mask = at < at_ ? last_lanes(count) : ~(integers){0}; \
            body \
        } \
    } while (0)

INLINE vector all(vector sum[4]) { return (sum[0] + sum[1]) + (sum[2] + sum[3]); }

/* What a plane's numbers become: x * scale + shift. */
INLINE vector moved(vector x, REAL mean, REAL scale, REAL shift) { return (x - mean) * scale + shift; }

/* out of x (planes, count): mean, variance (biased) and the inverse deviation are (planes,); weight and bias, too. */
void normalise(const normalisation *n, const REAL *given, const REAL *weight, const REAL *bias, REAL *to,
               REAL *mean, REAL *variance, REAL *inverse)
{
    for (int64_t p = 0; p < n->planes; p++) {
        const REAL *x = given + p * n->count;
        REAL *out = to + p * n->count;
        vector sum[4] = {{0}}, squares[4] = {{0}};
        THROUGH(n->count, sum[v] += chosen(mask, READ(x + at), (vector){0}););
        const REAL middle = sum_of(all(sum)) / n->count;
        THROUGH(n->count, {
            const vector off = chosen(mask, READ(x + at) - middle, (vector){0});
            squares[v] += off * off;
        });
        mean[p] = middle, variance[p] = sum_of(all(squares)) / n->count;
        inverse[p] = 1 / (REAL)sqrt((double)variance[p] + n->epsilon);
        const REAL scale = inverse[p] * weight[p], shift = bias[p];
        if (n->rectified) THROUGH(n->count, WRITE(out + at) = vector_relu(moved(READ(x + at), middle, scale, shift)););
        else THROUGH(n->count, WRITE(out + at) = moved(READ(x + at), middle, scale, shift););
    }
}

INLINE void normalise_plane_back(int rectified, int64_t count, const REAL *x, const REAL *g, REAL mean, REAL inverse,
                                 REAL weight, REAL bias, REAL *to, REAL *to_weight, REAL *to_bias)
{
    const REAL scale = inverse * weight;
    vector sum[4] = {{0}}, product[4] = {{0}};
#define GRADIENT(of) \
    vector of = READ(g + at); \
    if (rectified) of = chosen(moved(READ(x + at), mean, scale, bias) <= 0, (vector){0}, of)
    THROUGH(count, {
        GRADIENT(of);
        of = chosen(mask, of, (vector){0});
        sum[v] += of;
        product[v] += of * chosen(mask, READ(x + at) - mean, (vector){0});
    });
    const REAL added = sum_of(all(sum)), turned = sum_of(all(product)) * inverse;
    *to_bias = added, *to_weight = turned;
    const REAL level = added / count, slope = turned * inverse / count;
    THROUGH(count, {
        GRADIENT(of);
        WRITE(to + at) = scale * (of - level - (READ(x + at) - mean) * slope);
    });
}

/* Gradients at x (planes, count), weight and bias (planes,), of g. */
void normalise_back(const normalisation *n, const REAL *x, const REAL *g, const REAL *mean, const REAL *inverse,
                    const REAL *weight, const REAL *bias, REAL *to, REAL *to_weight, REAL *to_bias)
{
    for (int64_t p = 0; p < n->planes; p++) {
        const int64_t at = p * n->count;
        if (n->rectified)
            normalise_plane_back(1, n->count, x + at, g + at, mean[p], inverse[p], weight[p], bias[p], to + at,
                                 to_weight + p, to_bias + p);
        else
            normalise_plane_back(0, n->count, x + at, g + at, mean[p], inverse[p], weight[p], bias[p], to + at,
                                 to_weight + p, to_bias + p);
    }
}
