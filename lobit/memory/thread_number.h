// The number of a thread in this process, given once: the system gives the identifier of a thread that ended
// to another. Any thread.
#pragma once

#include <cstdint>

namespace lobit::detail {

// The calling thread's; the first that asks is 0.
uint32_t thread_number();

}  // namespace lobit::detail
