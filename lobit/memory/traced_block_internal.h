// What a profile remembers of a live block of a trace. Plain values.
#pragma once

#include <cstdint>

namespace lobit::detail {

struct TracedBlock {
  uint64_t id = 0;  // its number in the trace; 0 where no block is live
  uint64_t bytes = 0;
  uint64_t time_ns = 0;  // of its allocation
  uint64_t address = 0;
  uint64_t copied = 0;     // bytes of the blocks that it replaced, one after the other
  uint32_t replaced = 0;   // how many those are
  uint32_t holder = 0;     // of MemoryHolders
  uint32_t repeating = 0;  // of RepeatingSizes; UINT32_MAX is none
  uint32_t thread = 0;     // that allocated it
  bool lived_at_peak = false;
};

}  // namespace lobit::detail
