#include "lobit/memory/adaptive_tensor_memory_pool.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "lobit/base/bytes.h"

namespace lobit {
namespace {

constexpr size_t kStandardUpTo = size_t{32} << 10;
constexpr size_t kPrewarmedFrom = (size_t{1} << 20) + 1;
// Of the tensors routed by time: so many take turns at first, and one in so many explores later.
constexpr uint64_t kExplored = 64;
// A pool with fewer allocations is not judged.
constexpr uint64_t kEnoughToJudge = 100;

// A low hit rate, and which of its causes the counters show.
void recommend_hits(std::string_view name, const TensorPoolMetrics& metrics, std::vector<std::string>& out) {
  if (metrics.allocations < kEnoughToJudge || metrics.hit_rate() >= 0.5) return;
  const std::string found = fmt::format("{} pool: {} of {} allocations hit ({:.1f} %)", name, metrics.hits,
                                        metrics.allocations, 100 * metrics.hit_rate());
  if (metrics.trimmed > metrics.released) {
    out.push_back(
        fmt::format("{}, and trim() or a lack of room below gave {} free blocks back: trim less often, or "
                    "leave the pool more memory",
                    found, metrics.trimmed));
  } else if (metrics.released > 0) {
    out.push_back(
        fmt::format("{}, and {} free blocks were given back: raise max_retained_bytes or stale_after", found,
                    metrics.released));
  } else {
    out.push_back(
        fmt::format("{}, and no free block was given back: warm the sizes that learnt_sizes() tells", found));
  }
}

void recommend_trim(std::string_view name, const TensorPoolMetrics& metrics, std::vector<std::string>& out) {
  if (metrics.retained_bytes == 0 || metrics.retained_bytes < 4 * metrics.live_capacity) return;
  if (metrics.allocations < kEnoughToJudge) return;
  out.push_back(
      fmt::format("{} pool: keeps {} in {} free blocks beside {} in {} live tensors: trim() or lower "
                  "max_retained_bytes",
                  name, format_bytes(metrics.retained_bytes), metrics.retained_blocks,
                  format_bytes(metrics.live_capacity), metrics.live_tensors));
}

// Blocks that were warmed for nobody.
void recommend_budget(const TensorPoolMetrics& metrics, std::vector<std::string>& out) {
  if (metrics.allocations < kEnoughToJudge || 2 * metrics.prewarmed_used >= metrics.prewarmed) return;
  out.push_back(
      fmt::format("prewarmed pool: tensors took {} of {} blocks that were warmed at the start in {} "
                  "allocations: lower the budget or warm other sizes",
                  metrics.prewarmed_used, metrics.prewarmed, metrics.allocations));
}

// A strategy that was set although the other pool is faster for a category that both served.
void recommend_strategy(TensorPoolStrategy strategy, const TensorPoolMetrics& standard,
                        const TensorPoolMetrics& prewarmed, std::vector<std::string>& out) {
  if (strategy == TensorPoolStrategy::kAdaptive) return;
  const bool is_standard = strategy == TensorPoolStrategy::kStandard;
  for (size_t i = 0; i < kTensorSizeCategories; ++i) {
    const TensorCategoryMetrics& set = (is_standard ? standard : prewarmed).categories[i];
    const TensorCategoryMetrics& other = (is_standard ? prewarmed : standard).categories[i];
    const bool enough = std::min(set.allocations, other.allocations) >= kEnoughToJudge;
    if (!enough || set.recent_allocation_ns < 2 * other.recent_allocation_ns) continue;
    out.push_back(fmt::format(
        "strategy {}: {} tensors took {:.0f} ns of late in {} allocations, in the other "
        "pool {:.0f} ns in {}: set it to adaptive",
        is_standard ? "standard" : "prewarmed", kTensorSizeCategoryTraits[i].name, set.recent_allocation_ns,
        set.allocations, other.recent_allocation_ns, other.allocations));
  }
}

}  // namespace

Result<std::unique_ptr<AdaptiveTensorMemoryPool>> AdaptiveTensorMemoryPool::create(
    MemoryResource& upstream, const AdaptiveTensorPoolOptions& options) {
  LOBIT_TRY(auto standard, TensorMemoryPool::create(upstream, options.standard));
  LOBIT_TRY(auto prewarmed, TensorMemoryPool::create_prewarmed(upstream, options.prewarm, options.prewarmed));
  return std::unique_ptr<AdaptiveTensorMemoryPool>(
      new AdaptiveTensorMemoryPool(std::move(standard), std::move(prewarmed), options.strategy));
}

AdaptiveTensorMemoryPool::AdaptiveTensorMemoryPool(std::unique_ptr<TensorMemoryPool> standard,
                                                   std::unique_ptr<TensorMemoryPool> prewarmed,
                                                   TensorPoolStrategy strategy)
    : standard_(std::move(standard)), prewarmed_(std::move(prewarmed)), strategy_(strategy) {}

TensorMemoryPool& AdaptiveTensorMemoryPool::choose(size_t bytes, TensorUse use) {
  switch (strategy()) {
    case TensorPoolStrategy::kStandard:
      return *standard_;
    case TensorPoolStrategy::kPrewarmed:
      return *prewarmed_;
    case TensorPoolStrategy::kAdaptive:
      break;
  }
  if (use == TensorUse::kWeight || bytes >= kPrewarmedFrom) return *prewarmed_;
  if (use == TensorUse::kTemporary || bytes <= kStandardUpTo) return *standard_;
  return choose_by_time(tensor_size_category(bytes));
}

TensorMemoryPool& AdaptiveTensorMemoryPool::choose_by_time(TensorSizeCategory category) {
  const uint64_t earlier =
      timed_choices_[static_cast<size_t>(category)].fetch_add(1, std::memory_order_relaxed);
  if (earlier < kExplored) return earlier % 2 == 0 ? *standard_ : *prewarmed_;
  const bool standard_is_faster =
      standard_->recent_allocation_ns(category) <= prewarmed_->recent_allocation_ns(category);
  const bool explore = earlier % kExplored == 0;
  return standard_is_faster != explore ? *standard_ : *prewarmed_;
}

Result<TensorHandle> AdaptiveTensorMemoryPool::allocate_tensor(TensorId id, size_t bytes, Device device,
                                                               TensorUse use, Stream stream) {
  TensorMemoryPool& pool = choose(bytes, use);
  Result<TensorHandle> tensor = pool.allocate_tensor(id, bytes, device, use, stream);
  if (tensor ||
      (tensor.error().code != ErrorCode::kOutOfMemory && tensor.error().code != ErrorCode::kLimit)) {
    return tensor;
  }
  // What the other pool keeps may be the room that is missing.
  TensorMemoryPool& other = &pool == standard_.get() ? *prewarmed_ : *standard_;
  if (other.trim() > 0) tensor = pool.allocate_tensor(id, bytes, device, use, stream);
  return tensor;
}

Status AdaptiveTensorMemoryPool::deallocate_tensor(const TensorHandle& tensor, Stream stream) {
  TensorMemoryPool& pool = tensor.pool == standard_->serial() ? *standard_ : *prewarmed_;
  return pool.deallocate_tensor(tensor, stream);
}

Status AdaptiveTensorMemoryPool::begin_step(Stream stream) {
  LOBIT_RETURN_IF_ERROR(standard_->begin_step(stream));
  return prewarmed_->begin_step(stream);
}

Result<StepSummary> AdaptiveTensorMemoryPool::end_step() {
  LOBIT_TRY(StepSummary summary, standard_->end_step());
  LOBIT_TRY(const StepSummary more, prewarmed_->end_step());
  summary.allocations += more.allocations;
  summary.hits += more.hits;
  summary.temporaries_alive += more.temporaries_alive;
  return summary;
}

uint64_t AdaptiveTensorMemoryPool::trim() {
  return standard_->trim() + prewarmed_->trim();
}

AdaptivePerformance AdaptiveTensorMemoryPool::performance_stats() const {
  const TensorPoolMetrics standard = standard_->performance_metrics();
  const TensorPoolMetrics prewarmed = prewarmed_->performance_metrics();
  return {.standard_mean_ns = standard.mean_allocation_ns,
          .prewarmed_mean_ns = prewarmed.mean_allocation_ns,
          .standard_allocations = standard.allocations,
          .prewarmed_allocations = prewarmed.allocations};
}

std::vector<std::string> AdaptiveTensorMemoryPool::recommendations() const {
  const TensorPoolMetrics standard = standard_->performance_metrics();
  const TensorPoolMetrics prewarmed = prewarmed_->performance_metrics();
  std::vector<std::string> out;
  recommend_hits("standard", standard, out);
  recommend_hits("prewarmed", prewarmed, out);
  recommend_trim("standard", standard, out);
  recommend_trim("prewarmed", prewarmed, out);
  recommend_budget(prewarmed, out);
  recommend_strategy(strategy(), standard, prewarmed, out);
  return out;
}

Result<std::unique_ptr<AdaptiveTensorMemoryPool>> create_best_tensor_pool(MemoryResource& upstream,
                                                                          const TensorWorkload& workload) {
  AdaptiveTensorPoolOptions options;
  options.prewarm.sizes.clear();
  std::copy_if(workload.sizes.begin(), workload.sizes.end(), std::back_inserter(options.prewarm.sizes),
               [](const SizeCount& size) { return size.bytes > kStandardUpTo && size.count > 0; });
  if (options.prewarm.sizes.empty() || workload.memory_budget == 0) {
    options.strategy = TensorPoolStrategy::kStandard;
    options.standard.max_retained_bytes = workload.memory_budget;
    options.prewarmed.max_retained_bytes = 0;
    options.prewarm.budget = 0;
  } else {
    options.standard.max_retained_bytes = workload.memory_budget - workload.memory_budget / 2;
    options.prewarmed.max_retained_bytes = workload.memory_budget / 2;
    options.prewarm.budget = workload.memory_budget / 2;
  }
  return AdaptiveTensorMemoryPool::create(upstream, options);
}

}  // namespace lobit
