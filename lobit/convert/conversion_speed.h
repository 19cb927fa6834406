// How fast this machine converts, measured when it is first asked for and then remembered by the process. Any
// thread.
#pragma once

#include "lobit/dtype/value_format.h"
#include "lobit/quant/quantize_method.h"

namespace lobit {

// Of one thread, values in its caches. Takes about a millisecond the first time for each pair and method.
double seconds_per_element(ValueFormat from, ValueFormat to, QuantizeMethod method);

// Of one thread, bytes beyond the caches that it has for itself. Takes some hundredths of a second the first
// time.
struct MemorySpeed {
  double seconds_per_new_byte = 0;    // to write where nothing was before: the system brings the page
  double seconds_per_moved_byte = 0;  // to read or write, half of either
};
const MemorySpeed& memory_speed();

}  // namespace lobit
