// StatisticsResource: counts what goes through it. A few relaxed atomic additions per call and no lock; any
// number of threads.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "lobit/memory/resource_wrapper.h"

namespace lobit {

// Exact when no other thread is inside the resource. Bytes are those that were asked for.
struct AllocationStatistics {
  uint64_t live_bytes = 0;
  uint64_t live_blocks = 0;
  uint64_t peak_bytes = 0;   // the most that live_bytes was
  uint64_t peak_blocks = 0;  // the most that live_blocks was
  uint64_t allocations = 0;  // calls that succeeded
  uint64_t deallocations = 0;
  uint64_t allocated_bytes = 0;         // of all allocations so far
  uint64_t refused_allocations = 0;     // calls that failed
  uint64_t refused_deallocations = 0;   // calls that failed: misuse
  std::array<uint64_t, 65> sizes = {};  // sizes[n]: allocations above 2^(n-1) and up to 2^n bytes
};

class LOBIT_API StatisticsResource final : public ResourceWrapper {
 public:
  explicit StatisticsResource(MemoryResource& upstream) : ResourceWrapper(upstream) {}

  AllocationStatistics statistics() const;

 private:
  // A number that goes up and down, and the most that it was.
  struct Level {
    std::atomic<uint64_t> now = 0;
    std::atomic<uint64_t> peak = 0;
    void add(uint64_t amount);
    void subtract(uint64_t amount) { now.fetch_sub(amount, std::memory_order_relaxed); }
  };

  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override;
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override;

  Level bytes_;
  Level blocks_;
  std::atomic<uint64_t> allocated_bytes_ = 0;
  std::atomic<uint64_t> refused_allocations_ = 0;
  std::atomic<uint64_t> refused_deallocations_ = 0;
  std::array<std::atomic<uint64_t>, 65> sizes_ = {};
};
static_assert(MemoryWrapper<StatisticsResource>);

}  // namespace lobit
