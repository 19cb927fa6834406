#include "lobit/memory/movable_block_pool.h"

#include <atomic>
#include <map>
#include <mutex>
#include <new>

#include <fmt/format.h>

#include "lobit/device/backend.h"
#include "lobit/memory/memory_profile.h"

namespace lobit {

namespace detail {

// `state` is the number of pins and two flags. Who brings it to 0 frees the block; nobody else touches the
// record after giving up its own share of it.
struct MovableRecord {
  static constexpr uint32_t kHeld = uint32_t{1} << 31;    // there is a handle
  static constexpr uint32_t kMoving = uint32_t{1} << 30;  // only without pins

  std::shared_ptr<MovableBlockTable> table;
  std::byte* data;  // changes while kMoving alone
  size_t bytes;
  size_t alignment;
  std::atomic<uint32_t> state;
  uint64_t moved_in = 0;  // the round of compaction that moved it last; under the table's lock
};

// The blocks of a pool in the order of their addresses. It lives until the last of them is gone.
class MovableBlockTable : public std::enable_shared_from_this<MovableBlockTable> {
 public:
  MovableBlockTable(MemoryResource& upstream, Backend& backend) : upstream_(upstream), backend_(backend) {}

  Result<MovableRecord*> allocate(size_t bytes, size_t alignment);
  static void pin(MovableRecord& record);
  static void unpin(MovableRecord& record);
  static void release_handle(MovableRecord& record);
  CompactionResult compact(const TimeBudget& budget);

  std::pair<uint64_t, uint64_t> live() const {
    const std::lock_guard lock(mutex_);
    return {blocks_.size(), live_bytes_};
  }
  MemoryResource& upstream() const { return upstream_; }

 private:
  MovableRecord* claim_below(const std::byte* below, uint64_t round);
  bool move_down(MovableRecord& record, uint64_t round);
  bool copy(void* to, const void* from, size_t bytes);
  void end_move(MovableRecord& record);
  static void free(MovableRecord& record);

  MemoryResource& upstream_;
  Backend& backend_;
  mutable std::mutex mutex_;  // never held while the resource below works or a block is copied
  std::map<const std::byte*, MovableRecord*> blocks_;
  uint64_t live_bytes_ = 0;
  // Where a compaction that ran out of time goes on: below that address; nullptr is above all.
  const std::byte* resume_below_ = nullptr;
  uint64_t round_ = 0;  // of compaction, which may take several calls
  // Who waits for a move waits here, and not at a record, which may be gone when it is woken.
  std::atomic<uint32_t> moves_ended_{0};
};

Result<MovableRecord*> MovableBlockTable::allocate(size_t bytes, size_t alignment) {
  auto record = std::make_unique<MovableRecord>();
  record->table = shared_from_this();
  record->bytes = bytes;
  record->alignment = alignment;
  record->state.store(MovableRecord::kHeld, std::memory_order_relaxed);
  LOBIT_TRY(void* const data, upstream_.allocate(bytes, alignment));
  record->data = static_cast<std::byte*>(data);
  try {
    const std::lock_guard lock(mutex_);
    blocks_.emplace(record->data, record.get());
    live_bytes_ += bytes;
  } catch (const std::bad_alloc&) {
    static_cast<void>(upstream_.deallocate(data, bytes, alignment));
    return fail(ErrorCode::kOutOfMemory,
                fmt::format("movable blocks: no memory to remember a block of {} bytes", bytes),
                {.required = sizeof(MovableRecord)});
  }
  return record.release();
}

void MovableBlockTable::pin(MovableRecord& record) {
  uint32_t state = record.state.load(std::memory_order_relaxed);
  while (true) {
    if ((state & MovableRecord::kMoving) != 0) {
      std::atomic<uint32_t>& moves_ended = record.table->moves_ended_;
      const uint32_t ended = moves_ended.load(std::memory_order_acquire);
      state = record.state.load(std::memory_order_relaxed);
      if ((state & MovableRecord::kMoving) != 0) moves_ended.wait(ended, std::memory_order_acquire);
      state = record.state.load(std::memory_order_relaxed);
    } else if (record.state.compare_exchange_weak(state, state + 1, std::memory_order_acquire,
                                                  std::memory_order_relaxed)) {
      return;
    }
  }
}

void MovableBlockTable::unpin(MovableRecord& record) {
  if (record.state.fetch_sub(1, std::memory_order_acq_rel) == 1) free(record);
}

void MovableBlockTable::release_handle(MovableRecord& record) {
  const uint32_t before = record.state.fetch_and(~MovableRecord::kHeld, std::memory_order_acq_rel);
  if (before == MovableRecord::kHeld) free(record);
}

// The record goes before the memory does: another thread may be given the same address at once.
void MovableBlockTable::free(MovableRecord& record) {
  const std::shared_ptr<MovableBlockTable> table = record.table;
  {
    const std::lock_guard lock(table->mutex_);
    table->blocks_.erase(record.data);
    table->live_bytes_ -= record.bytes;
  }
  static_cast<void>(table->upstream_.deallocate(record.data, record.bytes, record.alignment));
  delete &record;
}

CompactionResult MovableBlockTable::compact(const TimeBudget& budget) {
  CompactionResult result;
  const std::optional<MemoryFragmentation> before = upstream_.fragmentation();
  const std::byte* below = nullptr;
  uint64_t round = 0;
  {
    const std::lock_guard lock(mutex_);
    below = std::exchange(resume_below_, nullptr);
    round = below == nullptr ? ++round_ : round_;
  }
  while (MovableRecord* const record = claim_below(below, round)) {
    below = record->data;
    const size_t bytes = record->bytes;
    if (move_down(*record, round)) {
      ++result.moved_blocks;
      result.moved_bytes += bytes;
    }
    if (budget.is_spent()) {
      result.finished = false;
      const std::lock_guard lock(mutex_);
      resume_below_ = below;
      break;
    }
  }
  const std::optional<MemoryFragmentation> after = upstream_.fragmentation();
  if (before && after) {
    result.largest_free_growth =
        static_cast<int64_t>(after->largest_free) - static_cast<int64_t>(before->largest_free);
  }
  return result;
}

// The highest block there that has a handle and no pins, and was not moved there in this round; from now on
// nobody pins or frees it. nullptr when there is none.
MovableRecord* MovableBlockTable::claim_below(const std::byte* below, uint64_t round) {
  const std::lock_guard lock(mutex_);
  auto it = below == nullptr ? blocks_.end() : blocks_.lower_bound(below);
  while (it != blocks_.begin()) {
    --it;
    if (it->second->moved_in == round) continue;
    uint32_t held = MovableRecord::kHeld;
    if (it->second->state.compare_exchange_strong(held, MovableRecord::kHeld | MovableRecord::kMoving,
                                                  std::memory_order_acquire, std::memory_order_relaxed)) {
      return it->second;
    }
  }
  return nullptr;
}

bool MovableBlockTable::move_down(MovableRecord& record, uint64_t round) {
  std::byte* const old = record.data;
  const size_t bytes = record.bytes;
  const size_t alignment = record.alignment;
  void* free_block = upstream_.allocate_below(old, bytes, alignment);
  const bool moved = free_block != nullptr && copy(free_block, old, bytes);
  if (moved) {
    const std::lock_guard lock(mutex_);
    auto node = blocks_.extract(old);
    record.data = static_cast<std::byte*>(free_block);
    record.moved_in = round;
    node.key() = record.data;
    blocks_.insert(std::move(node));
    free_block = old;
  }
  end_move(record);
  if (free_block != nullptr) static_cast<void>(upstream_.deallocate(free_block, bytes, alignment));
  return moved;
}

bool MovableBlockTable::copy(void* to, const void* from, size_t bytes) {
  const Stream stream;
  return backend_.copy(to, from, bytes, CopyKind::kDeviceToDevice, stream).has_value() &&
         backend_.synchronize(stream).has_value();
}

// Where the handle went meanwhile, the block goes now.
void MovableBlockTable::end_move(MovableRecord& record) {
  const uint32_t before = record.state.fetch_and(~MovableRecord::kMoving, std::memory_order_acq_rel);
  if (before == MovableRecord::kMoving) free(record);
  moves_ended_.fetch_add(1, std::memory_order_release);
  moves_ended_.notify_all();
}

}  // namespace detail

using detail::MovableBlockTable;

BlockPin::~BlockPin() {
  if (record_ != nullptr) MovableBlockTable::unpin(*record_);
}

std::byte* BlockPin::data() const {
  return record_ != nullptr ? record_->data : nullptr;
}

size_t BlockPin::size() const {
  return record_ != nullptr ? record_->bytes : 0;
}

MovableBlock::~MovableBlock() {
  if (record_ != nullptr) MovableBlockTable::release_handle(*record_);
}

BlockPin MovableBlock::pin() const {
  if (record_ != nullptr) MovableBlockTable::pin(*record_);
  return BlockPin(record_);
}

size_t MovableBlock::size() const {
  return record_ != nullptr ? record_->bytes : 0;
}

MovableBlockPool::MovableBlockPool(std::shared_ptr<MovableBlockTable> table) : table_(std::move(table)) {}
MovableBlockPool::~MovableBlockPool() = default;

Result<std::unique_ptr<MovableBlockPool>> MovableBlockPool::create(MemoryResource& upstream) {
  LOBIT_TRY(Backend* const copier, backend(upstream.device()));
  return std::unique_ptr<MovableBlockPool>(
      new MovableBlockPool(std::make_shared<MovableBlockTable>(upstream, *copier)));
}

Result<MovableBlock> MovableBlockPool::allocate(size_t bytes, size_t alignment) {
  LOBIT_TRY(detail::MovableRecord* const record, table_->allocate(bytes, alignment));
  return MovableBlock(record);
}

CompactionResult MovableBlockPool::compact(const TimeBudget& budget) {
  return table_->compact(budget);
}

uint64_t MovableBlockPool::live_blocks() const {
  return table_->live().first;
}

uint64_t MovableBlockPool::live_bytes() const {
  return table_->live().second;
}

MemoryResource& MovableBlockPool::upstream() const {
  return table_->upstream();
}

}  // namespace lobit
