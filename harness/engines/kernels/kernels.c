/* The arithmetic of a stack of networks, member by member, where PyTorch's operations on whole stacks would
   wait for memory and for one another. Compiled once with REAL float and REAL_BYTES 4, and once with double and
   8. No sum runs over members, and none in an order that depends on who stands beside whom: a member's bits are
   its own. Names and struct members that Python uses are declared again in __init__.py. */

#include "vectors.h"
#include "layer_one.h"
#include "steps.h"
#include "layers.h"
#include "cross_entropy.h"
#include "stretches.h"
