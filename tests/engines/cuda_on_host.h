/* What the resident kernel needs of CUDA, on a processor: blocks one after the other, a block's threads as threads. */
#pragma once
#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

struct of_thread { int x; };
static thread_local of_thread threadIdx, blockIdx, blockDim;
static thread_local std::barrier<> *meeting;
static inline void __syncthreads() { if (meeting) meeting->arrive_and_wait(); }

#define RUN_BLOCKS(train, arguments, real) \
    extern "C" void run(const arguments *a, int64_t blocks, int64_t threads, int64_t bytes) \
    { \
        for (int64_t block = 0; block < blocks; block++) { \
            const int64_t size = (bytes + 63) / 64 * 64; \
            real *memory = (real *)std::aligned_alloc(64, size); \
            std::memset(memory, 0xff, size); /* NaN: nothing is there before it is written */ \
            if (threads == 1) { \
                threadIdx = {0}, blockIdx = {(int)block}, blockDim = {1}, meeting = nullptr; \
                train(a, memory); \
            } else { \
                std::barrier<> all(threads); \
                std::vector<std::thread> started; \
                for (int64_t i = 0; i < threads; i++) \
                    started.emplace_back([&, i] { \
                        threadIdx = {(int)i}, blockIdx = {(int)block}, blockDim = {(int)threads}, meeting = &all; \
                        train(a, memory); \
                    }); \
                for (auto &thread : started) thread.join(); \
            } \
            std::free(memory); \
        } \
    }
