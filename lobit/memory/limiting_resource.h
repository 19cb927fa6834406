// LimitingResource: at most so many bytes at a time. Counts bytes as they were asked for, because those are
// known before the resource below is asked; what it rounds them up to, and what it keeps, is limited by
// itself (a pool counts what it committed). Any number of threads; the limit holds at every instant.
#pragma once

#include <atomic>
#include <cstdint>

#include "lobit/memory/resource_wrapper.h"

namespace lobit {

class LOBIT_API LimitingResource final : public ResourceWrapper {
 public:
  LimitingResource(MemoryResource& upstream, uint64_t limit) : ResourceWrapper(upstream), limit_(limit) {}

  uint64_t limit() const { return limit_; }
  // The bytes that count: of live blocks and of allocations that other threads have begun.
  uint64_t counted() const { return counted_.load(std::memory_order_relaxed); }

 private:
  // kLimit when the bytes do not fit beside what counts at that moment.
  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override;
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override;

  const uint64_t limit_;
  std::atomic<uint64_t> counted_ = 0;
};
static_assert(MemoryWrapper<LimitingResource>);

}  // namespace lobit
