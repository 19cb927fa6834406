#include "lobit/convert/workers.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/convert/budget.h"
#include "lobit/memory/statistics_resource.h"

namespace lobit {
namespace {

constexpr uint64_t kHeld = 10'000;
constexpr uint64_t kUsual = 1 << 20;
constexpr uint64_t kLeast = 64 << 10;
constexpr uint64_t kThread = 64 << 10;  // what a thread counts besides its buffer

WorkersSpec spec(uint64_t limit, size_t threads) {
  return {
      .held = kHeld, .memory_limit = limit, .threads = threads, .usual_bytes = kUsual, .least_bytes = kLeast};
}

TEST(Workers, WithoutALimitEveryThreadHasTheUsualBuffer) {
  auto workers = Workers::create(spec(0, 3));
  ASSERT_THAT(workers, is_ok());
  EXPECT_EQ(workers->threads.size(), 3u);
  ASSERT_EQ(workers->buffers.size(), 3u);
  EXPECT_EQ(workers->buffers[2].size(), kUsual);
  EXPECT_EQ(workers->buffer_bytes(), 3 * kUsual);
  EXPECT_TRUE(workers->table.empty());
  auto usual = Workers::create(spec(0, 0));
  ASSERT_THAT(usual, is_ok());
  EXPECT_EQ(usual->threads.size(), ThreadPool::default_threads());
}

TEST(Workers, StayWithinTheLimit) {
  const auto refused = Workers::create(spec(1, 4));
  ASSERT_THAT(refused, fails_with(ErrorCode::kLimit));
  const uint64_t least = refused.error().detail.required.value();
  EXPECT_THAT(Workers::create(spec(least - 1, 4)), fails_with(ErrorCode::kLimit));
  const uint64_t fixed = least - kThread - kLeast;
  size_t before = 0;
  for (uint64_t limit = least; limit < kHeld + 6 * (kUsual + kThread); limit += 30'011) {
    auto workers = Workers::create(spec(limit, 4));
    ASSERT_THAT(workers, is_ok());
    const size_t threads = workers->threads.size();
    const uint64_t buffer = workers->buffers[0].size();
    EXPECT_EQ(workers->buffers.size(), threads);
    EXPECT_GE(buffer, kLeast);
    EXPECT_LE(buffer, kUsual);
    EXPECT_LE(fixed + threads * (kThread + buffer), limit);
    // Buffers shrink before threads go.
    EXPECT_TRUE(threads == 4 || fixed + (threads + 1) * (kThread + kLeast) > limit) << limit;
    EXPECT_GE(threads, before);
    before = threads;
  }
  EXPECT_EQ(before, 4u);
}

TEST(Workers, TheirPoolsLimitIsWhatTheLimitLeaves) {
  for (const uint64_t table : {0u, 1u, 50'000u, 300'000u}) {
    WorkersSpec wanted = spec(0, 3);
    wanted.table_bytes = table;
    const uint64_t least = Workers::least_limit(wanted);
    EXPECT_GE(least, Workers::least_limit(spec(0, 3)) + table);
    for (const uint64_t more : {0u, 1u, 4095u, 100'000u, 900'001u, 50'000'000u}) {
      wanted.memory_limit = least + more;
      auto workers = Workers::create(wanted);
      ASSERT_THAT(workers, is_ok()) << table << ' ' << more;
      EXPECT_GE(workers->table.size(), table);
      HybridMemoryPool& pool = *workers->own_pool;
      const uint64_t limit = pool.options().limit;
      EXPECT_LE(kHeld + workers->threads.size() * kThread + limit, wanted.memory_limit);
      EXPECT_EQ(pool.usage().committed, workers->table.size() + workers->buffer_bytes());
      // What is left of it is to be had, and not a page more.
      const uint64_t left = (limit - pool.usage().committed) / 4096 * 4096;
      EXPECT_THAT(Buffer::allocate(pool, left + 4096), fails_with(ErrorCode::kLimit));
      if (left >= (32 << 10)) {
        EXPECT_THAT(Buffer::allocate(pool, left), is_ok());
      }
    }
  }
}

TEST(Workers, ATableThatIsDroppedGoesBackToTheSystem) {
  WorkersSpec wanted = spec(0, 2);
  wanted.table_bytes = 10'000'000;
  auto workers = Workers::create(wanted);
  ASSERT_THAT(workers, is_ok());
  EXPECT_GE(workers->own_pool->usage().committed, 10'000'000 + workers->buffer_bytes());
  workers->drop_table();
  EXPECT_EQ(workers->own_pool->usage().committed, workers->buffer_bytes());
  std::ranges::fill(workers->buffers[1].bytes(), std::byte{1});
}

TEST(Workers, TakeAllFromTheResourceOfTheCaller) {
  const auto pool = HybridMemoryPool::create().value();
  StatisticsResource memory(*pool);
  WorkersSpec wanted = spec(0, 3);
  wanted.table_bytes = 100'000;
  wanted.memory = &memory;
  {
    auto workers = Workers::create(wanted);
    ASSERT_THAT(workers, is_ok());
    EXPECT_EQ(workers->own_pool, nullptr);
    EXPECT_EQ(memory.statistics().live_blocks, 4u);
    EXPECT_EQ(memory.statistics().live_bytes, workers->table.size() + 3 * kUsual);
  }
  EXPECT_EQ(memory.statistics().live_blocks, 0u);
}

TEST(TakeValues, CutsATableIntoValuesThatAreEmpty) {
  std::vector<uint64_t> memory(5, 7);
  std::span<std::byte> table = std::as_writable_bytes(std::span(memory));
  const std::span<uint64_t> first = take_values<uint64_t>(table, 2);
  const std::span<float> second = take_values<float>(table, 4);
  EXPECT_TRUE(take_values<float>(table, 0).empty());
  EXPECT_EQ(table.size(), 8u);
  EXPECT_EQ(first.data(), memory.data());
  EXPECT_EQ(std::vector<uint64_t>(first.begin(), first.end()), std::vector<uint64_t>(2));
  EXPECT_EQ(std::vector<float>(second.begin(), second.end()), std::vector<float>(4));
  EXPECT_EQ(memory[4], 7u);
}

TEST(Workers, ALimitWithRoomGivesTheUsualBuffers) {
  auto workers = Workers::create(spec(uint64_t{1} << 40, 2));
  ASSERT_THAT(workers, is_ok());
  EXPECT_EQ(workers->buffer_bytes(), 2 * kUsual);
}

TEST(ChunkElements, FitTheBufferInWholeBlocksOfBothEncodings) {
  for (const EncodingTraits& from : all_encodings()) {
    for (const EncodingTraits& to : all_encodings()) {
      if (from.encoding != to.encoding && !(from.can_decode && to.can_encode)) continue;
      for (const uint64_t bytes : {kLeastChunkBytes, kLeastChunkBytes + 4096, kUsualChunkBytes}) {
        const uint64_t n = chunk_elements(from.encoding, to.encoding, bytes);
        ASSERT_GT(n, 0u);
        EXPECT_EQ(n % from.block_elements, 0u);
        EXPECT_EQ(n % to.block_elements, 0u);
        const uint64_t source = bytes_before(from.encoding, n);
        const uint64_t target = from.encoding == to.encoding ? 0 : bytes_before(to.encoding, n);
        EXPECT_LE(target_offset(source) + target, Recoder::kTileBytes + bytes)
            << from.name << " -> " << to.name;
      }
    }
  }
}

}  // namespace
}  // namespace lobit
