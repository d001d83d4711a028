/* What the resident kernel needs of CUDA, on a processor: blocks one after the other, a block's threads as threads.

   They run at the same time, for ThreadSanitizer; or one by one, each as far as the next barrier, upwards or downwards:
   then a barrier that is missing gives other numbers, every time. */
#pragma once
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct number_of { int x; };
struct block_of {
    const void *arguments;
    void *memory;
    int block, threads, order; /* 0: at the same time; 1: upwards; -1: downwards */
    pthread_barrier_t all;
    pthread_mutex_t lock;
    pthread_cond_t passed;
    int running, finished;
};
struct thread_of {
    block_of *block;
    int thread;
};
static thread_local number_of threadIdx, blockIdx, blockDim;
static thread_local block_of *own_block;

static inline void wait_for_turn(block_of *b, int thread)
{
    while (b->running != thread) pthread_cond_wait(&b->passed, &b->lock);
}

static inline void pass_on(block_of *b, int thread)
{
    b->running = (thread + b->order + b->threads) % b->threads;
    pthread_cond_broadcast(&b->passed);
}

static inline void __syncthreads()
{
    block_of *b = own_block;
    if (b->threads == 1) return;
    if (!b->order) {
        pthread_barrier_wait(&b->all);
        return;
    }
    pthread_mutex_lock(&b->lock);
    if (b->finished) {
        fprintf(stderr, "a thread waits at a barrier, and another has finished\n");
        abort();
    }
    pass_on(b, threadIdx.x);
    wait_for_turn(b, threadIdx.x);
    pthread_mutex_unlock(&b->lock);
}

static inline void begin_thread(const thread_of *own)
{
    block_of *b = own->block;
    threadIdx.x = own->thread, blockIdx.x = b->block, blockDim.x = b->threads, own_block = b;
    if (!b->order) return;
    pthread_mutex_lock(&b->lock);
    wait_for_turn(b, own->thread);
    pthread_mutex_unlock(&b->lock);
}

static inline void end_thread(block_of *b)
{
    if (!b->order) return;
    pthread_mutex_lock(&b->lock);
    b->finished++;
    pass_on(b, threadIdx.x);
    pthread_mutex_unlock(&b->lock);
}

#define RUN_BLOCKS(train, type, real) \
    static void *run_thread(void *given) \
    { \
        const thread_of *own = (const thread_of *)given; \
        begin_thread(own); \
        train((const type *)own->block->arguments, (real *)own->block->memory); \
        end_thread(own->block); \
        return NULL; \
    } \
    extern "C" void run(const type *a, int64_t blocks, int64_t threads, int64_t bytes, int64_t order) \
    { \
        const int64_t size = (bytes + 63) / 64 * 64; \
        pthread_t started[1024]; \
        thread_of own[1024]; \
        block_of b = {}; \
        b.arguments = a, b.memory = aligned_alloc(64, size), b.threads = threads, b.order = threads > 1 ? order : 0; \
        pthread_barrier_init(&b.all, NULL, threads); \
        pthread_mutex_init(&b.lock, NULL); \
        pthread_cond_init(&b.passed, NULL); \
        for (b.block = 0; b.block < blocks; b.block++) { \
            memset(b.memory, 0xff, size); /* NaN: nothing is there before it is written */ \
            b.running = order < 0 ? threads - 1 : 0, b.finished = 0; \
            for (int i = 0; i < threads; i++) own[i] = {&b, i}; \
            for (int i = 1; i < threads; i++) pthread_create(started + i, NULL, run_thread, own + i); \
            run_thread(own); \
            for (int i = 1; i < threads; i++) pthread_join(started[i], NULL); \
        } \
        pthread_barrier_destroy(&b.all); \
        pthread_mutex_destroy(&b.lock); \
        pthread_cond_destroy(&b.passed); \
        free(b.memory); \
    }
