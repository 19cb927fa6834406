// For tests alone (not installed): random numbers that are the same everywhere, and live blocks that are
// watched.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <map>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/memory/memory_resource.h"

namespace lobit {

// SplitMix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t x = state_ += 0x9E3779B97F4A7C15U;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31);
  }
  // In [0, bound), bound >= 1; near enough to uniform for tests.
  uint64_t below(uint64_t bound) { return next() % bound; }
  // In [1, max]: every power of two is as likely as the others, and often one is hit, or missed by one.
  size_t size(size_t max) {
    const size_t power = size_t{1} << below(static_cast<uint64_t>(std::bit_width(max)));
    switch (below(8)) {
      case 0:
        return power;
      case 1:
        return std::min(power + 1, max);
      default:
        return std::min(power + below(power), max);
    }
  }

 private:
  uint64_t state_;
};

// Calls visit(position, byte that belongs there) for all of a small block, and the ends and one place in
// every 512 bytes of a large one.
template <typename Visit>
void for_pattern(size_t bytes, uint64_t seed, Visit visit) {
  constexpr size_t kEnds = 1024;
  for (size_t at = 0; at < bytes; ++at) {
    if (at >= kEnds && at + kEnds < bytes) at = std::min(at + 511, bytes - kEnds);
    visit(at, static_cast<unsigned char>((seed >> (at % 7 * 8)) + at));
  }
}

inline void fill_pattern(void* block, size_t bytes, uint64_t seed) {
  auto* to = static_cast<unsigned char*>(block);
  for_pattern(bytes, seed, [to](size_t at, unsigned char value) { to[at] = value; });
}

inline bool holds_pattern(const void* block, size_t bytes, uint64_t seed) {
  const auto* from = static_cast<const unsigned char*>(block);
  bool equal = true;
  for_pattern(bytes, seed, [&](size_t at, unsigned char value) { equal &= from[at] == value; });
  return equal;
}

// Live blocks of a resource, each with a content of its own. Fails the test when a block is misaligned,
// overlaps another one, loses its content or is not taken back. Frees what is left. One thread.
class CheckedBlocks {
 public:
  explicit CheckedBlocks(MemoryResource& resource, uint64_t seed = 1) : resource_(&resource), random_(seed) {}
  ~CheckedBlocks() { free_all(); }
  CheckedBlocks(const CheckedBlocks&) = delete;
  CheckedBlocks& operator=(const CheckedBlocks&) = delete;

  // The block, or nullptr when the resource refuses, which the caller judges by error().
  void* add(size_t bytes, size_t alignment = kDefaultAlignment) {
    Result<void*> pointer = resource_->allocate(bytes, alignment);
    if (!pointer) {
      error_ = pointer.error();
      return nullptr;
    }
    const auto begin = reinterpret_cast<uintptr_t>(*pointer);
    EXPECT_NE(begin, 0u);
    EXPECT_EQ(begin % alignment, 0u) << bytes << " bytes aligned to " << alignment;
    const auto [it, is_new] = blocks_.emplace(begin, Block{bytes, alignment, random_.next()});
    EXPECT_TRUE(is_new) << "a live block was handed out again";
    if (it != blocks_.begin()) {
      EXPECT_LE(std::prev(it)->first + std::prev(it)->second.bytes, begin);
    }
    if (std::next(it) != blocks_.end()) {
      EXPECT_LE(begin + bytes, std::next(it)->first);
    }
    fill_pattern(*pointer, bytes, it->second.seed);
    live_bytes_ += bytes;
    peak_bytes_ = std::max(peak_bytes_, live_bytes_);
    ++allocations_;
    return *pointer;
  }

  // Frees the block that begins at `pointer`.
  void free(void* pointer) { free(blocks_.find(reinterpret_cast<uintptr_t>(pointer))); }
  // Frees one at or after a random place in the address space that is in use.
  void free_random(Random& random) {
    const uintptr_t first = blocks_.begin()->first;
    const uintptr_t span = std::prev(blocks_.end())->first - first;
    free(blocks_.lower_bound(first + random.below(span + 1)));
  }
  void free_all() {
    while (!blocks_.empty()) free(blocks_.begin());
  }

  void expect_contents() const {
    for (const auto& [begin, block] : blocks_) {
      EXPECT_TRUE(holds_pattern(reinterpret_cast<const void*>(begin), block.bytes, block.seed));
    }
  }

  // That the resource, which holds nothing else, counts what is here.
  void expect_usage() const {
    const MemoryUsage usage = resource_->usage();
    EXPECT_EQ(usage.allocated, live_bytes_);
    EXPECT_EQ(usage.peak_allocated, peak_bytes_);
    EXPECT_EQ(usage.allocations, allocations_);
    EXPECT_EQ(usage.deallocations, allocations_ - blocks_.size());
    EXPECT_GE(usage.used, usage.allocated);
    EXPECT_GE(usage.committed, usage.used);
    EXPECT_GE(usage.peak_committed, usage.committed);
  }

  bool empty() const { return blocks_.empty(); }
  size_t count() const { return blocks_.size(); }
  uint64_t live_bytes() const { return live_bytes_; }
  const Error& error() const { return error_; }

 private:
  struct Block {
    size_t bytes;
    size_t alignment;
    uint64_t seed;
  };
  using Map = std::map<uintptr_t, Block>;

  void free(Map::iterator it) {
    ASSERT_NE(it, blocks_.end());
    auto* pointer = reinterpret_cast<void*>(it->first);
    const Block block = it->second;
    blocks_.erase(it);
    live_bytes_ -= block.bytes;
    EXPECT_TRUE(holds_pattern(pointer, block.bytes, block.seed)) << block.bytes << " bytes changed";
    EXPECT_THAT(resource_->deallocate(pointer, block.bytes, block.alignment), is_ok());
  }

  MemoryResource* resource_;
  Random random_;
  Map blocks_;
  uint64_t live_bytes_ = 0;
  uint64_t peak_bytes_ = 0;
  uint64_t allocations_ = 0;
  Error error_;
};

}  // namespace lobit
