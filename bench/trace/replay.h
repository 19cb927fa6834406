// Replays a BlockTrace on a contestant of bench/allocators and measures what it costs, or what it keeps.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "bench/trace/block_trace.h"

namespace lobit::bench {

enum class TouchPages : uint8_t { kNo, kYes };

inline constexpr size_t kPageBytes = 4096;

template <TouchPages touch, class Allocator>
class Replay {
 public:
  Replay(Allocator& allocator, const BlockTrace& trace)
      : allocator_(allocator), trace_(trace), blocks_(trace.slots) {}

  bool done() const { return next_ == trace_.events.size(); }
  uint64_t live_bytes() const { return live_bytes_; }

  // Replays `count` events, or those that are left.
  void run(size_t count) {
    const size_t end = std::min(trace_.events.size() - next_, count) + next_;
    for (; next_ < end; ++next_) {
      const BlockEvent& event = trace_.events[next_];
      void*& block = blocks_[event.slot];
      if (event.op == BlockOp::kFree) {
        allocator_.deallocate(block, event.bytes);
        live_bytes_ -= event.bytes;
        continue;
      }
      block = allocator_.allocate(event.bytes);
      live_bytes_ += event.bytes;
      if constexpr (touch == TouchPages::kYes) {
        volatile char* const bytes = static_cast<char*>(block);
        for (size_t i = 0; i < event.bytes; i += kPageBytes) bytes[i] = 1;
      }
    }
  }

 private:
  Allocator& allocator_;
  const BlockTrace& trace_;
  MappedVector<void*> blocks_;
  size_t next_ = 0;
  uint64_t live_bytes_ = 0;
};

}  // namespace lobit::bench
