#include "lobit/convert/workers.h"

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/convert/budget.h"

namespace lobit {
namespace {

constexpr uint64_t kHeld = 10'000;
constexpr uint64_t kUsual = 1 << 20;
constexpr uint64_t kLeast = 64 << 10;

WorkersSpec spec(uint64_t limit, size_t threads) {
  return {
      .held = kHeld, .memory_limit = limit, .threads = threads, .usual_bytes = kUsual, .least_bytes = kLeast};
}

TEST(Workers, WithoutALimitEveryThreadHasTheUsualBuffer) {
  auto workers = Workers::create(spec(0, 3));
  ASSERT_THAT(workers, is_ok());
  EXPECT_EQ(workers->pool.size(), 3u);
  ASSERT_EQ(workers->buffers.size(), 3u);
  EXPECT_EQ(workers->buffers[2].bytes().size(), kUsual);
  EXPECT_EQ(workers->buffer_bytes(), 3 * kUsual);
  auto usual = Workers::create(spec(0, 0));
  ASSERT_THAT(usual, is_ok());
  EXPECT_EQ(usual->pool.size(), ThreadPool::default_threads());
}

TEST(Workers, StayWithinTheLimit) {
  const auto refused = Workers::create(spec(1, 4));
  ASSERT_THAT(refused, fails_with(ErrorCode::kLimit));
  const uint64_t least = refused.error().detail.required.value();
  EXPECT_THAT(Workers::create(spec(least - 1, 4)), fails_with(ErrorCode::kLimit));
  const uint64_t worker = least - kHeld;
  size_t before = 0;
  for (uint64_t limit = least; limit < kHeld + 6 * (kUsual + worker); limit += 30'011) {
    auto workers = Workers::create(spec(limit, 4));
    ASSERT_THAT(workers, is_ok());
    const size_t threads = workers->pool.size();
    const uint64_t buffer = workers->buffers[0].bytes().size();
    EXPECT_EQ(workers->buffers.size(), threads);
    EXPECT_GE(buffer, kLeast);
    EXPECT_LE(buffer, kUsual);
    EXPECT_LE(kHeld + threads * (worker - kLeast + buffer), limit);
    // Buffers shrink before threads go.
    EXPECT_TRUE(threads == 4 || kHeld + (threads + 1) * worker > limit) << limit;
    EXPECT_GE(threads, before);
    before = threads;
  }
  EXPECT_EQ(before, 4u);
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
