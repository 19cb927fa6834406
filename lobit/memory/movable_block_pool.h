// MovableBlockPool: blocks of a memory resource that may be moved together. A block is reached through its
// handle: pin() gives its address, which holds as long as the pin lives. compact() moves blocks that nobody
// has pinned to lower addresses, the highest first, and their content with them.
//
// What this buys: free memory in long pieces, where a long block has room without growth, and cheap trimming.
// Scattered free memory goes back to the system, too, but by splitting huge pages, which takes hundreds of
// times longer and leaves what lives without them.
//
// A block lives as long as its handle or any of its pins, whichever goes last: destroying the handle of a
// pinned block, or the pool before its blocks, takes memory from nobody. The resource must outlive them all.
// Any thread may call anything, while others compact; a handle itself belongs to one thread at a time, but
// any number of them may pin it and keep their pins. pin() waits while its block is being moved, which takes
// as long as copying it; nothing else waits for a compaction.
//
// Moving makes sense before memory is trimmed: blocks go only where memory is committed already, and while
// one is copied it counts twice. Of a HybridMemoryPool, blocks of up to 32 KiB stay where they are: they lie
// in slabs, of which the pool hands out the block that the thread freed last, wherever it is, so that asking
// for a lower one moved one block in a hundred and gave back one hundredth of what the slabs held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "lobit/base/export.h"
#include "lobit/memory/memory_resource.h"

namespace lobit {

namespace detail {
class MovableBlockTable;
struct MovableRecord;
}  // namespace detail

// Keeps a block where it is. Movable, not copyable: another pin() is another pin.
class LOBIT_API BlockPin {
 public:
  BlockPin() = default;
  BlockPin(BlockPin&& other) noexcept : record_(std::exchange(other.record_, nullptr)) {}
  BlockPin& operator=(BlockPin&& other) noexcept {
    BlockPin(std::move(other)).swap(*this);
    return *this;
  }
  ~BlockPin();

  std::byte* data() const;  // nullptr of an empty pin
  size_t size() const;
  bool empty() const { return record_ == nullptr; }
  std::span<std::byte> bytes() const { return {data(), size()}; }
  void swap(BlockPin& other) noexcept { std::swap(record_, other.record_); }

 private:
  friend class MovableBlock;
  explicit BlockPin(detail::MovableRecord* record) : record_(record) {}
  detail::MovableRecord* record_ = nullptr;
};

// The handle of a block; frees it when it goes, unless it is pinned: then the last pin does. Movable, not
// copyable.
class LOBIT_API MovableBlock {
 public:
  MovableBlock() = default;
  MovableBlock(MovableBlock&& other) noexcept : record_(std::exchange(other.record_, nullptr)) {}
  MovableBlock& operator=(MovableBlock&& other) noexcept {
    MovableBlock(std::move(other)).swap(*this);
    return *this;
  }
  ~MovableBlock();

  // An empty block gives an empty pin.
  BlockPin pin() const;
  size_t size() const;
  bool empty() const { return record_ == nullptr; }
  void swap(MovableBlock& other) noexcept { std::swap(record_, other.record_); }

 private:
  friend class MovableBlockPool;
  explicit MovableBlock(detail::MovableRecord* record) : record_(record) {}
  detail::MovableRecord* record_ = nullptr;
};

struct CompactionResult {
  uint64_t moved_blocks = 0;
  uint64_t moved_bytes = 0;
  // By how much the largest free piece of the resource below grew, in bytes (what others did meanwhile
  // included); empty when it does not know its pieces.
  std::optional<int64_t> largest_free_growth = std::nullopt;
  bool finished = true;  // false: the time was up; the next compaction goes on from there
};

class LOBIT_API MovableBlockPool {
 public:
  // The errors of backend() for the resource's device, which copies the blocks.
  static Result<std::unique_ptr<MovableBlockPool>> create(MemoryResource& upstream);
  ~MovableBlockPool();
  MovableBlockPool(const MovableBlockPool&) = delete;
  MovableBlockPool& operator=(const MovableBlockPool&) = delete;

  // The errors of MemoryResource::allocate. The content is undefined.
  Result<MovableBlock> allocate(size_t bytes, size_t alignment = kDefaultAlignment);

  // Looks at each block once, from the highest address downwards, and stops after the one at which the time
  // was up. Blocks that are pinned, or for which there is no room below, stay.
  CompactionResult compact(const TimeBudget& budget);

  // Blocks that have a handle or a pin.
  uint64_t live_blocks() const;
  uint64_t live_bytes() const;

  MemoryResource& upstream() const;
  Device device() const { return upstream().device(); }

 private:
  explicit MovableBlockPool(std::shared_ptr<detail::MovableBlockTable> table);
  std::shared_ptr<detail::MovableBlockTable> table_;  // shared with its blocks
};

}  // namespace lobit
