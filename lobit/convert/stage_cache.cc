#include <algorithm>

#include "lobit/convert/stage_cache_internal.h"

namespace lobit::detail {

std::optional<Tensor> StageCache::find(const ContentKey& key, size_t stage) {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(
      entries_, [&](const Entry& entry) { return entry.stage == stage && entry.key == key; });
  if (found == entries_.end()) return std::nullopt;
  entries_.splice(entries_.begin(), entries_, found);
  return found->result;
}

void StageCache::insert(const ContentKey& key, size_t stage, const Tensor& result, MemoryAccount& account) {
  const uint64_t bytes = result.capacity();
  if (bytes > kMaxBytes) return;
  const std::lock_guard lock(mutex_);
  const auto known = std::ranges::find_if(
      entries_, [&](const Entry& entry) { return entry.stage == stage && entry.key == key; });
  if (known != entries_.end()) return;
  while (entries_.size() >= kMaxResults || bytes_ + bytes > kMaxBytes) drop_last();
  auto hold = account.hold(bytes);
  while (!hold && !entries_.empty()) {
    drop_last();
    hold = account.hold(bytes);
  }
  if (!hold) return;
  entries_.push_front({key, stage, result, std::move(*hold)});
  bytes_ += bytes;
}

void StageCache::drop_last() {
  bytes_ -= entries_.back().hold.bytes();
  entries_.pop_back();
}

void StageCache::clear() {
  const std::lock_guard lock(mutex_);
  entries_.clear();
  bytes_ = 0;
}

size_t StageCache::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

uint64_t StageCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace lobit::detail
