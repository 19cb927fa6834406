#include "lobit/memory/tensor_memory_pool.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "lobit/base/checked.h"
#include "lobit/base/time_budget.h"
#include "lobit/memory/latency_histogram_internal.h"
#include "lobit/memory/step_pattern_internal.h"
#include "lobit/memory/tensor_block_table_internal.h"

namespace lobit {

// What changes under the lock.
struct detail::TensorPoolState {
  struct RunningMean {
    double sum = 0;
    double weight = 0;
  };
  TensorBlockTable blocks;
  StepPattern pattern;
  bool step_open = false;
  uint64_t step = 0;  // number of the last step that began
  StepSummary summary;
  uint64_t sequence = 0;
  TensorPoolMetrics metrics;
  LatencyHistogram times;
  std::array<RunningMean, kTensorSizeCategories> recent;
};

namespace {

using detail::TensorBlockTable;
using detail::TensorRecord;

// Of hits, the first so many of a category are timed, later one of so many. A hit costs less than two looks
// at the clock.
constexpr uint64_t kTimedEvery = 16;
// Weight after which what a running mean knows counts half.
constexpr double kRunningWeight = 2048;
constexpr size_t kPageBytes = 4096;

uint32_t next_serial() {
  static std::atomic<uint32_t> serial{0};
  return serial.fetch_add(1, std::memory_order_relaxed) + 1;
}

// Of a new block for such a tensor. What cannot be rounded is refused by the resource below.
size_t block_bytes(size_t bytes) {
  return checked_round_up(bytes, traits(tensor_size_category(bytes)).alignment).value_or(bytes);
}

// The largest block that may serve a request.
size_t largest_block(size_t bytes, TensorUse use) {
  const size_t spare = use == TensorUse::kWeight ? bytes / 16 : bytes;
  const size_t most = checked_add(bytes, spare).value_or(std::numeric_limits<size_t>::max());
  return std::min(block_bytes(most), traits(tensor_size_category(bytes)).max_bytes);
}

void touch_pages(void* data, size_t bytes) {
  auto* byte = static_cast<volatile std::byte*>(data);
  for (size_t i = 0; i < bytes; i += kPageBytes) byte[i] = std::byte{0};
}

}  // namespace

std::vector<SizeCount> common_tensor_sizes() {
  constexpr size_t kKiB = 1024;
  return {{64 * kKiB, 8},   {128 * kKiB, 8},  {256 * kKiB, 8}, {512 * kKiB, 8},
          {1024 * kKiB, 4}, {2048 * kKiB, 2}, {4096 * kKiB, 2}};
}

Result<std::unique_ptr<TensorMemoryPool>> TensorMemoryPool::create(MemoryResource& upstream,
                                                                   const TensorPoolOptions& options) {
  return std::unique_ptr<TensorMemoryPool>(new TensorMemoryPool(upstream, options));
}

Result<std::unique_ptr<TensorMemoryPool>> TensorMemoryPool::create_prewarmed(
    MemoryResource& upstream, const PrewarmOptions& prewarm, const TensorPoolOptions& options) {
  if (prewarm.budget > options.max_retained_bytes) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("tensor pool: a budget of {} bytes to warm, expected at most the {} bytes that it keeps",
                    prewarm.budget, options.max_retained_bytes),
        {.required = prewarm.budget, .available = options.max_retained_bytes});
  }
  LOBIT_TRY(auto pool, create(upstream, options));
  LOBIT_RETURN_IF_ERROR(pool->prewarm(prewarm));
  return pool;
}

TensorMemoryPool::TensorMemoryPool(MemoryResource& upstream, const TensorPoolOptions& options)
    : upstream_(upstream),
      options_{.max_retained_bytes = options.max_retained_bytes,
               .stale_after = options.stale_after,
               .prefetch = options.prefetch,
               .clock = options.clock == nullptr ? &steady_nanoseconds : options.clock},
      serial_(next_serial()),
      state_(std::make_unique<detail::TensorPoolState>()) {}

TensorMemoryPool::~TensorMemoryPool() {
  for (const TensorRecord& record : state_->blocks.records()) {
    if (record.data == nullptr) continue;
    const size_t alignment = traits(tensor_size_category(record.capacity)).alignment;
    static_cast<void>(upstream_.deallocate(record.data, record.capacity, alignment, record.stream));
  }
}

Status TensorMemoryPool::prewarm(const PrewarmOptions& prewarm) {
  std::unique_lock lock(mutex_);
  std::vector<SizeCount> left = prewarm.sizes;
  uint64_t budget = prewarm.budget;
  for (bool any = true; any;) {
    any = false;
    for (auto& [bytes, count] : left) {
      if (bytes == 0) return fail(ErrorCode::kInvalidArgument, "tensor pool: a size of 0 bytes to warm");
      const size_t block = block_bytes(bytes);
      if (count == 0 || block > budget) continue;
      LOBIT_TRY(const uint32_t slot, keep_one_more(block, own_stream(prewarm.stream), lock));
      state_->blocks[slot].prewarmed = true;
      ++state_->metrics.prewarmed;
      budget -= block;
      --count;
      any = true;
    }
  }
  return {};
}

Result<TensorHandle> TensorMemoryPool::allocate_tensor(TensorId id, size_t bytes, Device device,
                                                       TensorUse use, Stream stream) {
  if (bytes == 0) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("tensor pool: 0 bytes asked for tensor {}", id),
                {.index = id});
  }
  if (device != upstream_.device()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("tensor pool: tensor {} wants memory of {}, expected {}", id, device_name(device),
                            device_name(upstream_.device())),
                {.index = id, .from = device_name(upstream_.device()), .to = device_name(device)});
  }
  stream = own_stream(stream);
  const size_t block = block_bytes(bytes);
  const TensorSizeCategory category = tensor_size_category(bytes);
  std::unique_lock lock(mutex_);
  const uint64_t earlier = state_->metrics.categories[static_cast<size_t>(category)].allocations;
  const bool all_timed = earlier < kTimedEvery;
  const bool timed = all_timed || earlier % kTimedEvery == 0;
  uint64_t start = timed ? options_.clock() : 0;

  uint32_t slot = state_->blocks.find(block, largest_block(bytes, use), stream);
  const bool hit = slot != TensorBlockTable::kNone;
  if (hit) {
    state_->blocks.take(slot);
  } else {
    if (!timed) start = options_.clock();
    LOBIT_TRY(slot, take_upstream(block, Purpose::kTensor, stream, lock));
  }
  const TensorHandle tensor = hand_out(slot, id, bytes, use, hit);
  if (timed || !hit) measure(category, options_.clock() - start, hit && !all_timed ? kTimedEvery : 1);
  release_excess(lock);
  return tensor;
}

Result<void*> TensorMemoryPool::allocate_upstream(size_t bytes, Purpose purpose, Stream stream) {
  const size_t alignment = traits(tensor_size_category(bytes)).alignment;
  Result<void*> data = upstream_.allocate(bytes, alignment, stream);
  const bool no_room =
      !data && (data.error().code == ErrorCode::kOutOfMemory || data.error().code == ErrorCode::kLimit);
  // What is taken ahead must not drive out what is kept.
  if (no_room && purpose == Purpose::kTensor && trim() > 0) {
    data = upstream_.allocate(bytes, alignment, stream);
  }
  // Fresh pages cost more than everything else here; now is the time to pay for them.
  if (data && purpose == Purpose::kAhead && upstream_.device().kind == DeviceKind::kCpu)
    touch_pages(*data, bytes);
  return data;
}

// A new block, in no list. The lock is open while the resource below works.
Result<uint32_t> TensorMemoryPool::take_upstream(size_t bytes, Purpose purpose, Stream stream,
                                                 std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  Result<void*> taken = allocate_upstream(bytes, purpose, stream);
  if (!taken) {
    lock.lock();
    return fail(std::move(taken).error());
  }
  lock.lock();
  if (state_->blocks.reserve_one()) return state_->blocks.add(*taken, bytes, stream);
  lock.unlock();
  const size_t alignment = traits(tensor_size_category(bytes)).alignment;
  static_cast<void>(upstream_.deallocate(*taken, bytes, alignment, stream));
  lock.lock();
  return fail(ErrorCode::kOutOfMemory,
              fmt::format("tensor pool: no memory to remember a block of {} bytes", bytes),
              {.required = sizeof(TensorRecord)});
}

Result<uint32_t> TensorMemoryPool::keep_one_more(size_t bytes, Stream stream,
                                                 std::unique_lock<std::mutex>& lock) {
  LOBIT_TRY(const uint32_t slot, take_upstream(bytes, Purpose::kAhead, stream, lock));
  state_->blocks.retain(slot, state_->metrics.allocations);
  note_peak();
  return slot;
}

void TensorMemoryPool::note_peak() {
  const uint64_t held = state_->metrics.live_capacity + state_->blocks.retained_bytes();
  state_->metrics.peak_bytes = std::max(state_->metrics.peak_bytes, held);
}

TensorHandle TensorMemoryPool::hand_out(uint32_t slot, TensorId id, size_t bytes, TensorUse use, bool hit) {
  TensorRecord& record = state_->blocks[slot];
  TensorPoolMetrics& metrics = state_->metrics;
  ++metrics.allocations;
  metrics.hits += hit ? 1 : 0;
  metrics.reuses += hit && !record.fresh ? 1 : 0;
  metrics.prewarmed_used += record.prewarmed ? 1 : 0;
  ++metrics.live_tensors;
  metrics.live_bytes += bytes;
  metrics.live_capacity += record.capacity;
  note_peak();
  TensorCategoryMetrics& category = metrics.categories[static_cast<size_t>(tensor_size_category(bytes))];
  ++category.allocations;
  category.hits += hit ? 1 : 0;

  record.sequence = ++state_->sequence;
  record.live = {.id = id, .bytes = bytes, .step = state_->step_open ? state_->step : 0};
  record.temporary = use == TensorUse::kTemporary;
  record.fresh = false;
  record.prewarmed = false;
  if (state_->step_open) {
    state_->pattern.allocated(block_bytes(bytes));
    ++state_->summary.allocations;
    state_->summary.hits += hit ? 1 : 0;
    state_->summary.temporaries_alive += record.temporary ? 1 : 0;
  }
  return {.id = id,
          .data = record.data,
          .bytes = bytes,
          .sequence = record.sequence,
          .slot = slot,
          .pool = serial_};
}

void TensorMemoryPool::measure(TensorSizeCategory category, uint64_t ns, uint64_t weight) {
  state_->times.add(ns, weight);
  auto& [sum, total] = state_->recent[static_cast<size_t>(category)];
  sum += static_cast<double>(ns) * static_cast<double>(weight);
  total += static_cast<double>(weight);
  recent_ns_[static_cast<size_t>(category)].store(sum / total, std::memory_order_relaxed);
  if (total >= kRunningWeight) {
    sum /= 2;
    total /= 2;
  }
}

Status TensorMemoryPool::deallocate_tensor(const TensorHandle& tensor, Stream stream) {
  std::unique_lock lock(mutex_);
  if (tensor.pool != serial_ || !state_->blocks.is_live(tensor.slot, tensor.sequence)) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("tensor pool: tensor {} is not alive in this pool: freed before, or another pool's",
                    tensor.id),
        {.index = tensor.id});
  }
  TensorRecord& record = state_->blocks[tensor.slot];
  TensorPoolMetrics& metrics = state_->metrics;
  ++metrics.deallocations;
  --metrics.live_tensors;
  metrics.live_bytes -= record.live.bytes;
  metrics.live_capacity -= record.capacity;
  if (state_->step_open && record.live.step == state_->step) {
    state_->pattern.freed(block_bytes(record.live.bytes));
    state_->summary.temporaries_alive -= record.temporary ? 1 : 0;
  }
  record.stream = own_stream(stream);
  record.sequence = 0;
  // A block that alone is too much must not drive out all others.
  if (record.capacity > options_.max_retained_bytes) {
    ++metrics.released;
    release(tensor.slot, lock);
    return {};
  }
  state_->blocks.retain(tensor.slot, metrics.allocations);
  release_excess(lock);
  return {};
}

bool TensorMemoryPool::must_release() const {
  const uint32_t oldest = state_->blocks.oldest();
  if (oldest == TensorBlockTable::kNone) return false;
  const uint64_t since = state_->blocks.records()[oldest].retained.since;
  return state_->blocks.retained_bytes() > options_.max_retained_bytes ||
         state_->metrics.allocations - since > options_.stale_after;
}

void TensorMemoryPool::release_excess(std::unique_lock<std::mutex>& lock) {
  while (must_release()) {
    ++state_->metrics.released;
    release_oldest(lock);
  }
}

void TensorMemoryPool::release_oldest(std::unique_lock<std::mutex>& lock) {
  const uint32_t slot = state_->blocks.oldest();
  state_->blocks.take(slot);
  release(slot, lock);
}

// Gives back a block that is in no list. The record goes before the memory does: another thread may be given
// the same address at once.
void TensorMemoryPool::release(uint32_t slot, std::unique_lock<std::mutex>& lock) {
  const TensorRecord record = state_->blocks[slot];
  state_->blocks.remove(slot);
  lock.unlock();
  static_cast<void>(upstream_.deallocate(
      record.data, record.capacity, traits(tensor_size_category(record.capacity)).alignment, record.stream));
  lock.lock();
}

Status TensorMemoryPool::begin_step(Stream stream) {
  stream = own_stream(stream);
  std::unique_lock lock(mutex_);
  if (state_->step_open) return fail(ErrorCode::kInvalidArgument, "tensor pool: a step is open already");
  state_->step_open = true;
  ++state_->step;
  state_->summary = {};
  state_->pattern.begin();
  if (options_.prefetch == StepPrefetch::kOff || !state_->pattern.repeats()) return {};
  const std::vector<SizeCount> peaks = state_->pattern.peaks();
  for (const SizeCount& size : peaks) prefetch(size, stream, lock);
  return {};
}

// With as many blocks of each size as were alive at one time, every tensor of the step finds one of exactly
// its size, unless its list is so long that the search ends before: none takes what another needs.
void TensorMemoryPool::prefetch(const SizeCount& size, Stream stream, std::unique_lock<std::mutex>& lock) {
  const uint64_t kept = state_->blocks.count(size.bytes, stream, size.count);
  for (uint64_t i = kept; i < size.count; ++i) {
    // While another thread releases, more may be kept for a moment than is allowed.
    const uint64_t in_use = std::min(state_->blocks.retained_bytes(), options_.max_retained_bytes);
    if (size.bytes > options_.max_retained_bytes - in_use) return;
    if (!keep_one_more(size.bytes, stream, lock)) return;
    ++state_->metrics.prefetched;
  }
}

Result<StepSummary> TensorMemoryPool::end_step() {
  const std::lock_guard lock(mutex_);
  if (!state_->step_open) return fail(ErrorCode::kInvalidArgument, "tensor pool: no step is open");
  state_->step_open = false;
  state_->pattern.end();
  return state_->summary;
}

std::vector<SizeCount> TensorMemoryPool::learnt_sizes() const {
  const std::lock_guard lock(mutex_);
  return state_->pattern.peaks();
}

uint64_t TensorMemoryPool::trim() {
  std::unique_lock lock(mutex_);
  uint64_t bytes = 0;
  // No more than there are now: other threads may go on freeing.
  for (uint64_t left = state_->blocks.retained_blocks(); left > 0; --left) {
    const uint32_t oldest = state_->blocks.oldest();
    if (oldest == TensorBlockTable::kNone) break;
    bytes += state_->blocks[oldest].capacity;
    ++state_->metrics.trimmed;
    release_oldest(lock);
  }
  state_->blocks.shrink();
  return bytes;
}

std::vector<TensorHandle> TensorMemoryPool::live_tensors() const {
  const std::lock_guard lock(mutex_);
  std::vector<TensorHandle> live;
  const std::vector<TensorRecord>& records = state_->blocks.records();
  for (uint32_t slot = 0; slot < records.size(); ++slot) {
    const TensorRecord& record = records[slot];
    if (record.data == nullptr || record.sequence == 0) continue;
    live.push_back({.id = record.live.id,
                    .data = record.data,
                    .bytes = record.live.bytes,
                    .sequence = record.sequence,
                    .slot = slot,
                    .pool = serial_});
  }
  std::sort(live.begin(), live.end(),
            [](const TensorHandle& a, const TensorHandle& b) { return a.sequence < b.sequence; });
  return live;
}

TensorPoolMetrics TensorMemoryPool::performance_metrics() const {
  const std::lock_guard lock(mutex_);
  TensorPoolMetrics metrics = state_->metrics;
  metrics.retained_bytes = state_->blocks.retained_bytes();
  metrics.retained_blocks = state_->blocks.retained_blocks();
  metrics.mean_allocation_ns = state_->times.mean();
  metrics.p99_allocation_ns = state_->times.percentile(99);
  for (size_t i = 0; i < kTensorSizeCategories; ++i) {
    metrics.categories[i].recent_allocation_ns = recent_ns_[i].load(std::memory_order_relaxed);
  }
  return metrics;
}

}  // namespace lobit
