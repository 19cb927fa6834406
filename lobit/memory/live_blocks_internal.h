// LiveBlocks: what is allocated, for resources that remember every block beside the memory. Owned by such a
// resource, which locks it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "lobit/base/result.h"
#include "lobit/device/stream.h"
#include "lobit/memory/memory_tag.h"
#include "lobit/memory/usage_count_internal.h"

namespace lobit::detail {

class LiveBlocks {
 public:
  struct Block {
    size_t bytes;      // as asked for
    size_t alignment;  // as asked for
    size_t rounded;    // what it takes
    Stream stream;     // on which it was taken
    uint64_t number;   // 1 for the first that was ever added
    MemoryTag tag;     // of the thread that took it
  };

  // `committed`: what the resource holds from the start, beside these blocks.
  explicit LiveBlocks(uint64_t committed = 0) : count_(committed) {}

  // The new block, whose tag is that of the calling thread. kOutOfMemory, without effect, when there is no
  // room to remember it.
  Result<Block> add(void* pointer, size_t bytes, size_t alignment, size_t rounded, Stream stream);

  // kInvalidArgument, without effect, when no live block begins there or it has other sizes. Remove a block
  // before its memory goes: another thread may be given the same address at once.
  Result<Block> remove(void* pointer, size_t bytes, size_t alignment);

  // Undoes remove() for a block whose memory did not go.
  void restore(void* pointer, const Block& block);

  const std::unordered_map<void*, Block>& blocks() const { return blocks_; }
  // As if memory was committed for each block alone. What the resource hands out and does not remember here
  // is counted here too.
  UsageCount& count() { return count_; }
  const MemoryUsage& usage() const { return count_.usage(); }

 private:
  std::unordered_map<void*, Block> blocks_;
  UsageCount count_;
  uint64_t last_number_ = 0;
};

}  // namespace lobit::detail
