/* The arithmetic of a stack of networks, member by member, where PyTorch's operations on whole stacks would
   wait for memory and for one another. Compiled once with REAL float and REAL_BYTES 4, and once with double and
   8. Activations, losses and optimizers are called by address: they are compiled from their own functions
   (harness/lowering). No sum runs over members, and none in an order that depends on who stands beside whom: a
   member's bits are its own. Names and struct members that Python uses are declared again in __init__.py. */

#include "component.h"
#include "images.h"
#include "layers.h"
#include "stretches.h"

/* What Python declares again: constants, and the sizes of structs in its order. */
void layout(int64_t *to)
{
    const int64_t all[] = {LANES, WIDEST, DEEPEST, MOST_STATES, EVALUATED, sizeof(tile), sizeof(images),
                           sizeof(turned), sizeof(parts), sizeof(members), sizeof(stretch), sizeof(evaluation)};
    memcpy(to, all, sizeof all);
}

/* Treat subnormal numbers as zero from now on, or as they are: those of a dying network slow it down. Return whether
   they were zero before. */
int64_t flush_subnormals(int64_t on)
{
#if defined(__SSE2__)
    const unsigned both = 0x8040, state = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(on ? state | both : state & ~both);
    return (state & both) == both;
#elif defined(__aarch64__)
    const uint64_t both = 1 << 24;
    uint64_t state, next;
    __asm__ volatile("mrs %0, fpcr" : "=r"(state));
    next = on ? state | both : state & ~both;
    __asm__ volatile("msr fpcr, %0" : : "r"(next));
    return (state & both) == both;
#else
    return 0;
#endif
}
