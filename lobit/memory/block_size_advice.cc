#include "lobit/memory/block_size_advice.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "lobit/base/checked.h"
#include "lobit/memory/unit_arena_internal.h"

namespace lobit {
namespace {

constexpr size_t kMostBlocksOfOneRequest = 16;
constexpr uint64_t kRecordBytes = 8;
constexpr uint64_t kMaxSum = std::numeric_limits<int64_t>::max();

// Adds count * value, or says that the sum leaves the range.
bool add_product(uint64_t& sum, uint64_t count, uint64_t value) {
  const auto product = checked_mul<uint64_t>(count, value);
  const auto total = product.has_value() ? checked_add<uint64_t>(sum, *product) : std::nullopt;
  if (!total.has_value() || *total > kMaxSum) return false;
  sum = *total;
  return true;
}

std::vector<size_t> candidates(std::span<const SizeCount> sizes) {
  std::vector<size_t> found;
  for (const SizeCount& size : sizes) {
    for (size_t parts = 1; parts <= kMostBlocksOfOneRequest; ++parts) {
      const size_t part = size.bytes / parts + (size.bytes % parts != 0 ? 1 : 0);
      const auto rounded = checked_round_up(part, kDefaultAlignment);
      if (rounded.has_value() && *rounded > 0 && *rounded <= detail::UnitArena::kMaxUnit) {
        found.push_back(*rounded);
      }
    }
  }
  // Requests beyond 16 of the largest blocks leave no other choice.
  if (found.empty()) found.push_back(detail::UnitArena::kMaxUnit);
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

}  // namespace

Result<BlockSizeCost> block_size_cost(std::span<const SizeCount> sizes, size_t asked_size) {
  if (asked_size == 0 || asked_size > detail::UnitArena::kMaxUnit) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("block size: expected 1 to {} bytes, found {}",
                                                         detail::UnitArena::kMaxUnit, asked_size));
  }
  const size_t block_size = checked_round_up(asked_size, kDefaultAlignment).value();
  BlockSizeCost cost{.block_size = block_size};
  uint64_t pool_bytes = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const auto [bytes, count] = sizes[i];
    const uint64_t blocks = bytes / block_size + (bytes % block_size != 0 ? 1 : 0);
    if (bytes == 0 || !add_product(cost.blocks, count, blocks) || !add_product(cost.asked, count, bytes) ||
        !add_product(cost.requests, count, 1)) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("block size: {} requests of {} bytes, expected sizes over 0 and a sum below 2^63",
                      count, bytes),
          {.index = i});
    }
    if (blocks == 1) cost.single_blocks += count;
  }
  if (cost.requests == 0) {
    return fail(ErrorCode::kInvalidArgument, "block size: no requests to judge by");
  }
  if (!add_product(cost.record_bytes, cost.blocks, kRecordBytes) ||
      !add_product(pool_bytes, cost.blocks, block_size)) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("block size: {} blocks of {} bytes do not fit 2^63 bytes", cost.blocks, block_size));
  }
  return cost;
}

Result<BlockSizeCost> block_size_advice(std::span<const SizeCount> sizes) {
  BlockSizeCost best;
  // From the largest, so that of equals the one with fewer blocks stays.
  const std::vector<size_t> block_sizes = candidates(sizes);
  for (size_t i = block_sizes.size(); i-- > 0;) {
    LOBIT_TRY(const BlockSizeCost cost, block_size_cost(sizes, block_sizes[i]));
    if (best.block_size == 0 || cost.waste() < best.waste()) best = cost;
  }
  return best;
}

std::vector<SizeCount> size_histogram(std::span<const size_t> trace) {
  std::vector<size_t> sorted(trace.begin(), trace.end());
  std::sort(sorted.begin(), sorted.end());
  std::vector<SizeCount> histogram;
  for (const size_t bytes : sorted) {
    if (histogram.empty() || histogram.back().bytes != bytes) histogram.push_back({bytes, 0});
    ++histogram.back().count;
  }
  return histogram;
}

}  // namespace lobit
