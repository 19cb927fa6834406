#include "bench/trace/block_trace.h"

#include <algorithm>

namespace lobit::bench {

uint32_t BlockTraceBuilder::allocate(uint64_t bytes) {
  uint32_t slot = static_cast<uint32_t>(trace_.slots);
  if (free_slots_.empty()) {
    ++trace_.slots;
    slot_bytes_.push_back(bytes);
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
    slot_bytes_[slot] = bytes;
  }
  trace_.events.push_back({bytes, slot, BlockOp::kAllocate});
  ++trace_.allocations;
  trace_.live_bytes += bytes;
  trace_.peak_live_bytes = std::max(trace_.peak_live_bytes, trace_.live_bytes);
  return slot;
}

void BlockTraceBuilder::free(uint32_t slot) {
  trace_.events.push_back({slot_bytes_[slot], slot, BlockOp::kFree});
  trace_.live_bytes -= slot_bytes_[slot];
  free_slots_.push_back(slot);
}

}  // namespace lobit::bench
