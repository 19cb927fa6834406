// BlockTrace: what a program allocated and freed, in order, small enough to be replayed at the speed of the
// allocator. Lies in mappings of its own, so that the allocator under test has nothing to do with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

#include <sys/mman.h>

namespace lobit::bench {

// Memory straight from the system, for containers that hold much and grow seldom.
template <class T>
struct MappedAllocator {
  using value_type = T;

  MappedAllocator() = default;
  template <class U>
  explicit MappedAllocator(const MappedAllocator<U>&) {}

  T* allocate(size_t count) {
    void* const memory =
        mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t count) { munmap(memory, count * sizeof(T)); }

  friend bool operator==(const MappedAllocator&, const MappedAllocator&) { return true; }
};

template <class T>
using MappedVector = std::vector<T, MappedAllocator<T>>;

enum class BlockOp : uint32_t { kAllocate, kFree };

struct BlockEvent {
  uint64_t bytes;
  uint32_t slot;  // stands for the block while it lives, and for another one later
  BlockOp op;
};

struct BlockTrace {
  MappedVector<BlockEvent> events;
  size_t slots = 0;
  size_t allocations = 0;
  uint64_t live_bytes = 0;  // where the trace ends
  uint64_t peak_live_bytes = 0;
};

// Records a trace from calls that look like those of an allocator.
class BlockTraceBuilder {
 public:
  // The slot of the new block.
  uint32_t allocate(uint64_t bytes);
  void free(uint32_t slot);

  BlockTrace finish() && { return std::move(trace_); }

 private:
  BlockTrace trace_;
  MappedVector<uint64_t> slot_bytes_;
  MappedVector<uint32_t> free_slots_;
};

}  // namespace lobit::bench
