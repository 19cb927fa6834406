#include "lobit/memory/block_compressor.h"

#include <algorithm>
#include <limits>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/dtype/half.h"
#include "lobit/memory/failing_resource.h"
#include "lobit/memory/limiting_resource.h"
#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/system_resource.h"

namespace lobit {
namespace {

using Bytes = std::vector<std::byte>;

constexpr size_t kPage = 4096;
constexpr size_t kChunk = size_t{256} << 10;

Bytes random_bytes(size_t size, uint64_t seed = 1) {
  Random random(seed);
  Bytes bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.next());
  return bytes;
}

// Values of a layer: a sum of uniform numbers, nearly normal, with a deviation of 0.02.
Bytes f16_weights(size_t size, uint64_t seed = 1) {
  Random random(seed);
  Bytes bytes(size);
  for (size_t i = 0; i + 1 < size; i += 2) {
    double sum = -6;
    for (int n = 0; n < 12; ++n) sum += static_cast<double>(random.below(1 << 20)) / (1 << 20);
    const uint16_t half = f32_to_f16(static_cast<float>(0.02 * sum));
    bytes[i] = static_cast<std::byte>(half & 0xFF);
    bytes[i + 1] = static_cast<std::byte>(half >> 8);
  }
  return bytes;
}

// Bytes that zstd shrinks well at every width.
Bytes text(size_t size) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>('a' + i / 3 % 20);
  return bytes;
}

void expect_restores(BlockCompressor& compressor, const CompressedBlock& block, const Bytes& original) {
  Bytes out(original.size(), std::byte{0xA5});
  ASSERT_THAT(compressor.restore(block, out), is_ok());
  EXPECT_TRUE(out == original);
}

uint64_t bytes_of_buffers(const CompressedBlock& block) {
  uint64_t sum = 0;
  for (const Buffer& buffer : block.buffers()) sum += buffer.size();
  return sum;
}

TEST(BlockCompressor, RestoresEverySizeAndWidth) {
  SystemResource memory;
  BlockCompressor compressor(memory, {.least_ratio = 1});
  for (const size_t width : {1U, 2U, 4U, 8U}) {
    for (const size_t size :
         {kPage - 1, kPage, kPage + 1, 3 * kPage + 7, kChunk - 1, kChunk, kChunk + 1, 5 * kChunk + 13}) {
      const Bytes original = text(size);
      const auto block = compressor.compress(original, width);
      ASSERT_THAT(block, is_ok());
      ASSERT_TRUE(block->has_value()) << size;
      EXPECT_EQ((*block)->original_bytes(), size);
      EXPECT_EQ((*block)->element_bytes(), width);
      EXPECT_EQ((*block)->stored_bytes(), bytes_of_buffers(**block));
      expect_restores(compressor, **block, original);
    }
  }
  EXPECT_EQ(memory.usage().allocated, 0u);
}

TEST(BlockCompressor, F16WeightsShrinkAndComeBackBitForBit) {
  SystemResource memory;
  BlockCompressor compressor(memory, {.least_ratio = 1.1});
  const Bytes original = f16_weights(8 * kChunk + 1);
  const auto block = compressor.compress(original, 2);
  ASSERT_THAT(block, is_ok());
  ASSERT_TRUE(block->has_value());
  EXPECT_GT((*block)->ratio(), 1.1);
  expect_restores(compressor, **block, original);
  // Without the shuffle it would not pay.
  const auto unshuffled = compressor.compress(original, 1);
  ASSERT_THAT(unshuffled, is_ok());
  EXPECT_FALSE(unshuffled->has_value());
}

TEST(BlockCompressor, SaysThatRandomBytesDoNotPay) {
  SystemResource memory;
  BlockCompressor compressor(memory);
  uint64_t bytes = 0;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{100}, kPage, kChunk, 8 * kChunk}) {
    const auto block = compressor.compress(random_bytes(size), 2);
    ASSERT_THAT(block, is_ok());
    EXPECT_FALSE(block->has_value()) << size;
    bytes += size;
  }
  const CompressionStatistics s = compressor.statistics();
  EXPECT_EQ(s.skipped_blocks, 6u);
  EXPECT_EQ(s.skipped_bytes, bytes);
  EXPECT_EQ(s.compressed_blocks, 0u);
  EXPECT_EQ(memory.usage().allocated, 0u);
}

TEST(BlockCompressor, StopsAfterTheProbeWhereItDoesNotPay) {
  SystemResource memory;
  FailingResource counting(memory);
  BlockCompressor compressor(counting);
  ASSERT_THAT(compressor.compress(random_bytes(8 * kChunk), 2), is_ok());
  // The scratch alone, no buffer of a chunk.
  EXPECT_EQ(counting.allocations(), 4u);
}

TEST(BlockCompressor, StopsWhereTheProbePromisedTooMuch) {
  SystemResource memory;
  BlockCompressor compressor(memory);
  // The samples, 8 pages at each seventh of the block, are text; all between them is random.
  Bytes block = random_bytes(16 * kChunk);
  const Bytes sample = text(8 * kPage);
  for (size_t run = 0; run < 8; ++run) {
    std::ranges::copy(sample,
                      block.begin() + static_cast<ptrdiff_t>(run * (16 * kChunk / kPage - 8) / 7 * kPage));
  }
  const auto compressed = compressor.compress(block, 1);
  ASSERT_THAT(compressed, is_ok());
  EXPECT_FALSE(compressed->has_value());
  EXPECT_EQ(memory.usage().allocated, 0u);
}

TEST(BlockCompressor, DropsPagesOfZeros) {
  SystemResource memory;
  BlockCompressor compressor(memory);
  const Bytes zeros(4 * kChunk + 5);
  const auto block = compressor.compress(zeros, 4);
  ASSERT_THAT(block, is_ok());
  ASSERT_TRUE(block->has_value());
  EXPECT_EQ((*block)->zero_bytes(), zeros.size());
  EXPECT_EQ((*block)->buffers().size(), 1u);
  EXPECT_EQ((*block)->stored_bytes(), 8 + (4 * kChunk / kPage + 8) / 8);
  expect_restores(compressor, **block, zeros);

  // Random pages with twice as many of zeros between them, and a last page that is not whole.
  Bytes mixed = random_bytes(9 * kChunk + 100);
  for (size_t page = 0; page * kPage < 9 * kChunk; ++page) {
    if (page % 3 != 0) std::fill_n(mixed.begin() + static_cast<ptrdiff_t>(page * kPage), kPage, std::byte{0});
  }
  const auto sparse = compressor.compress(mixed, 2);
  ASSERT_THAT(sparse, is_ok());
  ASSERT_TRUE(sparse->has_value());
  EXPECT_EQ((*sparse)->zero_bytes(), 6 * kChunk);
  EXPECT_EQ((*sparse)->buffers().size(), 5u);
  EXPECT_GT((*sparse)->ratio(), 2.9);
  expect_restores(compressor, **sparse, mixed);
}

TEST(BlockCompressor, APageWithOneByteIsNotZero) {
  SystemResource memory;
  BlockCompressor compressor(memory);
  for (const size_t at : {size_t{0}, kPage - 1, kPage, 2 * kPage + 63, 3 * kPage + 4}) {
    Bytes block(3 * kPage + 5);
    block[at] = std::byte{1};
    const auto compressed = compressor.compress(block, 1);
    ASSERT_THAT(compressed, is_ok());
    ASSERT_TRUE(compressed->has_value());
    EXPECT_EQ((*compressed)->zero_bytes(), block.size() - std::min(kPage, block.size() - at / kPage * kPage));
    expect_restores(compressor, **compressed, block);
  }
}

TEST(BlockCompressor, NoticesAChangeOfAnyStoredByte) {
  SystemResource memory;
  BlockCompressor compressor(memory, {.least_ratio = 1});
  Bytes original = f16_weights(2 * kPage + 3);
  std::fill_n(original.begin(), kPage, std::byte{0});
  const auto block = compressor.compress(original, 2);
  ASSERT_THAT(block, is_ok());
  ASSERT_TRUE(block->has_value());
  ASSERT_EQ((*block)->buffers().size(), 2u);
  Random random(7);
  Bytes out(original.size());
  for (size_t i = 0; i < 2; ++i) {
    for (std::byte& stored : (*block)->buffers()[i].bytes()) {
      const std::byte was = stored;
      for (const std::byte now : {was ^ std::byte{1}, ~was, was ^ std::byte{0x80},
                                  was ^ static_cast<std::byte>(1 + random.below(255))}) {
        stored = now;
        const Status status = compressor.restore(**block, out);
        ASSERT_THAT(status, fails_with(ErrorCode::kCorrupt));
        ASSERT_EQ(status.error().detail.index, i);
      }
      stored = was;
    }
  }
  expect_restores(compressor, **block, original);
  EXPECT_EQ(compressor.statistics().restored_blocks, 1u);
}

TEST(BlockCompressor, TakesNothingWhenAnyAllocationFails) {
  SystemResource memory;
  FailingResource failing(memory);
  BlockCompressor compressor(failing);
  const Bytes original = text(3 * kChunk + 1);
  const auto block = compressor.compress(original, 2);
  ASSERT_THAT(block, is_ok());
  ASSERT_TRUE(block->has_value());
  const uint64_t before = memory.usage().allocated;

  uint64_t failed = 0;
  for (uint64_t number = 1;; ++number) {
    failing.set_plan({.number = number});
    const auto again = compressor.compress(original, 2);
    if (again) break;
    ++failed;
    EXPECT_THAT(again, fails_with(ErrorCode::kOutOfMemory));
    EXPECT_EQ(memory.usage().allocated, before);
  }
  // Four for the scratch, the zero pages, four chunks.
  EXPECT_EQ(failed, 9u);

  Bytes out(original.size());
  failed = 0;
  for (uint64_t number = 1;; ++number) {
    failing.set_plan({.number = number});
    const Status status = compressor.restore(**block, out);
    if (status) break;
    ++failed;
    EXPECT_THAT(status, fails_with(ErrorCode::kOutOfMemory));
    EXPECT_EQ(memory.usage().allocated, before);
  }
  EXPECT_EQ(failed, 3u);
  EXPECT_TRUE(out == original);
}

TEST(BlockCompressor, KeepsTheLimitOfItsMemory) {
  SystemResource memory;
  const Bytes original = f16_weights(12 * kChunk);
  BlockCompressor free(memory, {.least_ratio = 1});
  const auto expected = free.compress(original, 2);
  ASSERT_THAT(expected, is_ok());
  ASSERT_TRUE(expected->has_value());
  // Beside the result the scratch alone, however large the block is.
  LimitingResource limited(memory, (*expected)->stored_bytes() + 6 * kChunk);
  BlockCompressor compressor(limited, {.least_ratio = 1});
  const auto block = compressor.compress(original, 2);
  ASSERT_THAT(block, is_ok());
  ASSERT_TRUE(block->has_value());
  EXPECT_EQ(limited.counted(), (*block)->stored_bytes());
  expect_restores(compressor, **block, original);

  LimitingResource small(memory, 4 * kChunk);
  BlockCompressor cramped(small, {.least_ratio = 1});
  EXPECT_THAT(cramped.compress(original, 2), fails_with(ErrorCode::kLimit));
  EXPECT_EQ(small.counted(), 0u);
}

TEST(BlockCompressor, CountsBytesInAndOut) {
  SystemResource memory;
  BlockCompressor compressor(memory);
  Bytes original = text(2 * kChunk);
  std::fill_n(original.begin(), 3 * kPage, std::byte{0});
  const auto a = compressor.compress(original, 1);
  const auto b = compressor.compress(Bytes(kChunk), 1);
  ASSERT_THAT(a, is_ok());
  ASSERT_THAT(b, is_ok());
  expect_restores(compressor, **a, original);
  const CompressionStatistics s = compressor.statistics();
  EXPECT_EQ(s.compressed_blocks, 2u);
  EXPECT_EQ(s.bytes_in, 3 * kChunk);
  EXPECT_EQ(s.bytes_out, (*a)->stored_bytes() + (*b)->stored_bytes());
  EXPECT_EQ(s.zero_bytes, 3 * kPage + kChunk);
  EXPECT_EQ(s.restored_blocks, 1u);
  EXPECT_EQ(s.restored_bytes, 2 * kChunk);
}

TEST(BlockCompressor, AHigherLevelIsSmallerAndTheLeastRatioDecides) {
  SystemResource memory;
  Random random(3);
  Bytes original(kChunk / 4);
  for (std::byte& b : original) b = static_cast<std::byte>(random.below(4) * random.below(4));
  const auto stored = [&](int level) {
    BlockCompressor compressor(memory, {.level = level});
    const auto block = compressor.compress(original, 1);
    EXPECT_THAT(block, is_ok());
    expect_restores(compressor, **block, original);
    return (*block)->stored_bytes();
  };
  const uint64_t fast = stored(1);
  const uint64_t small = stored(19);
  EXPECT_LT(small, fast);
  for (int level = 2; level < 19; ++level) EXPECT_GT(stored(level), 0u);

  const double ratio = static_cast<double>(original.size()) / static_cast<double>(small);
  for (const double factor : {0.99, 1.01}) {
    BlockCompressor compressor(memory, {.level = 19, .least_ratio = ratio * factor});
    const auto block = compressor.compress(original, 1);
    ASSERT_THAT(block, is_ok());
    EXPECT_EQ(block->has_value(), factor < 1);
  }
}

TEST(BlockCompressor, RefusesArgumentsBeyondTheirRange) {
  SystemResource memory;
  const Bytes block = text(kChunk);
  for (const size_t width : {0U, 3U, 5U, 16U}) {
    EXPECT_THAT(BlockCompressor(memory).compress(block, width), fails_with(ErrorCode::kInvalidArgument));
  }
  for (const int level : {0, 20}) {
    BlockCompressor compressor(memory, {.level = level});
    EXPECT_THAT(compressor.compress(block, 1), fails_with(ErrorCode::kInvalidArgument));
  }
  for (const double ratio : {0.99, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    BlockCompressor compressor(memory, {.least_ratio = ratio});
    EXPECT_THAT(compressor.compress(block, 1), fails_with(ErrorCode::kInvalidArgument));
  }
  BlockCompressor compressor(memory);
  auto compressed = compressor.compress(block, 1);
  ASSERT_THAT(compressed, is_ok());
  Bytes out(block.size() - 1);
  EXPECT_THAT(compressor.restore(**compressed, out), fails_with(ErrorCode::kInvalidArgument));
  out.resize(block.size());
  const CompressedBlock moved = std::move(**compressed);
  EXPECT_THAT(compressor.restore(**compressed, out), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(compressor.restore(moved, out), is_ok());
}

TEST(BlockCompressor, ServesSeveralThreads) {
  SystemResource memory;
  BlockCompressor compressor(memory);
  std::vector<std::jthread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&compressor, t] {
      for (size_t n = 0; n < 4; ++n) {
        const Bytes original = text(kChunk + t * 100 + n);
        const auto block = compressor.compress(original, size_t{1} << t);
        ASSERT_THAT(block, is_ok());
        expect_restores(compressor, **block, original);
      }
    });
  }
  threads.clear();
  EXPECT_EQ(compressor.statistics().restored_blocks, 16u);
}

}  // namespace
}  // namespace lobit
