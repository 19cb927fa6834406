#include "lobit/convert/batch_queue.h"

#include <algorithm>

#include "lobit/base/check.h"

namespace lobit {
namespace {

// What max_batch_size and max_batch_memory are divided by.
uint64_t divisor(MemoryPressureLevel pressure) {
  switch (pressure) {
    case MemoryPressureLevel::kNone:
    case MemoryPressureLevel::kLow:
      return 1;
    case MemoryPressureLevel::kMedium:
      return 2;
    case MemoryPressureLevel::kHigh:
      return 4;
    case MemoryPressureLevel::kCritical:
      break;
  }
  return UINT64_MAX;
}

}  // namespace

BatchSizeClass batch_size_class(uint64_t source_bytes) {
  constexpr uint64_t kMiB = 1 << 20;
  if (source_bytes < kMiB) return BatchSizeClass::kSmall;
  return source_bytes < 100 * kMiB ? BatchSizeClass::kMedium : BatchSizeClass::kLarge;
}

BatchQueue::BatchQueue(std::span<const BatchItem> items, const BatchConfig& config) : config_(config) {
  // The first tensor of each group stands for it; groups are few.
  std::vector<const BatchItem*> groups;
  std::vector<std::pair<size_t, const BatchItem*>> grouped;
  grouped.reserve(items.size());
  for (const BatchItem& item : items) {
    const auto group =
        std::ranges::find_if(groups, [&](const BatchItem* first) { return same_group(*first, item); });
    grouped.emplace_back(static_cast<size_t>(group - groups.begin()), &item);
    if (group == groups.end()) groups.push_back(&item);
  }
  std::ranges::sort(grouped, [&](const auto& a, const auto& b) {
    if (a.first == b.first) {
      const bool by_size = config_.sort_by_size && a.second->source_bytes != b.second->source_bytes;
      return by_size ? a.second->source_bytes > b.second->source_bytes : a.second->index < b.second->index;
    }
    if (config_.sort_by_size) {
      const auto a_class = batch_size_class(groups[a.first]->source_bytes);
      const auto b_class = batch_size_class(groups[b.first]->source_bytes);
      if (a_class != b_class) return a_class > b_class;
    }
    return a.first < b.first;
  });
  order_.reserve(grouped.size());
  for (const auto& [group, item] : grouped) order_.push_back(*item);
}

bool BatchQueue::same_group(const BatchItem& a, const BatchItem& b) const {
  if (config_.group_by_dtype && (a.from != b.from || a.to != b.to)) return false;
  if (config_.group_by_device && a.device != b.device) return false;
  return batch_size_class(a.source_bytes) == batch_size_class(b.source_bytes);
}

Batch BatchQueue::next(MemoryPressureLevel pressure) {
  LOBIT_CHECK(!empty());
  const uint64_t max_tensors = std::max<uint64_t>(1, config_.max_batch_size / divisor(pressure));
  const uint64_t max_bytes = config_.max_batch_memory / divisor(pressure);
  const BatchItem& first = order_[next_];
  Batch batch;
  batch.size_class = batch_size_class(first.source_bytes);
  batch.pressure = pressure;
  while (next_ < order_.size() && batch.tensors.size() < max_tensors) {
    const BatchItem& item = order_[next_];
    if (!same_group(first, item)) break;
    const bool fits = batch.result_bytes <= max_bytes && item.result_bytes <= max_bytes - batch.result_bytes;
    if (!batch.tensors.empty() && !fits) break;
    batch.tensors.push_back(item.index);
    batch.result_bytes += item.result_bytes;
    ++next_;
  }
  // In the caller's order, so that the first error of the batch is that of its first bad tensor.
  std::ranges::sort(batch.tensors);
  return batch;
}

}  // namespace lobit
