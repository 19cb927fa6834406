// Measures how fast memory is streamed. Internal to device; memory_bandwidth() keeps the result.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "lobit/device/capabilities.h"

namespace lobit::detail {

// How large a buffer for it is: twice the caches of the last level, so that a pass from the front finds
// nothing of the one before, yet no more than an eighth of what is available. 0: too little is.
uint64_t bandwidth_buffer_bytes(std::optional<uint64_t> last_level_bytes, uint64_t available_bytes);

// Streams through a fresh buffer with `threads` >= 1, eight passes of `pass` each. kOutOfMemory; kLimit for a
// buffer too small to be shared out.
Result<MemoryBandwidth> measure_bandwidth(uint64_t buffer_bytes, size_t threads,
                                          std::chrono::microseconds pass);

}  // namespace lobit::detail
