// Measures how fast memory is streamed. Internal to device; memory_bandwidth() keeps the result.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "lobit/device/capabilities.h"

namespace lobit::detail {

// How large a buffer for it is: four times the caches of the last level, so that they hold little of what was
// streamed before, yet no more than an eighth of what is available. 0: that is too little.
uint64_t bandwidth_buffer_bytes(std::optional<uint64_t> last_level_bytes, uint64_t available_bytes);

// Streams through a fresh buffer with `threads` >= 1: four ways, eight times each, `pass` long each time.
// kOutOfMemory; kLimit for a buffer too small to be shared out.
Result<MemoryBandwidth> measure_bandwidth(uint64_t buffer_bytes, size_t threads,
                                          std::chrono::microseconds pass);

}  // namespace lobit::detail
