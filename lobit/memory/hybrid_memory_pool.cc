#include "lobit/memory/hybrid_memory_pool.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "lobit/memory/idle_trim.h"
#include "lobit/memory/large_block_pool.h"
#include "lobit/memory/memory_profile.h"
#include "lobit/memory/page_heap.h"
#include "lobit/memory/small_block_pool.h"

namespace lobit {

using detail::FreeResult;
using detail::Growth;
using detail::IdleTrim;
using detail::LargeBlockPool;
using detail::PageHeap;
using detail::Shortage;
using detail::SmallBlockPool;

namespace {

constexpr uint64_t kMostReserved = uint64_t{4} << 40;

// Addresses are free; four times what can be committed keeps fragmentation of addresses away.
uint64_t wanted_addresses(const MemoryPoolOptions& options) {
  const auto physical =
      static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t most = options.limit == kNoLimit ? physical : options.limit;
  const uint64_t wanted = std::max(std::min(most, kMostReserved / 4) * 4, uint64_t{1} << 30);
  return wanted / kHugePageBytes * kHugePageBytes;
}

// Fewer are of no use.
uint64_t least_addresses(const MemoryPoolOptions& options) {
  constexpr uint64_t kLeast = uint64_t{64} << 20;
  return options.limit >= kLeast ? kLeast : (options.limit / kHugePageBytes + 2) * kHugePageBytes;
}

Status check_options(const MemoryPoolOptions& o) {
  const auto bad = [](std::string message, uint64_t required, uint64_t available) {
    return fail(ErrorCode::kInvalidArgument, "pool options: " + std::move(message),
                {.required = required, .available = available});
  };
  for (const auto& [name, size] : {std::pair("small", o.small), std::pair("large", o.large)}) {
    if (size.initial > size.max) {
      return bad(
          fmt::format("{}: initial {} bytes, expected at most its max of {}", name, size.initial, size.max),
          size.initial, size.max);
    }
  }
  const auto initial = checked_add(o.small.initial, o.large.initial);
  if (!initial.has_value() || *initial > o.limit) {
    return bad(fmt::format("initial {} + {} bytes, expected at most the limit of {}", o.small.initial,
                           o.large.initial, o.limit),
               initial.value_or(kNoLimit), o.limit);
  }
  constexpr size_t kMostThreshold = size_t{1} << 30;
  if (o.small_block_threshold < detail::kMaxClassBytes || o.small_block_threshold > kMostThreshold) {
    return bad(fmt::format("small_block_threshold {} bytes, expected {} to {}", o.small_block_threshold,
                           detail::kMaxClassBytes, kMostThreshold),
               o.small_block_threshold, kMostThreshold);
  }
  if (o.limit < detail::kPageBytes) {
    return bad(fmt::format("limit {} bytes, expected at least {}", o.limit, detail::kPageBytes),
               detail::kPageBytes, o.limit);
  }
  constexpr std::chrono::milliseconds kLongestIdle = std::chrono::hours(24);
  if (o.idle_trim < o.idle_trim.zero() || o.idle_trim > kLongestIdle) {
    return bad(fmt::format("idle_trim {} ms, expected 0 to {}", o.idle_trim.count(), kLongestIdle.count()),
               static_cast<uint64_t>(kLongestIdle.count()), static_cast<uint64_t>(o.idle_trim.count()));
  }
  return {};
}

}  // namespace

struct HybridMemoryPool::State {
  MemoryPoolOptions options;
  std::unique_ptr<PageHeap> heap;
  detail::BlockCounts counts;
  std::unique_ptr<SmallBlockPool> small;  // before the heap in destruction
  std::unique_ptr<LargeBlockPool> large;
  std::unique_ptr<IdleTrim> idle_trim;  // before the pools in destruction

  std::mutex mutex;  // never held while the pools or a callback run
  std::map<std::pair<int, ReclaimerId>, std::function<void(const OutOfMemory&)>> reclaimers;
  ReclaimerId next_reclaimer = 1;
  std::function<bool(const OutOfMemory&)> failure_handler;

  bool is_small(size_t bytes) const { return small->kind_of(bytes) == detail::RunKind::kSmall; }
  bool is_cached(size_t bytes, size_t alignment) const {
    return is_small(bytes) || SmallBlockPool::fits_cached_run(bytes, alignment);
  }
  // Runs from the thread's cache, and the large one that was freed last. For any arguments; nullptr and false
  // when it is not that.
  [[gnu::always_inline]] void* take_ready(size_t bytes, size_t alignment) const {
    if (bytes <= detail::kMaxCachedRunBytes) return small->allocate_run_fast(bytes, alignment);
    return bytes >= options.small_block_threshold && small->has_told()
               ? large->allocate_fast(bytes, alignment)
               : nullptr;
  }
  [[gnu::always_inline]] bool give_ready(void* pointer, size_t bytes, size_t alignment) const {
    if (bytes <= detail::kMaxCachedRunBytes) return small->deallocate_run_fast(pointer, bytes, alignment);
    return bytes >= options.small_block_threshold && small->has_told() &&
           large->deallocate(pointer, bytes, alignment) == FreeResult::kFreed;
  }
  // For a valid request. A large block is counted after what this thread did with small ones, so that the
  // peak of one thread's work is exact.
  void* take(size_t bytes, size_t alignment, Shortage* shortage) const {
    if (alignment < kDefaultAlignment) {
      if (void* pointer = small->allocate_fast(bytes); pointer != nullptr) return pointer;
    }
    if (is_cached(bytes, alignment)) return small->allocate(bytes, alignment, shortage);
    small->publish_own();
    void* pointer = large->allocate(bytes, alignment, Growth::kRefused, shortage);
    if (pointer != nullptr || *shortage != Shortage::kGrowth) return pointer;
    small->give_own_runs();
    return large->allocate(bytes, alignment, Growth::kAllowed, shortage);
  }
  FreeResult give(void* pointer, size_t bytes, size_t alignment) const {
    if (alignment < kDefaultAlignment && small->deallocate_fast(pointer, bytes)) return FreeResult::kFreed;
    if (is_cached(bytes, alignment)) return small->deallocate(pointer, bytes, alignment);
    small->publish_own();
    return large->deallocate(pointer, bytes, alignment);
  }
  Status reserve(VirtualMemory& memory);
  Result<void*> take_when_short(size_t bytes, size_t alignment, Shortage shortage);
  OutOfMemory describe(size_t bytes, size_t alignment) const;
  Error out_of_memory(const OutOfMemory& what, Shortage shortage) const;
};

Result<std::unique_ptr<HybridMemoryPool>> HybridMemoryPool::create(const MemoryPoolOptions& options,
                                                                   VirtualMemory& memory) {
  LOBIT_RETURN_IF_ERROR(check_options(options));
  auto state = std::make_unique<State>();
  state->options = options;
  LOBIT_RETURN_IF_ERROR(state->reserve(memory));
  state->large = std::make_unique<LargeBlockPool>(*state->heap, state->counts);
  LOBIT_RETURN_IF_ERROR(state->heap->warm(state->heap->lock(), options.small.initial, options.large.initial));
  if (options.idle_trim != options.idle_trim.zero()) {
    LOBIT_TRY(state->idle_trim, IdleTrim::start(*state->heap, *state->small, options.idle_trim));
  }
  return std::unique_ptr<HybridMemoryPool>(new HybridMemoryPool(std::move(state)));
}

// A process whose address space is limited gets what there is.
Status HybridMemoryPool::State::reserve(VirtualMemory& memory) {
  detail::PageHeapOptions wanted{.reserve_bytes = wanted_addresses(options),
                                 .limit = options.limit,
                                 .keep = options.small.initial + options.large.initial,
                                 .most_small = options.small.max,
                                 .most_large = options.large.max,
                                 .huge_pages = options.huge_pages == HugePages::kWhereTheyFit};
  while (true) {
    auto new_heap = PageHeap::create(memory, wanted);
    if (new_heap) {
      auto new_small = SmallBlockPool::create(memory, **new_heap, counts, options.small_block_threshold);
      if (new_small) {
        heap = std::move(*new_heap);
        small = std::move(*new_small);
        return {};
      }
      if (wanted.reserve_bytes <= least_addresses(options)) return fail(std::move(new_small).error());
    } else if (wanted.reserve_bytes <= least_addresses(options)) {
      return fail(std::move(new_heap).error());
    }
    wanted.reserve_bytes = wanted.reserve_bytes / 2 / kHugePageBytes * kHugePageBytes;
  }
}

HybridMemoryPool::HybridMemoryPool(std::unique_ptr<State> state)
    : state_(std::move(state)), small_(state_->small.get()) {}
HybridMemoryPool::~HybridMemoryPool() = default;

const MemoryPoolOptions& HybridMemoryPool::options() const {
  return state_->options;
}

// The common case first, then runs that are ready, then everything else. Each step takes the same
// arguments in the same places and ends in the next, so that those before the last need no stack.
void* HybridMemoryPool::try_allocate(size_t bytes, size_t alignment) {
  if (alignment != kDefaultAlignment) [[unlikely]]
    return try_allocate_ready(bytes, alignment);
  void* pointer = small_->allocate_fast(bytes);
  if (pointer == nullptr) [[unlikely]]
    return try_allocate_ready(bytes, kDefaultAlignment);
  return pointer;
}

void* HybridMemoryPool::try_allocate_ready(size_t bytes, size_t alignment) {
  void* pointer = state_->take_ready(bytes, alignment);
  if (pointer == nullptr) [[unlikely]]
    return try_allocate_slowly(bytes, alignment);
  return pointer;
}

void* HybridMemoryPool::try_allocate_slowly(size_t bytes, size_t alignment) {
  if (!is_valid_request(bytes, alignment)) return nullptr;
  Shortage shortage = Shortage::kNone;
  void* pointer = state_->take(bytes, alignment, &shortage);
  return pointer != nullptr ? pointer : state_->take_when_short(bytes, alignment, shortage).value_or(nullptr);
}

bool HybridMemoryPool::try_deallocate(void* pointer, size_t bytes, size_t alignment) {
  if (alignment != kDefaultAlignment) [[unlikely]]
    return try_deallocate_ready(pointer, bytes, alignment);
  if (!small_->deallocate_fast(pointer, bytes)) [[unlikely]]
    return try_deallocate_ready(pointer, bytes, kDefaultAlignment);
  return true;
}

bool HybridMemoryPool::try_deallocate_ready(void* pointer, size_t bytes, size_t alignment) {
  if (!state_->give_ready(pointer, bytes, alignment)) [[unlikely]]
    return try_deallocate_slowly(pointer, bytes, alignment);
  return true;
}

bool HybridMemoryPool::try_deallocate_slowly(void* pointer, size_t bytes, size_t alignment) {
  return is_valid_request(bytes, alignment) && state_->give(pointer, bytes, alignment) == FreeResult::kFreed;
}

Result<void*> HybridMemoryPool::do_allocate(size_t bytes, size_t alignment, Stream /*stream*/) {
  void* pointer = alignment == kDefaultAlignment ? small_->allocate_fast(bytes) : nullptr;
  if (pointer == nullptr) [[unlikely]]
    return allocate_ready(bytes, alignment);
  return pointer;
}

Result<void*> HybridMemoryPool::allocate_ready(size_t bytes, size_t alignment) {
  void* pointer = state_->take_ready(bytes, alignment);
  if (pointer == nullptr) [[unlikely]]
    return allocate_slowly(bytes, alignment);
  return pointer;
}

Status HybridMemoryPool::do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream /*stream*/) {
  if (alignment != kDefaultAlignment || !small_->deallocate_fast(pointer, bytes)) [[unlikely]]
    return deallocate_ready(pointer, bytes, alignment);
  Status freed;  // `return {}` would clear the room for an error first
  return freed;
}

Status HybridMemoryPool::deallocate_ready(void* pointer, size_t bytes, size_t alignment) {
  if (!state_->give_ready(pointer, bytes, alignment)) [[unlikely]]
    return deallocate_slowly(pointer, bytes, alignment);
  Status freed;
  return freed;
}
Result<void*> HybridMemoryPool::allocate_slowly(size_t bytes, size_t alignment) {
  if (!is_valid_request(bytes, alignment)) return fail(check_request(bytes, alignment).error());
  Shortage shortage = Shortage::kNone;
  void* pointer = state_->take(bytes, alignment, &shortage);
  if (pointer != nullptr) return pointer;
  return state_->take_when_short(bytes, alignment, shortage);
}

Status HybridMemoryPool::deallocate_slowly(void* pointer, size_t bytes, size_t alignment) {
  Status freed;
  if (!is_valid_request(bytes, alignment)) return check_request(bytes, alignment);
  const FreeResult result = state_->give(pointer, bytes, alignment);
  if (result == FreeResult::kFreed) return freed;
  if (result == FreeResult::kNoCache) {
    return fail(ErrorCode::kOutOfMemory, "deallocate: the system refused memory for this thread's cache");
  }
  const char* why = result == FreeResult::kForeign ? "no block of this pool begins there"
                    : result == FreeResult::kNotLive
                        ? "the block is free already"
                        : "the block was asked for with another size or alignment";
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("deallocate: {} bytes aligned to {}: {}", bytes, alignment, why),
              {.required = bytes});
}

size_t HybridMemoryPool::do_trim() {
  state_->small->drain();
  return state_->heap->trim(state_->heap->lock());
}

TrimResult HybridMemoryPool::do_trim_within(const TimeBudget& budget) {
  state_->small->drain();
  TrimResult result;
  PageHeap::TrimRound round;
  while (true) {
    result.bytes += state_->heap->trim_part(state_->heap->lock(), round);
    result.finished = round.is_over();
    if (result.finished || budget.is_spent()) return result;
    std::this_thread::yield();  // to those who wait for the lock
  }
}

// A slab's blocks are not moved: see movable_block_pool.h.
void* HybridMemoryPool::do_allocate_below(const void* block, size_t bytes, size_t alignment,
                                          Stream /*stream*/) {
  if (!is_valid_request(bytes, alignment) || SmallBlockPool::fits_slab(bytes, alignment)) return nullptr;
  if (state_->is_cached(bytes, alignment)) return state_->small->allocate_below(block, bytes, alignment);
  state_->small->publish_own();
  return state_->large->allocate_below(block, bytes, alignment);
}

std::optional<MemoryFragmentation> HybridMemoryPool::do_fragmentation() const {
  const MemoryUsage usage = do_usage();
  const PageHeap::FreeCommitted free = state_->heap->free_committed(state_->heap->lock());
  return MemoryFragmentation{.committed = usage.committed,
                             .requested = usage.allocated,
                             .rounding = usage.used - std::min(usage.used, usage.allocated),
                             .free = usage.committed - std::min(usage.committed, usage.used),
                             .largest_free = free.largest,
                             .free_pieces = free.runs};
}

MemoryUsage HybridMemoryPool::do_usage() const {
  MemoryUsage usage;
  {
    // A kept run is nobody's.
    const PageHeap::Lock lock = state_->heap->lock();
    state_->heap->give_kept(lock);
  }
  usage.used = state_->small->publish_all();
  const detail::BlockCounts& counts = state_->counts;
  usage.allocated = counts.live();
  usage.peak_allocated = static_cast<uint64_t>(counts.most_bytes.load(std::memory_order_relaxed));
  usage.allocations = counts.allocations.load(std::memory_order_relaxed) +
                      counts.large_allocations.load(std::memory_order_relaxed);
  usage.deallocations = counts.deallocations.load(std::memory_order_relaxed) +
                        counts.large_deallocations.load(std::memory_order_relaxed);
  const PageHeap::Lock lock = state_->heap->lock();
  usage.committed = state_->heap->committed(lock);
  usage.peak_committed = state_->heap->peak_committed(lock);
  return usage;
}

uint64_t HybridMemoryPool::held_bytes() const {
  return state_->heap->held_bytes();
}

uint64_t HybridMemoryPool::metadata_bytes() const {
  const uint64_t small = state_->small->metadata_bytes();
  return small + state_->heap->metadata_bytes(state_->heap->lock());
}

uint64_t HybridMemoryPool::largest_free_block() const {
  const PageHeap::Lock lock = state_->heap->lock();
  const uint64_t longest = uint64_t{state_->heap->largest_free(lock)} * detail::kPageBytes;
  const uint64_t room = state_->options.limit - state_->heap->committed(lock);
  const uint64_t free = state_->heap->free_committed(lock).bytes;
  const uint64_t most = std::min(longest, room > kNoLimit - free ? kNoLimit : room + free);
  const uint64_t most_small = std::min<uint64_t>(state_->heap->room_for(detail::RunKind::kSmall),
                                                 state_->options.small_block_threshold - 1);
  return std::min(most, std::max(most_small, state_->heap->room_for(detail::RunKind::kLarge)));
}

HybridMemoryPool::ReclaimerId HybridMemoryPool::add_reclaimer(Reclaimer reclaimer) {
  const std::lock_guard lock(state_->mutex);
  const ReclaimerId id = state_->next_reclaimer++;
  state_->reclaimers.emplace(std::pair(reclaimer.priority, id), std::move(reclaimer.reclaim));
  return id;
}

void HybridMemoryPool::remove_reclaimer(ReclaimerId id) {
  const std::lock_guard lock(state_->mutex);
  std::erase_if(state_->reclaimers, [&](const auto& entry) { return entry.first.second == id; });
}

void HybridMemoryPool::set_failure_handler(std::function<bool(const OutOfMemory&)> handler) {
  const std::lock_guard lock(state_->mutex);
  state_->failure_handler = std::move(handler);
}

// What costs least first. A failure of the large or small pool's own limit is not helped by trimming, but by
// emptying caches it may be.
Result<void*> HybridMemoryPool::State::take_when_short(size_t bytes, size_t alignment, Shortage shortage) {
  small->drain();
  if (void* pointer = take(bytes, alignment, &shortage); pointer != nullptr) return pointer;
  heap->trim(heap->lock());
  // A slab may be too long for what is left.
  const auto attempt = [&]() -> void* {
    void* pointer = take(bytes, alignment, &shortage);
    if (pointer == nullptr && bytes <= detail::kMaxClassBytes) {
      pointer = small->allocate_alone(bytes, alignment, &shortage);
    }
    return pointer;
  };
  if (void* pointer = attempt(); pointer != nullptr) return pointer;

  decltype(reclaimers) asked;
  std::function<bool(const OutOfMemory&)> handler;
  {
    const std::lock_guard lock(mutex);
    asked = reclaimers;
    handler = failure_handler;
  }
  const auto again = [&]() -> void* {
    small->drain();
    return attempt();
  };
  for (const auto& [key, reclaim] : asked) {
    try {
      reclaim(describe(bytes, alignment));
    } catch (...) {
      continue;
    }
    if (void* pointer = again(); pointer != nullptr) return pointer;
  }
  while (handler) {
    try {
      if (!handler(describe(bytes, alignment))) break;
    } catch (...) {
      break;
    }
    if (void* pointer = again(); pointer != nullptr) return pointer;
  }
  return fail(out_of_memory(describe(bytes, alignment), shortage));
}

OutOfMemory HybridMemoryPool::State::describe(size_t bytes, size_t alignment) const {
  small->publish_all();
  const PageHeap::Lock lock = heap->lock();
  const PageHeap::FreeCommitted free = heap->free_committed(lock);
  return {.bytes = bytes,
          .alignment = alignment,
          .limit = options.limit,
          .committed = heap->committed(lock),
          .allocated = counts.live(),
          .free_bytes = free.bytes,
          .largest_free_block = free.largest,
          .free_blocks = free.runs};
}

Error HybridMemoryPool::State::out_of_memory(const OutOfMemory& what, Shortage shortage) const {
  ErrorCode code = ErrorCode::kOutOfMemory;
  std::string why;
  uint64_t available = what.largest_free_block;
  if (shortage == Shortage::kPoolLimit) {
    const bool is_of_small = is_small(what.bytes);
    const uint64_t most = is_of_small ? options.small.max : options.large.max;
    const uint64_t held = is_of_small ? small->held_bytes() : heap->held_bytes(detail::RunKind::kLarge);
    code = ErrorCode::kLimit;
    available = most > held ? most - held : 0;
    why = fmt::format("the {} pool may hold {} bytes and holds {}", is_of_small ? "small" : "large", most,
                      held);
  } else if (shortage == Shortage::kLimit || what.bytes > what.limit) {
    code = ErrorCode::kLimit;
    available = what.limit - what.committed + what.free_bytes;
    why = fmt::format("the limit is {} bytes", what.limit);
  } else if (shortage == Shortage::kAddressSpace) {
    why = "no range of the pool's addresses is long enough";
  } else {
    why = "the system refused more";
  }
  return {
      .code = code,
      .message = fmt::format("allocate: {} bytes aligned to {}: {}; {} committed, {} of them in live blocks, "
                             "{} free in {} pieces, the largest of {}",
                             what.bytes, what.alignment, why, what.committed, what.allocated, what.free_bytes,
                             what.free_blocks, what.largest_free_block),
      .detail = {.required = what.bytes, .available = available}};
}

}  // namespace lobit
