// SystemResource: the allocator of the C library, with the face of a MemoryResource. What small programs and
// tests stand on, and what benchmarks compare with. Counts what it hands out and refuses to free what is not
// its own, which costs a lock per call.
#pragma once

#include <mutex>

#include "lobit/memory/live_blocks.h"
#include "lobit/memory/memory_resource.h"

namespace lobit {

class LOBIT_API SystemResource final : public MemoryResource {
 public:
  SystemResource() = default;
  ~SystemResource() override;

 private:
  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override;
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override;
  MemoryUsage do_usage() const override;

  mutable std::mutex mutex_;
  detail::LiveBlocks blocks_;
};

}  // namespace lobit
