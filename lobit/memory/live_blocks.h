// LiveBlocks: what is allocated, for resources that remember every block beside the memory. Owned by such a
// resource, which locks it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "lobit/base/export.h"
#include "lobit/memory/memory_resource.h"

namespace lobit::detail {

class LOBIT_API LiveBlocks {
 public:
  struct Block {
    size_t bytes;      // as asked for
    size_t alignment;  // as asked for
    size_t rounded;    // what it takes
    uint64_t number;   // 1 for the first that was ever added
  };

  // Its number. kOutOfMemory, without effect, when there is no room to remember it.
  Result<uint64_t> add(void* pointer, size_t bytes, size_t alignment, size_t rounded);

  // kInvalidArgument, without effect, when no live block begins there or it has other sizes. Remove a block
  // before its memory goes: another thread may be given the same address at once.
  Result<Block> remove(void* pointer, size_t bytes, size_t alignment);

  const std::unordered_map<void*, Block>& blocks() const { return blocks_; }
  // As if memory was committed for each block alone.
  const MemoryUsage& usage() const { return usage_; }

 private:
  std::unordered_map<void*, Block> blocks_;
  MemoryUsage usage_;
};

}  // namespace lobit::detail
