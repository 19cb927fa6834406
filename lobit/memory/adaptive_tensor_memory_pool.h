// AdaptiveTensorMemoryPool: two TensorMemoryPools over one resource, a standard one that starts empty and a
// pre-warmed one, and the choice between them for each tensor. A tensor is freed in the pool it came from.
//
// The choice, in this order:
//   a strategy that was set       that pool
//   weights                       pre-warmed
//   over 1 MiB                    pre-warmed
//   up to 32 KiB                  standard
//   temporary                     standard
//   the rest                      whichever pool was faster of late for tensors of this size category; the
//                                 first 64 of a category take turns, and later one in 64 goes to the slower
//                                 pool, so that its time stays known
//
// Thread-safe as its pools are. Does not outlive the resource.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "lobit/memory/tensor_memory_pool.h"

namespace lobit {

enum class TensorPoolStrategy : uint8_t { kAdaptive, kStandard, kPrewarmed };

struct AdaptiveTensorPoolOptions {
  TensorPoolOptions standard = {};
  TensorPoolOptions prewarmed = {};
  PrewarmOptions prewarm = {};
  TensorPoolStrategy strategy = TensorPoolStrategy::kAdaptive;
};

// What both pools did with the tensors they were given.
struct AdaptivePerformance {
  double standard_mean_ns = 0;
  double prewarmed_mean_ns = 0;
  uint64_t standard_allocations = 0;
  uint64_t prewarmed_allocations = 0;
};

class LOBIT_API AdaptiveTensorMemoryPool {
 public:
  // The errors of TensorMemoryPool::create_prewarmed.
  static Result<std::unique_ptr<AdaptiveTensorMemoryPool>> create(
      MemoryResource& upstream, const AdaptiveTensorPoolOptions& options = {});

  // As TensorMemoryPool's.
  Result<TensorHandle> allocate_tensor(TensorId id, size_t bytes, Device device = {},
                                       TensorUse use = TensorUse::kOrdinary, Stream stream = {});
  Status deallocate_tensor(const TensorHandle& tensor, Stream stream = {});
  Status begin_step(Stream stream = {});
  Result<StepSummary> end_step();
  uint64_t trim();

  // Holds for tensors allocated from now on.
  void set_strategy(TensorPoolStrategy strategy) { strategy_.store(strategy, std::memory_order_relaxed); }
  TensorPoolStrategy strategy() const { return strategy_.load(std::memory_order_relaxed); }

  const TensorMemoryPool& standard() const { return *standard_; }
  const TensorMemoryPool& prewarmed() const { return *prewarmed_; }
  AdaptivePerformance performance_stats() const;
  // What the counters say should be changed, with the counters; nothing when nothing should.
  std::vector<std::string> recommendations() const;

 private:
  AdaptiveTensorMemoryPool(std::unique_ptr<TensorMemoryPool> standard,
                           std::unique_ptr<TensorMemoryPool> prewarmed, TensorPoolStrategy strategy);
  TensorMemoryPool& choose(size_t bytes, TensorUse use);
  TensorMemoryPool& choose_by_time(TensorSizeCategory category);

  const std::unique_ptr<TensorMemoryPool> standard_;
  const std::unique_ptr<TensorMemoryPool> prewarmed_;
  std::atomic<TensorPoolStrategy> strategy_;
  // Of each category, how many tensors were routed by time.
  std::array<std::atomic<uint64_t>, kTensorSizeCategories> timed_choices_{};
};

// What a program will ask for.
struct TensorWorkload {
  // How many tensors of each size are alive at one time: learnt_sizes() of an earlier run.
  std::vector<SizeCount> sizes = {};
  // Bytes that may be held beside live tensors. 0: a standard pool alone that keeps nothing.
  uint64_t memory_budget = uint64_t{256} << 20;
};

// The pool for a workload: sizes over 32 KiB are warmed, within half the budget, and routed adaptively; when
// there are none, the standard pool serves alone and may keep the whole budget. The errors of create().
LOBIT_API Result<std::unique_ptr<AdaptiveTensorMemoryPool>> create_best_tensor_pool(
    MemoryResource& upstream, const TensorWorkload& workload);

}  // namespace lobit
