// SystemResource: the memory of a device as its Backend hands it out, with the face of a MemoryResource, so
// that every wrapper and pool can stand on it. On the CPU that is the allocator of the C library: what small
// programs and tests stand on, and what benchmarks compare with. Remembers every block and refuses to free
// what is not its own, which costs a lock per call. Counts a block in multiples of its alignment.
//
// A block is freed in the order of the stream that deallocate() names; the destructor frees what is left in
// the order of the streams on which it was taken. A stream that is not alive is an error, and nothing
// changes.
#pragma once

#include <memory>

#include "lobit/device/backend.h"
#include "lobit/memory/memory_resource.h"

namespace lobit {

namespace detail {
template <typename Below>
class TakenBlocks;
}

class LOBIT_API SystemResource final : public MemoryResource {
 public:
  // The CPU's memory.
  SystemResource();
  explicit SystemResource(Backend& backend);
  ~SystemResource() override;

 private:
  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override;
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override;
  MemoryUsage do_usage() const override;
  Device do_device() const override;

  std::unique_ptr<detail::TakenBlocks<Backend>> blocks_;
};

}  // namespace lobit
