// MemoryHolders: what lives by tag and stack. Owned by what draws a profile, which locks it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "lobit/memory/memory_profile.h"

namespace lobit::detail {

class MemoryHolders {
 public:
  // The place of this pair, which is made when it is asked for first: below size().
  uint32_t place(uint32_t tag, uint32_t stack);

  void allocated(uint32_t place, uint64_t bytes, uint64_t blocks = 1) {
    holders_[place].bytes += bytes;
    holders_[place].blocks += blocks;
  }
  void freed(uint32_t place, uint64_t bytes) {
    holders_[place].bytes -= bytes;
    --holders_[place].blocks;
  }

  size_t size() const { return holders_.size(); }
  const MemoryHolder& at(uint32_t place) const { return holders_[place]; }
  // Those that hold something: most bytes first; of equal ones by tag and stack.
  std::vector<MemoryHolder> sorted() const;

 private:
  std::vector<MemoryHolder> holders_;
  // A tree: stacks come from files, and nothing that a stranger writes may make a lookup slow.
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> places_;
};

}  // namespace lobit::detail
