#include <algorithm>
#include <tuple>

#include "lobit/memory/memory_holders_internal.h"

namespace lobit::detail {

uint32_t MemoryHolders::place(uint32_t tag, uint32_t stack) {
  const auto [found, is_new] = places_.try_emplace({tag, stack}, static_cast<uint32_t>(holders_.size()));
  if (is_new) holders_.push_back({.tag = tag, .stack = stack});
  return found->second;
}

std::vector<MemoryHolder> MemoryHolders::sorted() const {
  std::vector<MemoryHolder> holders;
  std::ranges::copy_if(holders_, std::back_inserter(holders),
                       [](const MemoryHolder& holder) { return holder.blocks > 0; });
  std::ranges::sort(holders, [](const MemoryHolder& a, const MemoryHolder& b) {
    return std::tuple(b.bytes, a.tag, a.stack) < std::tuple(a.bytes, b.tag, b.stack);
  });
  return holders;
}

}  // namespace lobit::detail
