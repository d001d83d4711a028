/* What one core can do: multiply-adds of registers, and bytes to and from a buffer. */

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define NUMBERS (BYTES / 4)
#define TEN(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9)

typedef float vector __attribute__((vector_size(BYTES)));

/* Ten sums by name: an array of them is kept in memory by some compilers. */
#define BEGIN(i) vector sum##i = {i};
#define MULTIPLY(i) sum##i = sum##i * factor + added;
#define READ(i) sum##i += x[i];
#define CHANGE(i) x[i] += added;
#define END(i) sum += sum##i;
#define AS_WRITTEN __asm__ volatile("" ::: "memory"); /* so that no compiler makes two passes one */

/* `times` rounds of ten independent multiply-adds of vectors; gives how many numbers were multiplied. */
int64_t multiply(int64_t times, float by, float *to)
{
    vector factor, added, sum = {0};
    for (int i = 0; i < NUMBERS; i++) factor[i] = by, added[i] = 1 - by;
    TEN(BEGIN)
    for (int64_t t = 0; t < times; t++) { TEN(MULTIPLY) }
    TEN(END)
    memcpy(to, &sum, sizeof *to);
    return times * 10 * NUMBERS;
}

/* Read n bytes `times` times; n is a multiple of ten vectors. */
void read_all(const char *from, int64_t n, int64_t times, float *to)
{
    vector sum = {0};
    TEN(BEGIN)
    for (int64_t t = 0; t < times; t++) {
        for (const vector *x = (const vector *)from; x < (const vector *)(from + n); x += 10) { TEN(READ) }
        AS_WRITTEN
    }
    TEN(END)
    memcpy(to, &sum, sizeof *to);
}

/* Read and write n bytes `times` times. */
void change_all(char *at, int64_t n, int64_t times, float by)
{
    vector added;
    for (int i = 0; i < NUMBERS; i++) added[i] = by;
    for (int64_t t = 0; t < times; t++) {
        for (vector *x = (vector *)at; x < (vector *)(at + n); x += 10) { TEN(CHANGE) }
        AS_WRITTEN
    }
}
