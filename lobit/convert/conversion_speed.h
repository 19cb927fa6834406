// How fast this machine converts, measured when it is first asked for and then remembered by the process. Any
// thread.
#pragma once

#include "lobit/dtype/value_format.h"
#include "lobit/quant/quantize_method.h"

namespace lobit {

// Of one thread, values in its caches. Takes about a millisecond the first time for each pair and method.
double seconds_per_element(ValueFormat from, ValueFormat to, QuantizeMethod method);

// What writing to memory costs because the system may have to bring it first: between nothing, when a pool
// has it, and a page fault.
double seconds_per_new_byte();

}  // namespace lobit
