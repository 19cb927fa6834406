// UsageCount: the MemoryUsage of a resource that counts under a lock of its own.
#pragma once

#include <algorithm>
#include <cstdint>

#include "lobit/memory/memory_resource.h"

namespace lobit::detail {

class UsageCount {
 public:
  // What is committed from the start, and stays so.
  explicit UsageCount(uint64_t committed = 0) {
    usage_.committed = committed;
    usage_.peak_committed = committed;
  }

  // `used`: the bytes as they were rounded; `committed`: those that were taken for this block alone.
  void allocated(uint64_t bytes, uint64_t used, uint64_t committed) {
    usage_.allocated += bytes;
    usage_.used += used;
    usage_.committed += committed;
    usage_.peak_allocated = std::max(usage_.peak_allocated, usage_.allocated);
    usage_.peak_committed = std::max(usage_.peak_committed, usage_.committed);
    ++usage_.allocations;
  }
  void freed(uint64_t bytes, uint64_t used, uint64_t committed) {
    usage_.allocated -= bytes;
    usage_.used -= used;
    usage_.committed -= committed;
    ++usage_.deallocations;
  }
  // Undoes freed(): the block lives on.
  void not_freed(uint64_t bytes, uint64_t used, uint64_t committed) {
    allocated(bytes, used, committed);
    --usage_.allocations;
    --usage_.deallocations;
  }

  const MemoryUsage& usage() const { return usage_; }

 private:
  MemoryUsage usage_;
};

}  // namespace lobit::detail
