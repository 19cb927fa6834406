// Which block size wastes least for the sizes that a program asks for. Pure functions on what was recorded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"

namespace lobit {

// How many requests have one size: of a whole trace, or alive at one time.
struct SizeCount {
  size_t bytes = 0;
  uint64_t count = 0;

  friend bool operator==(const SizeCount&, const SizeCount&) = default;
};

// What a BlockPoolResource of one block size would do with the requests, if all were alive at once.
struct BlockSizeCost {
  size_t block_size = 0;       // as it rounds it: to a multiple of 64
  uint64_t blocks = 0;         // that the requests take
  uint64_t asked = 0;          // bytes of the requests
  uint64_t record_bytes = 0;   // of host memory beside the blocks
  uint64_t single_blocks = 0;  // requests that one block holds
  uint64_t requests = 0;

  // The initial_pool_size that holds them all.
  uint64_t pool_bytes() const { return blocks * block_size; }
  // Bytes that nobody asked for: the rests of blocks, and the records.
  uint64_t waste() const { return pool_bytes() - asked + record_bytes; }
  // Share of the blocks that somebody asked for.
  double utilisation() const { return static_cast<double>(asked) / static_cast<double>(pool_bytes()); }
  // Share of the requests that need several neighbouring blocks, so that a pool whose free blocks are
  // scattered may refuse them. 0: the pool cannot fragment.
  double fragmentation_risk() const {
    return 1.0 - static_cast<double>(single_blocks) / static_cast<double>(requests);
  }
};

// kInvalidArgument for a block size of 0 or over 16 MiB, for no requests at all, a request of 0 bytes, or
// sums over 2^63.
LOBIT_API Result<BlockSizeCost> block_size_cost(std::span<const SizeCount> sizes, size_t block_size);

// The block size (a multiple of 64 up to 16 MiB) with the least waste(); of equals, the one with fewer
// blocks. Tries every size that some request fills with 1 to 16 blocks: the waste is least at one of these or
// at smaller ones, which run out of single blocks. Takes time in proportion to the square of the distinct
// sizes.
LOBIT_API Result<BlockSizeCost> block_size_advice(std::span<const SizeCount> sizes);

// The histogram of a trace of sizes, by rising size.
LOBIT_API std::vector<SizeCount> size_histogram(std::span<const size_t> trace);

}  // namespace lobit
