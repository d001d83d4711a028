/* What the resident kernel needs of CUDA, on a processor: blocks one after the other, a block's threads as threads. */
#pragma once
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct number_of { int x; };
static thread_local number_of threadIdx, blockIdx, blockDim;
static thread_local pthread_barrier_t *meeting;
static inline void __syncthreads() { if (meeting) pthread_barrier_wait(meeting); }

struct one_thread {
    const void *arguments;
    void *memory;
    int thread, block, threads;
    pthread_barrier_t *all;
};

#define RUN_BLOCKS(train, type, real) \
    static void *run_thread(void *given) \
    { \
        const one_thread *own = (const one_thread *)given; \
        threadIdx.x = own->thread, blockIdx.x = own->block, blockDim.x = own->threads, meeting = own->all; \
        train((const type *)own->arguments, (real *)own->memory); \
        return NULL; \
    } \
    extern "C" void run(const type *a, int64_t blocks, int64_t threads, int64_t bytes) \
    { \
        const int64_t size = (bytes + 63) / 64 * 64; \
        void *memory = aligned_alloc(64, size); \
        pthread_t started[1024]; \
        one_thread own[1024]; \
        pthread_barrier_t all; \
        pthread_barrier_init(&all, NULL, threads); \
        for (int block = 0; block < blocks; block++) { \
            memset(memory, 0xff, size); /* NaN: nothing is there before it is written */ \
            for (int i = 0; i < threads; i++) own[i] = {a, memory, i, block, (int)threads, threads > 1 ? &all : NULL}; \
            for (int i = 1; i < threads; i++) pthread_create(started + i, NULL, run_thread, own + i); \
            run_thread(own); \
            for (int i = 1; i < threads; i++) pthread_join(started[i], NULL); \
        } \
        pthread_barrier_destroy(&all); \
        free(memory); \
    }
