/* What one core can do: multiply-adds of registers, and bytes to and from a buffer. */

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define BYTES 64
#define SUMS 24
#elif defined(__AVX__)
#define BYTES 32
#define SUMS 12
#else
#define BYTES 16
#define SUMS 12
#endif
#define NUMBERS (BYTES / 4)

typedef float vector __attribute__((vector_size(BYTES)));

/* `times` rounds of SUMS independent multiply-adds of vectors; gives how many numbers were multiplied. */
int64_t multiply(int64_t times, float by, float *to)
{
    vector sums[SUMS], factor, added;
    for (int i = 0; i < NUMBERS; i++) factor[i] = by, added[i] = 1 - by;
    for (int i = 0; i < SUMS; i++) sums[i] = factor + (float)i;
    for (int64_t t = 0; t < times; t++)
#pragma GCC unroll 24
        for (int i = 0; i < SUMS; i++) {
            sums[i] = sums[i] * factor + added;
            __asm__ volatile("" : "+x"(sums[i])); /* so that no compiler makes two steps one */
        }
    for (int i = 1; i < SUMS; i++) sums[0] += sums[i];
    memcpy(to, &sums[0], sizeof *to);
    return times * SUMS * NUMBERS;
}

/* Read n bytes `times` times. */
void read_all(const char *from, int64_t n, int64_t times, float *to)
{
    const vector *x = (const vector *)from;
    vector sums[8] = {{0}};
    for (int64_t t = 0; t < times; t++)
        for (int64_t i = 0; i < n / BYTES; i += 8)
#pragma GCC unroll 8
            for (int j = 0; j < 8; j++) sums[j] += x[i + j];
    for (int j = 1; j < 8; j++) sums[0] += sums[j];
    memcpy(to, &sums[0], sizeof *to);
}

/* Read and write n bytes `times` times. */
void change_all(char *at, int64_t n, int64_t times, float by)
{
    vector *x = (vector *)at, added;
    for (int i = 0; i < NUMBERS; i++) added[i] = by;
    for (int64_t t = 0; t < times; t++)
        for (int64_t i = 0; i < n / BYTES; i += 8)
#pragma GCC unroll 8
            for (int j = 0; j < 8; j++) x[i + j] += added;
}
