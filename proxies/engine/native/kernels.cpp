// What a transformer's training step does besides its matrix products: norms with a short causal convolution, causal
// attention with rotary positions, gated feed-forward, cross-entropy, embedding, AdamW. Each forward and backward.
//
// Letters in shapes: B sequences, T tokens, N = B·T rows, D width, H query heads, G key heads (G ≤ H), C head width,
// F inner width, V vocabulary, P numbers in the weights. Arrays are dense and row-major. Activations and working
// weights are `Real`: float, or bf16 (with -DBF16) that is widened where it is read and rounded where it is written.
// The residual stream, its gradient and all sums are float. Nothing is allocated: callers bring the scratch memory.

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
constexpr int LANES = 16, ROWS = 8;  // 8 rows × 2 vectors of sums, of 32 registers
#elif defined(__AVX__)
constexpr int LANES = 8, ROWS = 4;
#else
constexpr int LANES = 4, ROWS = 4;
#endif
constexpr int BLOCK = 32;  // query rows whose weights are kept at a time on the way back
constexpr float LEAST = -3e38f;

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef uint32_t BitsVector __attribute__((vector_size(4 * LANES)));

struct Bf16 {
    uint16_t bits;
};

#ifdef BF16
typedef Bf16 Real;
#else
typedef float Real;
#endif

static inline float widen(float x) { return x; }
static inline float widen(Bf16 x) {
    const uint32_t bits = uint32_t(x.bits) << 16;
    float wide;
    std::memcpy(&wide, &bits, 4);
    return wide;
}

static inline void narrow(float x, float& to) { to = x; }
static inline void narrow(float x, Bf16& to) {  // to nearest, ties to even
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    to.bits = uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static inline Vector load(const float* from) {
    Vector v;
    std::memcpy(&v, from, sizeof v);
    return v;
}
static inline void store(float* to, Vector v) { std::memcpy(to, &v, sizeof v); }

static inline Vector larger(Vector a, Vector b) { return a > b ? a : b; }
static inline float largest(Vector v) {
    float lanes[LANES];
    store(lanes, v);
    for (int width = LANES / 2; width; width /= 2)
        for (int i = 0; i < width; i++) lanes[i] = lanes[i] > lanes[i + width] ? lanes[i] : lanes[i + width];
    return lanes[0];
}
static inline float total(Vector v) {
    float lanes[LANES];
    store(lanes, v);
    for (int width = LANES / 2; width; width /= 2)
        for (int i = 0; i < width; i++) lanes[i] += lanes[i + width];
    return lanes[0];
}

static inline int64_t round_up(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

// e^x for x ≤ 88, a float or a vector of them: 2^n · e^r with |r| ≤ ln 2 / 2, e^r by its Taylor series to degree 6
// (error 1.2e-7). Adding 1.5 · 2^23 rounds to a whole number n, which is then in the low bits. NaN stays NaN.
template <typename Float, typename Bits>
static inline Float exponential(Float x) {
    x = x > 88.0f ? 0.0f * x + 88.0f : x;
    x = x < -87.0f ? 0.0f * x - 87.0f : x;
    const Float shifted = x * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
    const Float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    const Float series =
        1.0f + r * (1.0f + r * (0.5f + r * (1.0f / 6 + r * (1.0f / 24 + r * (1.0f / 120 + r * (1.0f / 720))))));
    Bits bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + 0x3f800000;
    Float power;
    std::memcpy(&power, &bits, sizeof power);
    return series * power;
}

static inline float exponential(float x) { return exponential<float, uint32_t>(x); }
static inline Vector exponential(Vector x) { return exponential<Vector, BitsVector>(x); }

static inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

// ------------------------------------------------------------------------------------------- norm and convolution

// stream ← stream + branch (where there is one); out ← normed + convolution of normed over the last `taps` tokens,
// normed = stream / root mean square · gain. `inverse` keeps 1 / root mean square for the way back.
extern "C" void norm_forward(const float* stream, const Real* branch, const float* gain, const float* taps,
                             float* added, float* inverse, Real* out, float* scratch, int64_t B, int64_t T, int64_t D,
                             int64_t tap_count, float epsilon) {
    for (int64_t b = 0; b < B; b++) {
        for (int64_t t = 0; t < T; t++) {
            const int64_t row = (b * T + t) * D;
            float* normed = scratch + t * D;
            float total = 0;
            if (branch) {
#pragma omp simd reduction(+ : total)
                for (int64_t d = 0; d < D; d++) {
                    const float x = stream[row + d] + widen(branch[row + d]);
                    added[row + d] = x;
                    total += x * x;
                }
            } else {
#pragma omp simd reduction(+ : total)
                for (int64_t d = 0; d < D; d++) total += stream[row + d] * stream[row + d];
            }
            const float* x = branch ? added + row : stream + row;
            const float scale = 1.0f / std::sqrt(total / float(D) + epsilon);
            inverse[b * T + t] = scale;
#pragma omp simd
            for (int64_t d = 0; d < D; d++) normed[d] = x[d] * scale * gain[d];
            if (tap_count == 0) {
#pragma omp simd
                for (int64_t d = 0; d < D; d++) narrow(normed[d], out[row + d]);
            } else if (tap_count == 4 && t >= 3) {
#pragma omp simd
                for (int64_t d = 0; d < D; d++)
                    narrow(normed[d] * (1.0f + taps[d]) + normed[d - D] * taps[D + d] +
                               normed[d - 2 * D] * taps[2 * D + d] + normed[d - 3 * D] * taps[3 * D + d],
                           out[row + d]);
            } else {
                for (int64_t d = 0; d < D; d++) {
                    float sum = normed[d] * (1.0f + taps[d]);
                    for (int64_t back = 1; back < tap_count && back <= t; back++)
                        sum += normed[d - back * D] * taps[back * D + d];
                    narrow(sum, out[row + d]);
                }
            }
        }
    }
}

// From the gradient of `out` (gradient) to that of the stream, which is added to `stream_gradient` and, where
// `narrowed` is given, written there as Real too; gain_gradient (D) and taps_gradient (taps, D) are overwritten.
extern "C" void norm_backward(const Real* gradient, const float* stream, const float* inverse, const float* gain,
                              const float* taps, float* stream_gradient, Real* narrowed, Real* gain_gradient,
                              Real* taps_gradient, float* scratch, int64_t B, int64_t T, int64_t D, int64_t tap_count) {
    float* of_gain = scratch;                   // (D)
    float* of_taps = of_gain + D;               // (taps, D)
    float* weight = of_taps + tap_count * D;    // (taps, D): taps as float, the first with the 1 of the direct path
    float* wide_gain = weight + tap_count * D;  // (D)
    float* of_normed = wide_gain + D;           // (D)
    float* out_gradient = of_normed + D;        // (T, D)
    float* unit = out_gradient + T * D;         // (T, D): stream / root mean square
    for (int64_t d = 0; d < D * (1 + tap_count); d++) of_gain[d] = 0;
    for (int64_t d = 0; d < D; d++) wide_gain[d] = gain[d];
    for (int64_t i = 0; i < tap_count * D; i++) weight[i] = taps[i] + (i < D ? 1.0f : 0.0f);
    for (int64_t b = 0; b < B; b++) {
        const int64_t first = b * T * D;
#pragma omp simd
        for (int64_t i = 0; i < T * D; i++) out_gradient[i] = widen(gradient[first + i]);
        for (int64_t t = 0; t < T; t++) {
            const float scale = inverse[b * T + t];
#pragma omp simd
            for (int64_t d = 0; d < D; d++) unit[t * D + d] = stream[first + t * D + d] * scale;
        }
        for (int64_t back = 0; back < tap_count; back++) {
            float* sum = of_taps + back * D;
            for (int64_t t = back; t < T; t++) {
                const float *g = out_gradient + t * D, *u = unit + (t - back) * D;
#pragma omp simd
                for (int64_t d = 0; d < D; d++) sum[d] += g[d] * u[d];  // the gain is multiplied in at the end
            }
        }
        for (int64_t t = 0; t < T; t++) {
            const float *g = out_gradient + t * D, *u = unit + t * D;
            const float* back_through = g;
            if (tap_count) {
                back_through = of_normed;
                if (tap_count == 4 && t + 3 < T) {
#pragma omp simd
                    for (int64_t d = 0; d < D; d++)
                        of_normed[d] = g[d] * weight[d] + g[d + D] * weight[D + d] + g[d + 2 * D] * weight[2 * D + d] +
                                       g[d + 3 * D] * weight[3 * D + d];
                } else {
                    for (int64_t d = 0; d < D; d++) of_normed[d] = g[d] * weight[d];
                    for (int64_t back = 1; back < tap_count && t + back < T; back++)
#pragma omp simd
                        for (int64_t d = 0; d < D; d++) of_normed[d] += g[back * D + d] * weight[back * D + d];
                }
            }
            float along = 0;
#pragma omp simd reduction(+ : along)
            for (int64_t d = 0; d < D; d++) {
                of_gain[d] += back_through[d] * u[d];
                along += back_through[d] * wide_gain[d] * u[d];
            }
            along /= float(D);
            const float scale = inverse[b * T + t];
            float* to = stream_gradient + first + t * D;
            if (narrowed) {
#pragma omp simd
                for (int64_t d = 0; d < D; d++) {
                    const float sum = to[d] + scale * (back_through[d] * wide_gain[d] - u[d] * along);
                    to[d] = sum;
                    narrow(sum, narrowed[first + t * D + d]);
                }
            } else {
#pragma omp simd
                for (int64_t d = 0; d < D; d++) to[d] += scale * (back_through[d] * wide_gain[d] - u[d] * along);
            }
        }
    }
    for (int64_t d = 0; d < D; d++) narrow(of_gain[d], gain_gradient[d]);
    for (int64_t i = 0; i < tap_count * D; i++) narrow(of_taps[i] * wide_gain[i % D], taps_gradient[i]);
}

// ------------------------------------------------------------------------------------------------------ attention

// sums[r][j] ← Σ_c rows[r][c] · columns[c][j] for ROWS rows and j < count, in steps of two vectors.
static inline void products(const float* rows, int64_t row_stride, const float* columns, int64_t column_stride,
                            int64_t width, int64_t count, float* sums, int64_t sum_stride) {
    for (int64_t j = 0; j < count; j += 2 * LANES) {
        Vector left[ROWS] = {}, right[ROWS] = {};
        for (int64_t c = 0; c < width; c++) {
            const Vector a = load(columns + c * column_stride + j), b = load(columns + c * column_stride + j + LANES);
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++) {
                const float x = rows[r * row_stride + c];
                left[r] += x * a;
                right[r] += x * b;
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            store(sums + r * sum_stride + j, left[r]);
            store(sums + r * sum_stride + j + LANES, right[r]);
        }
    }
}

// out[r] ← Σ_j weights[r][j] · values[j] for ROWS rows, each `width` (whole vectors) wide.
template <int STEP>
static inline void mix_columns(const float* weights, int64_t weight_stride, const float* values, int64_t width,
                               int64_t count, float* out) {
    Vector sums[ROWS][STEP] = {};
    for (int64_t j = 0; j < count; j++) {
        Vector v[STEP];
#pragma GCC unroll 2
        for (int s = 0; s < STEP; s++) v[s] = load(values + j * width + s * LANES);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
            for (int s = 0; s < STEP; s++) sums[r][s] += weights[r * weight_stride + j] * v[s];
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
        for (int s = 0; s < STEP; s++) store(out + r * width + s * LANES, sums[r][s]);
}

static inline void mix(const float* weights, int64_t weight_stride, const float* values, int64_t width, int64_t count,
                       float* out) {
    int64_t at = 0;
    for (; at + 2 * LANES <= width; at += 2 * LANES)
        mix_columns<2>(weights, weight_stride, values + at, width, count, out + at);
    if (at < width) mix_columns<1>(weights, weight_stride, values + at, width, count, out + at);
}

// sums[j] += Σ_r weights[r][j] · rows[r] for `count` rows and j < `seen`, each `width` wide. Row r has weights from
// position `first` + r on backwards: those later are zero.
template <int STEP>
static inline void spread_columns(const float* weights, int64_t weight_stride, const float* rows, int64_t width,
                                  int64_t first, int64_t count, int64_t seen, float* sums) {
    for (int64_t j = 0; j < seen; j += ROWS) {
        Vector sum[ROWS][STEP];
#pragma GCC unroll 8
        for (int k = 0; k < ROWS; k++)
#pragma GCC unroll 2
            for (int s = 0; s < STEP; s++) sum[k][s] = load(sums + (j + k) * width + s * LANES);
        for (int64_t r = j > first ? j - first : 0; r < count; r++) {
            Vector x[STEP];
#pragma GCC unroll 2
            for (int s = 0; s < STEP; s++) x[s] = load(rows + r * width + s * LANES);
#pragma GCC unroll 8
            for (int k = 0; k < ROWS; k++)
#pragma GCC unroll 2
                for (int s = 0; s < STEP; s++) sum[k][s] += weights[r * weight_stride + j + k] * x[s];
        }
#pragma GCC unroll 8
        for (int k = 0; k < ROWS; k++)
#pragma GCC unroll 2
            for (int s = 0; s < STEP; s++) store(sums + (j + k) * width + s * LANES, sum[k][s]);
    }
}

static inline void spread(const float* weights, int64_t weight_stride, const float* rows, int64_t width, int64_t first,
                          int64_t count, int64_t seen, float* sums) {
    int64_t at = 0;
    for (; at + 2 * LANES <= width; at += 2 * LANES)
        spread_columns<2>(weights, weight_stride, rows + at, width, first, count, seen, sums + at);
    if (at < width) spread_columns<1>(weights, weight_stride, rows + at, width, first, count, seen, sums + at);
}

// One head of one sequence, (T, C) of either number format to the other, rows `stride`s apart: its halves turned
// against each other by position, backwards where `direction` is -1, times a factor. What pads a row isn't touched.
template <typename From, typename To>
static void turn_head(const From* from, int64_t from_stride, To* to, int64_t to_stride, const float* cos,
                      const float* sin, float direction, float factor, int64_t T, int64_t C) {
    const int64_t half = C / 2;
    for (int64_t t = 0; t < T; t++) {
        const From* x = from + t * from_stride;
        To* y = to + t * to_stride;
        const float *c = cos + t * half, *s = sin + t * half;
#pragma omp simd
        for (int64_t i = 0; i < half; i++) {
            const float first = widen(x[i]), second = widen(x[half + i]), turn = direction * s[i];
            narrow(factor * (first * c[i] - second * turn), y[i]);
            narrow(factor * (first * turn + second * c[i]), y[half + i]);
        }
    }
}

// The same without turning it.
template <typename From, typename To>
static void copy_head(const From* from, int64_t from_stride, To* to, int64_t to_stride, int64_t T, int64_t C) {
    for (int64_t t = 0; t < T; t++) {
        const From* x = from + t * from_stride;
        To* y = to + t * to_stride;
#pragma omp simd
        for (int64_t c = 0; c < C; c++) narrow(widen(x[c]), y[c]);
    }
}

static void transpose(const float* from, int64_t T, int64_t C, int64_t width, int64_t stride, float* to) {
    for (int64_t t = 0; t + 8 <= T; t += 8)
        for (int64_t c = 0; c < C; c++)
#pragma GCC unroll 8
            for (int64_t i = 0; i < 8; i++) to[c * stride + t + i] = from[(t + i) * width + c];
    for (int64_t t = T / 8 * 8; t < T; t++)
        for (int64_t c = 0; c < C; c++) to[c * stride + t] = from[t * width + c];
}

static int64_t padded_length(int64_t T) { return (T + 2 * LANES - 1) / (2 * LANES) * (2 * LANES); }

// qkv (N, (H + 2·G)·C) → out (N, H·C); `log_sums` (B, H, T) keeps the logarithm of each row's sum of exponentials.
extern "C" void attention_forward(const Real* qkv, const float* cos, const float* sin, Real* out, float* log_sums,
                                  float* scratch, int64_t B, int64_t T, int64_t H, int64_t G, int64_t C) {
    const int64_t width = round_up(C), length = padded_length(T), rows = (T + ROWS - 1) / ROWS * ROWS;
    const int64_t stride = (H + 2 * G) * C;
    float* query = scratch;                 // (rows, width)
    float* key = query + rows * width;      // (rows, width)
    float* keys = key + rows * width;       // (C, length)
    float* value = keys + width * length;   // (rows, width)
    float* scores = value + rows * width;   // (ROWS, length)
    float* mixed = scores + ROWS * length;  // (rows, width)
    for (int64_t i = 0; i < width * length; i++) keys[i] = 0;
    for (int64_t i = 0; i < rows * width; i++) query[i] = value[i] = 0;
    const float factor = 1.0f / std::sqrt(float(C));
    for (int64_t b = 0; b < B; b++) {
        const Real* rows_of = qkv + b * T * stride;
        for (int64_t h = 0; h < H; h++) {
            const int64_t g = h / (H / G);
            if (h % (H / G) == 0) {
                turn_head(rows_of + (H + g) * C, stride, key, width, cos, sin, 1.0f, 1.0f, T, C);
                transpose(key, T, C, width, length, keys);
                copy_head(rows_of + (H + G + g) * C, stride, value, width, T, C);
            }
            turn_head(rows_of + h * C, stride, query, width, cos, sin, 1.0f, factor, T, C);
            for (int64_t i = 0; i < T; i += ROWS) {
                const int64_t seen = i + ROWS < T ? i + ROWS : T;
                float shares[ROWS];
                products(query + i * width, width, keys, length, C, seen, scores, length);
                for (int64_t r = 0; r < ROWS; r++) {
                    float* row = scores + r * length;
                    const int64_t own = i + r < T ? i + r + 1 : T;  // causal: keys up to its own
                    for (int64_t j = own; j < round_up(own); j++) row[j] = LEAST;
                    Vector most = load(row), sum = {};
                    for (int64_t j = LANES; j < own; j += LANES) most = larger(most, load(row + j));
                    const float top = largest(most);
                    for (int64_t j = 0; j < own; j += LANES) {
                        const Vector e = exponential(load(row + j) - top);
                        store(row + j, e);
                        sum += e;
                    }
                    for (int64_t j = own; j < seen; j++) row[j] = 0;
                    const float sum_of_row = total(sum);
                    shares[r] = 1.0f / sum_of_row;
                    if (i + r < T) log_sums[(b * H + h) * T + i + r] = top + std::log(sum_of_row);
                }
                mix(scores, length, value, width, seen, mixed + i * width);
                for (int64_t r = 0; r < ROWS; r++)
                    for (int64_t c = 0; c < width; c += LANES)
                        store(mixed + (i + r) * width + c, load(mixed + (i + r) * width + c) * shares[r]);
            }
            copy_head(mixed, width, out + b * T * H * C + h * C, H * C, T, C);
        }
    }
}

// From the gradient of `out` to that of qkv, both Real; the weights are computed again from `log_sums`.
extern "C" void attention_backward(const Real* qkv, const float* cos, const float* sin, const Real* out,
                                   const float* log_sums, const Real* out_gradient, Real* qkv_gradient, float* scratch,
                                   int64_t B, int64_t T, int64_t H, int64_t G, int64_t C) {
    const int64_t width = round_up(C), length = padded_length(T), rows = (T + ROWS - 1) / ROWS * ROWS;
    const int64_t stride = (H + 2 * G) * C, size = rows * width;
    float* query = scratch;  // (rows, width) each
    float* key = query + size;
    float* value = key + size;
    float* of_mixed = value + size;
    float* of_query = of_mixed + size;
    float* of_key = of_query + size;
    float* of_value = of_key + size;
    float* keys = of_value + size;             // (width, length)
    float* values = keys + width * length;     // (width, length)
    float* weights = values + width * length;  // (BLOCK, length)
    float* slopes = weights + BLOCK * length;  // (BLOCK, length)
    for (int64_t i = 0; i < 2 * width * length; i++) keys[i] = 0;
    for (int64_t i = 0; i < 4 * size; i++) query[i] = 0;
    const float factor = 1.0f / std::sqrt(float(C));
    for (int64_t b = 0; b < B; b++) {
        const Real* rows_of = qkv + b * T * stride;
        Real* rows_to = qkv_gradient + b * T * stride;
        for (int64_t h = 0; h < H; h++) {
            const int64_t g = h / (H / G);
            if (h % (H / G) == 0) {
                turn_head(rows_of + (H + g) * C, stride, key, width, cos, sin, 1.0f, 1.0f, T, C);
                transpose(key, T, C, width, length, keys);
                copy_head(rows_of + (H + G + g) * C, stride, value, width, T, C);
                transpose(value, T, C, width, length, values);
                for (int64_t i = 0; i < 2 * size; i++) of_key[i] = 0;
            }
            const int64_t head = b * T * H * C + h * C;
            turn_head(rows_of + h * C, stride, query, width, cos, sin, 1.0f, factor, T, C);
            copy_head(out_gradient + head, H * C, of_mixed, width, T, C);
            for (int64_t block = 0; block < T; block += BLOCK) {
                const int64_t end = block + BLOCK < T ? block + BLOCK : T;
                for (int64_t i = block; i < end; i += ROWS) {
                    const int64_t seen = i + ROWS < T ? i + ROWS : T;
                    float *rows_of_weights = weights + (i - block) * length,
                          *rows_of_slopes = slopes + (i - block) * length;
                    products(query + i * width, width, keys, length, C, seen, rows_of_weights, length);
                    products(of_mixed + i * width, width, values, length, C, seen, rows_of_slopes, length);
                    for (int64_t r = 0; r < ROWS; r++) {
                        float *row = rows_of_weights + r * length, *slope = rows_of_slopes + r * length;
                        const int64_t own = i + r < T ? i + r + 1 : 0;
                        if (own) {
                            const float log_sum = log_sums[(b * H + h) * T + i + r];
                            const Real* mixed = out + head + (i + r) * H * C;
                            float along = 0;
#pragma omp simd reduction(+ : along)
                            for (int64_t c = 0; c < C; c++) along += of_mixed[(i + r) * width + c] * widen(mixed[c]);
                            for (int64_t j = 0; j < own; j += LANES) {
                                const Vector weight = exponential(load(row + j) - log_sum);
                                store(row + j, weight);
                                store(slope + j, weight * (load(slope + j) - along));
                            }
                        }
                        for (int64_t j = own; j < (end + ROWS - 1) / ROWS * ROWS; j++) row[j] = slope[j] = 0;
                    }
                    mix(rows_of_slopes, length, key, width, seen, of_query + i * width);
                }
                spread(slopes, length, query + block * width, width, block, end - block, end, of_key);
                spread(weights, length, of_mixed + block * width, width, block, end - block, end, of_value);
            }
            turn_head(of_query, width, rows_to + h * C, stride, cos, sin, -1.0f, factor, T, C);
            if ((h + 1) % (H / G) == 0) {
                turn_head(of_key, width, rows_to + (H + g) * C, stride, cos, sin, -1.0f, 1.0f, T, C);
                copy_head(of_value, width, rows_to + (H + G + g) * C, stride, T, C);
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------- feed-forward, loss

// inner (N, 2·F), its halves gate and up → out (N, F) = gate · sigmoid(gate) · up.
extern "C" void gate_forward(const Real* inner, Real* out, int64_t N, int64_t F) {
    for (int64_t n = 0; n < N; n++) {
        const Real *gate = inner + 2 * n * F, *up = gate + F;
        Real* to = out + n * F;
#pragma omp simd
        for (int64_t f = 0; f < F; f++) {
            const float x = widen(gate[f]);
            narrow(x * sigmoid(x) * widen(up[f]), to[f]);
        }
    }
}

extern "C" void gate_backward(const Real* inner, const Real* gradient, Real* inner_gradient, int64_t N, int64_t F) {
    for (int64_t n = 0; n < N; n++) {
        const Real *gate = inner + 2 * n * F, *up = gate + F, *from = gradient + n * F;
        Real *of_gate = inner_gradient + 2 * n * F, *of_up = of_gate + F;
#pragma omp simd
        for (int64_t f = 0; f < F; f++) {
            const float x = widen(gate[f]), g = widen(from[f]), share = sigmoid(x);
            narrow(g * widen(up[f]) * share * (1.0f + x * (1.0f - share)), of_gate[f]);
            narrow(g * x * share, of_up[f]);
        }
    }
}

// losses (N): cross-entropy in nats of logits (N, V), 0 for a row whose target is negative; where `scale` isn't 0 the
// logits become their own gradient of scale · Σ losses.
extern "C" void cross_entropy(float* logits, const int64_t* targets, float* losses, float* scratch, int64_t N,
                              int64_t V, float scale) {
    for (int64_t n = 0; n < N; n++) {
        float* row = logits + n * V;
        if (targets[n] < 0) {
            losses[n] = 0;
            for (int64_t v = 0; v < V; v++) row[v] = 0;
            continue;
        }
        float most = row[0], sum = 0;
#pragma omp simd reduction(max : most)
        for (int64_t v = 0; v < V; v++) most = row[v] > most ? row[v] : most;
#pragma omp simd reduction(+ : sum)
        for (int64_t v = 0; v < V; v++) {
            const float e = exponential(row[v] - most);
            scratch[v] = e;
            sum += e;
        }
        losses[n] = (most - row[targets[n]]) + std::log(sum);
        if (scale == 0) continue;
        const float share = scale / sum;
        scratch[targets[n]] -= sum;
#pragma omp simd
        for (int64_t v = 0; v < V; v++) row[v] = scratch[v] * share;
    }
}

extern "C" void embedding_forward(const float* table, const int64_t* tokens, float* stream, int64_t N, int64_t D) {
    for (int64_t n = 0; n < N; n++) {
        const float* row = table + tokens[n] * D;
#pragma omp simd
        for (int64_t d = 0; d < D; d++) stream[n * D + d] = row[d];
    }
}

// table_gradient (V, D) ← the stream's gradient, summed by token; + what is there already where `add` isn't 0.
extern "C" void embedding_backward(const float* stream_gradient, const int64_t* tokens, Real* table_gradient,
                                   float* scratch, int64_t N, int64_t V, int64_t D, int64_t add) {
    for (int64_t i = 0; i < V * D; i++) scratch[i] = add ? widen(table_gradient[i]) : 0.0f;
    for (int64_t n = 0; n < N; n++) {
        float* row = scratch + tokens[n] * D;
#pragma omp simd
        for (int64_t d = 0; d < D; d++) row[d] += stream_gradient[n * D + d];
    }
#pragma omp simd
    for (int64_t i = 0; i < V * D; i++) narrow(scratch[i], table_gradient[i]);
}

// ------------------------------------------------------------------------------------------------------ optimizer

extern "C" double squares(const Real* gradient, int64_t P) {
    double total = 0;
    for (int64_t start = 0; start < P; start += 4096) {
        const int64_t stop = start + 4096 < P ? start + 4096 : P;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = start; i < stop; i++) sum += widen(gradient[i]) * widen(gradient[i]);
        total += sum;
    }
    return total;
}

// AdamW, the averaged weights and the working copy in one pass over the flat buffers. Numbers up to stops[k] have the
// learning rate times scales[k], and decay times decays[k]; `sizes` are those of one step in the order of `StepSizes`.
extern "C" void adamw(const Real* gradient, float* master, float* first, float* second, float* average, Real* working,
                      const float* sizes, float shrink, const int64_t* stops, const float* scales, const float* decays,
                      int64_t segments) {
    const float beta1 = sizes[2], beta2 = sizes[3], blend = sizes[7];
    const float correct1 = 1.0f / sizes[4], correct2 = 1.0f / sizes[5];
    for (int64_t k = 0; k < segments; k++) {
        const float rate = sizes[0] * scales[k], decay = sizes[1] * decays[k];
#pragma omp simd
        for (int64_t i = k ? stops[k - 1] : 0; i < stops[k]; i++) {
            const float g = widen(gradient[i]) * shrink;
            const float m = beta1 * first[i] + (1.0f - beta1) * g;
            const float v = beta2 * second[i] + (1.0f - beta2) * g * g;
            const float x = master[i] - rate * (m * correct1) / (std::sqrt(v * correct2) + 1e-8f) - decay * master[i];
            first[i] = m;
            second[i] = v;
            master[i] = x;
            average[i] += blend * (x - average[i]);
            narrow(x, working[i]);
        }
    }
}
