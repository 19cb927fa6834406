#include <exception>

#include "lobit/memory/cleanup_target_internal.h"

namespace lobit::detail {
namespace {

CleanupUse use_of(const MemoryResource& resource) {
  const MemoryUsage usage = resource.usage();
  return {.committed = usage.committed, .live = usage.used, .calls = usage.allocations + usage.deallocations};
}

CleanupUse use_of(const TensorMemoryPool& pool) {
  const TensorPoolMetrics metrics = pool.performance_metrics();
  return {.committed = metrics.live_capacity + metrics.retained_bytes,
          .live = metrics.live_capacity,
          .calls = metrics.allocations + metrics.deallocations + metrics.prefetched + metrics.prewarmed};
}

std::chrono::nanoseconds since(uint64_t begin, uint64_t now) {
  return std::chrono::nanoseconds(now - begin);
}

}  // namespace

CleanupTarget make_target(std::string name, MemoryResource& resource, uint64_t limit) {
  return {.name = std::move(name),
          .device = resource.device(),
          .order = CleanupOrder::kResource,
          .limit = limit,
          .use = [&resource] { return use_of(resource); },
          .clean = [&resource](const TimeBudget& budget, CleanupAction /*action*/) -> CleanupWork {
            const TrimResult trimmed = resource.trim_within(budget);
            return {.bytes = trimmed.bytes, .finished = trimmed.finished};
          }};
}

CleanupTarget make_target(std::string name, TensorMemoryPool& pool) {
  return {.name = std::move(name),
          .device = pool.device(),
          .order = CleanupOrder::kTensors,
          .use = [&pool] { return use_of(pool); },
          .clean = [&pool](const TimeBudget& /*budget*/, CleanupAction /*action*/) -> CleanupWork {
            return {.bytes = pool.trim()};
          }};
}

// What is moved together first goes back in longer pieces.
CleanupTarget make_target(std::string name, MovableBlockPool& pool) {
  return {.name = std::move(name),
          .device = pool.device(),
          .order = CleanupOrder::kMovable,
          .use = [&pool] { return use_of(pool.upstream()); },
          .clean = [&pool](const TimeBudget& budget, CleanupAction action) -> CleanupWork {
            CompactionResult compacted;
            if (action != CleanupAction::kGive) compacted = pool.compact(budget);
            const TrimResult trimmed = pool.upstream().trim_within(budget);
            return {.bytes = trimmed.bytes,
                    .moved = compacted.moved_blocks,
                    .finished = compacted.finished && trimmed.finished};
          }};
}

CleanupTarget make_target(std::string name, Device device,
                          std::function<size_t(std::chrono::nanoseconds)> function) {
  return {.name = std::move(name),
          .device = device,
          .clean = [function = std::move(function)](const TimeBudget& budget, CleanupAction /*action*/)
              -> CleanupWork { return {.bytes = function(budget.left())}; }};
}

CleanupUse look_at(CleanupTarget& target, uint64_t now) {
  if (!target.use) {
    target.busy_at = now;
    return {};
  }
  const CleanupUse use = target.use();
  if (use.calls != target.seen_calls) {
    target.seen_calls = use.calls;
    target.busy_at = now;
    target.changed = true;
  }
  return use;
}

TargetCleanup clean(CleanupTarget& target, CleanupAction action, const TimeBudget& budget,
                    TimeBudget::Clock clock) {
  TargetCleanup result{.target = target.name, .device = target.device};
  const uint64_t begin = clock();
  result.committed_before = look_at(target, begin).committed;
  try {
    const CleanupWork work = target.clean(budget, action);
    result.bytes_freed = work.bytes;
    result.blocks_moved = work.moved;
    result.finished = work.finished;
  } catch (...) {
    result.error = current_exception_text();
  }
  const uint64_t end = clock();
  result.duration = since(begin, end);
  target.cleaned_at = end;
  if (target.use) {
    // What the cleanup itself allocated and freed there is no use of the target.
    const CleanupUse after = target.use();
    target.seen_calls = after.calls;
    target.changed = !result.finished;
    result.committed_after = after.committed;
  }
  return result;
}

std::string current_exception_text() {
  try {
    throw;
  } catch (const std::exception& thrown) {
    return thrown.what();
  } catch (...) {
    return "something that is no std::exception";
  }
}

}  // namespace lobit::detail
