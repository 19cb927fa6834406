// The way to std::pmr and back: PmrAdaptor lets standard containers take their memory from a MemoryResource,
// PmrResource gives a std::pmr::memory_resource the face of a MemoryResource.
#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <mutex>

#include "lobit/base/export.h"
#include "lobit/memory/memory_resource.h"

namespace lobit {

namespace detail {
class LiveBlocks;
}

// Throws std::bad_alloc where allocate() returns an error, as std::pmr demands; that includes alignments
// above kMaxAlignment. 0 bytes are a block of 1. Any number of threads, if the resource below takes them; it
// must outlive the adaptor.
class LOBIT_API PmrAdaptor final : public std::pmr::memory_resource {
 public:
  explicit PmrAdaptor(MemoryResource& upstream, Stream stream = {}) : upstream_(&upstream), stream_(stream) {}

  MemoryResource& upstream() const { return *upstream_; }
  // Blocks that came back wrongly (twice, never allocated, other sizes) and were left alone: std::pmr has no
  // other way to say so.
  uint64_t refused_deallocations() const { return refused_.load(std::memory_order_relaxed); }

 private:
  void* do_allocate(size_t bytes, size_t alignment) override;
  void do_deallocate(void* pointer, size_t bytes, size_t alignment) override;
  // Equal when each may free what the other allocated: the same resource below and the same stream.
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override;

  MemoryResource* upstream_;
  Stream stream_;
  std::atomic<uint64_t> refused_ = 0;
};
static_assert(std::derived_from<PmrAdaptor, std::pmr::memory_resource>);

// Knows every live block, so it finds all misuse that MemoryResource names and frees in its destructor what
// is still allocated. Calls the resource below under a lock: any number of threads may use it, even over one
// that is not made for threads, as long as it is used through here alone. Asks it for multiples of the
// alignment. The resource below must outlive it.
class LOBIT_API PmrResource final : public MemoryResource {
 public:
  explicit PmrResource(std::pmr::memory_resource& upstream);
  ~PmrResource() override;

  std::pmr::memory_resource& upstream() const { return *upstream_; }

 private:
  // Whatever the resource below throws is kOutOfMemory. Ignores the stream.
  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override;
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override;
  MemoryUsage do_usage() const override;

  std::pmr::memory_resource* upstream_;
  mutable std::mutex mutex_;
  std::unique_ptr<detail::LiveBlocks> blocks_;
};
static_assert(std::derived_from<PmrResource, MemoryResource>);

}  // namespace lobit
