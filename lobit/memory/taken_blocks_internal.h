// TakenBlocks: what a resource takes from below, from a Backend or another resource, and remembers block by
// block, so that misuse is refused whatever is checked below, and what is left goes back in the end. Any
// number of threads; below is called without a lock held.
#pragma once

#include <mutex>
#include <utility>

#include "lobit/memory/live_blocks_internal.h"

namespace lobit::detail {

template <typename Below>
class TakenBlocks {
 public:
  explicit TakenBlocks(Below& below, uint64_t committed = 0) : below_(below), blocks_(committed) {}
  TakenBlocks(const TakenBlocks&) = delete;
  TakenBlocks& operator=(const TakenBlocks&) = delete;
  ~TakenBlocks() {
    for (const auto& [pointer, block] : blocks_.blocks()) {
      if (below_.deallocate(pointer, block.bytes, block.alignment, block.stream)) continue;
      // Of a stream that was destroyed all work is done.
      static_cast<void>(below_.deallocate(pointer, block.bytes, block.alignment, {}));
    }
  }

  Below& below() const { return below_; }

  // `rounded`: what such a block takes below.
  Result<void*> allocate(size_t bytes, size_t alignment, size_t rounded, Stream stream) {
    LOBIT_TRY(void* pointer, below_.allocate(bytes, alignment, stream));
    Result<LiveBlocks::Block> added = remember(pointer, bytes, alignment, rounded, stream);
    if (added) return pointer;
    static_cast<void>(below_.deallocate(pointer, bytes, alignment, stream));
    return fail(std::move(added).error());
  }

  Status deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) {
    LOBIT_TRY(const LiveBlocks::Block block, forget(pointer, bytes, alignment));
    Status freed = below_.deallocate(pointer, bytes, alignment, stream);
    if (!freed) {
      const std::lock_guard lock(mutex_);
      blocks_.restore(pointer, block);
    }
    return freed;
  }

  // For blocks of the whole resource that are not from below, and whose memory it holds from the start.
  void count_allocated(uint64_t bytes, uint64_t used) {
    const std::lock_guard lock(mutex_);
    blocks_.count().allocated(bytes, used, 0);
  }
  void count_freed(uint64_t bytes, uint64_t used) {
    const std::lock_guard lock(mutex_);
    blocks_.count().freed(bytes, used, 0);
  }
  MemoryUsage usage() const {
    const std::lock_guard lock(mutex_);
    return blocks_.usage();
  }

 private:
  Result<LiveBlocks::Block> remember(void* pointer, size_t bytes, size_t alignment, size_t rounded,
                                     Stream stream) {
    const std::lock_guard lock(mutex_);
    return blocks_.add(pointer, bytes, alignment, rounded, stream);
  }
  Result<LiveBlocks::Block> forget(void* pointer, size_t bytes, size_t alignment) {
    const std::lock_guard lock(mutex_);
    return blocks_.remove(pointer, bytes, alignment);
  }

  Below& below_;
  mutable std::mutex mutex_;
  LiveBlocks blocks_;
};

}  // namespace lobit::detail
