// FailingResource: says that memory ran out when a test wants it to, so that what callers do then is tested
// at every place where it can happen. Any number of threads.
#pragma once

#include <cstdint>
#include <mutex>

#include "lobit/memory/resource_wrapper.h"

namespace lobit {

// Which allocations fail, counted from 1. One fails when any of the fields says so.
struct FailurePlan {
  uint64_t number = 0;                // this one, once; 0 is none
  uint64_t every = 0;                 // each whose number is a multiple; 0 is none
  uint64_t above_bytes = UINT64_MAX;  // those of more bytes
  double probability = 0;             // this share of all, chosen by the seed and the number alone
  uint64_t seed = 0;
};

class LOBIT_API FailingResource final : public ResourceWrapper {
 public:
  explicit FailingResource(MemoryResource& upstream, const FailurePlan& plan = {})
      : ResourceWrapper(upstream), plan_(plan) {}

  // Counting begins anew.
  void set_plan(const FailurePlan& plan);

  // Since the last set_plan(): allocations that were asked for (invalid requests do not count), and how many
  // of them were made to fail. A test fails number 1, 2, 3, ... until a run in which none did.
  uint64_t allocations() const;
  uint64_t failures() const;

 private:
  // kOutOfMemory where the plan says so.
  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override;
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override;

  mutable std::mutex mutex_;
  FailurePlan plan_;
  uint64_t allocations_ = 0;
  uint64_t failures_ = 0;
};
static_assert(MemoryWrapper<FailingResource>);

}  // namespace lobit
