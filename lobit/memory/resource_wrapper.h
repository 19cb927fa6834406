// ResourceWrapper: what resources that stand on one other resource and add something to it have in common.
// Wrappers are put on each other in any order; each may be used from as many threads as the resource below.
//
// The memory is that of the resource below: usage(), fragmentation(), trim() and device() are its own,
// whoever else uses it. A block is freed through the wrapper that allocated it. The resource below must
// outlive the wrapper, and what is still allocated when a wrapper goes stays allocated there.
#pragma once

#include <concepts>
#include <type_traits>

#include "lobit/base/export.h"
#include "lobit/memory/memory_resource.h"

namespace lobit {

class LOBIT_API ResourceWrapper : public MemoryResource {
 public:
  MemoryResource& upstream() const { return *upstream_; }

 protected:
  explicit ResourceWrapper(MemoryResource& upstream) : upstream_(&upstream) {}

 private:
  size_t do_trim() override { return upstream_->trim(); }
  TrimResult do_trim_within(const TimeBudget& budget) override { return upstream_->trim_within(budget); }
  MemoryUsage do_usage() const override { return upstream_->usage(); }
  std::optional<MemoryFragmentation> do_fragmentation() const override;
  Device do_device() const override { return upstream_->device(); }

  MemoryResource* upstream_;
};

// What each wrapper proves under its definition: it is a whole resource, and nothing copies it.
template <typename T>
concept MemoryWrapper = std::derived_from<T, ResourceWrapper> && std::is_final_v<T> &&
                        !std::is_abstract_v<T> && !std::is_copy_constructible_v<T>;

}  // namespace lobit
