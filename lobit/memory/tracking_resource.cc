#include "lobit/memory/tracking_resource.h"

#include <utility>

#include "lobit/memory/tracker_internal.h"

namespace lobit {

Result<std::unique_ptr<TrackingResource>> TrackingResource::create(MemoryResource& upstream,
                                                                   const TrackingOptions& options) {
  LOBIT_TRY(std::unique_ptr<detail::Tracker> tracker, detail::Tracker::create(upstream, options));
  return std::unique_ptr<TrackingResource>(new TrackingResource(upstream, std::move(tracker), options.level));
}

TrackingResource::TrackingResource(MemoryResource& upstream, std::unique_ptr<detail::Tracker> tracker,
                                   TrackingLevel level)
    : ResourceWrapper(upstream), level_(level), tracker_(std::move(tracker)) {}

TrackingResource::~TrackingResource() = default;

// Upwards, what was before is forgotten before anything is counted. Forgets on the way down as well, so that
// the memory of records is free at kNone.
void TrackingResource::set_level(TrackingLevel level) {
  const std::lock_guard lock(level_mutex_);
  const TrackingLevel before = level_.load(std::memory_order_relaxed);
  if (before == TrackingLevel::kNone && level != before) tracker_->forget();
  level_.store(level, std::memory_order_relaxed);
  if (level == TrackingLevel::kNone && level != before) tracker_->forget();
}

void TrackingResource::reset() {
  tracker_->reset();
}

TrackingStatistics TrackingResource::statistics() const {
  TrackingStatistics statistics = tracker_->statistics();
  statistics.level = level();
  return statistics;
}

LeakReport TrackingResource::leaks(std::chrono::nanoseconds age) const {
  return tracker_->leaks(age);
}

MemoryProfile TrackingResource::profile() const {
  return tracker_->profile();
}

Result<void*> TrackingResource::do_allocate(size_t bytes, size_t alignment, Stream stream) {
  const TrackingLevel level = this->level();
  if (level == TrackingLevel::kNone) return upstream().allocate(bytes, alignment, stream);
  return tracker_->allocate(level, bytes, alignment, stream,
                            reinterpret_cast<uintptr_t>(__builtin_return_address(0)));
}

Status TrackingResource::do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) {
  const TrackingLevel level = this->level();
  if (level == TrackingLevel::kNone) return upstream().deallocate(pointer, bytes, alignment, stream);
  return tracker_->deallocate(level, pointer, bytes, alignment, stream);
}

}  // namespace lobit
