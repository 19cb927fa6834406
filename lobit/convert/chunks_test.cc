#include "lobit/convert/chunks.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"

namespace lobit {
namespace {

ThreadPool pool_of(size_t threads) {
  return std::move(*ThreadPool::create(threads));
}

TEST(ForEachChunk, CoversEveryElementOnce) {
  const std::vector<ChunkedItem> items{
      {"a", 10, 4, 40}, {"empty", 0, 4, 0}, {"b", 8, 4, 8}, {"c", 1, 100, 4}};
  for (const size_t threads : {size_t{1}, size_t{2}, size_t{8}}) {
    ThreadPool pool = pool_of(threads);
    std::mutex mutex;
    std::map<size_t, std::vector<bool>> seen;
    const Status status = for_each_chunk(pool, items, {}, [&](size_t worker, const Chunk& chunk) -> Status {
      EXPECT_LT(worker, threads);
      const std::lock_guard lock(mutex);
      auto& elements = seen[chunk.item];
      elements.resize(items[chunk.item].elements);
      for (uint64_t i = chunk.first; i < chunk.first + chunk.count; ++i) {
        EXPECT_FALSE(elements[i]);
        elements[i] = true;
      }
      return {};
    });
    EXPECT_THAT(status, is_ok());
    ASSERT_EQ(seen.size(), 3u);
    for (const auto& [item, elements] : seen) {
      EXPECT_EQ(std::count(elements.begin(), elements.end(), true), static_cast<ptrdiff_t>(elements.size()));
    }
  }
}

TEST(ForEachChunk, ReturnsTheErrorOfTheEarliestChunk) {
  const std::vector<ChunkedItem> items{{"a", 1000, 1, 1000}};
  for (int round = 0; round < 20; ++round) {
    ThreadPool pool = pool_of(8);
    const Status status = for_each_chunk(pool, items, {}, [&](size_t, const Chunk& chunk) -> Status {
      if (chunk.first < 300) return {};
      return fail(ErrorCode::kDataLoss, "bad", {.index = chunk.first});
    });
    ASSERT_THAT(status, fails_with(ErrorCode::kDataLoss));
    EXPECT_EQ(status.error().detail.index, 300u);
  }
}

TEST(ForEachChunk, WhereEveryChunkFailsTheFirstOneIsReported) {
  const std::vector<ChunkedItem> items{{"a", 1000, 1, 1000}};
  ThreadPool pool = pool_of(8);
  for (int round = 0; round < 200; ++round) {
    const Status status = for_each_chunk(pool, items, {}, [&](size_t, const Chunk& chunk) -> Status {
      return fail(ErrorCode::kDataLoss, "bad", {.index = chunk.first});
    });
    ASSERT_THAT(status, fails_with(ErrorCode::kDataLoss));
    ASSERT_EQ(status.error().detail.index, 0u);
  }
}

TEST(ForEachChunk, StopsWhenAsked) {
  const std::vector<ChunkedItem> items{{"a", 1'000'000, 1, 1'000'000}};
  ThreadPool pool = pool_of(2);
  std::stop_source source;
  std::atomic<uint64_t> calls{0};
  const Status status =
      for_each_chunk(pool, items, {{}, source.get_token()}, [&](size_t, const Chunk&) -> Status {
        if (++calls == 10) source.request_stop();
        return {};
      });
  EXPECT_THAT(status, fails_with(ErrorCode::kCancelled));
  EXPECT_LT(calls.load(), 100u);
}

TEST(ForEachChunk, CountsBytesOfLessThanAByteAnElement) {
  const std::vector<ChunkedItem> items{{"a", 1000, 100, 562}};
  ThreadPool pool = pool_of(1);
  uint64_t first = 0;
  const auto progress = [&](const Progress& p) {
    if (first == 0) first = p.bytes_done;
  };
  EXPECT_THAT(for_each_chunk(pool, items, {progress, {}}, [](size_t, const Chunk&) { return Status{}; }),
              is_ok());
  EXPECT_EQ(first, 56u);
}

TEST(ForEachChunk, ReportsProgressAndItsEnd) {
  const std::vector<ChunkedItem> items{{"a", 10, 1, 100}, {"b", 1, 1, 7}};
  ThreadPool pool = pool_of(3);
  uint64_t last = 0;
  uint64_t total = 0;
  const auto progress = [&](const Progress& p) {
    EXPECT_GE(p.bytes_done, last);
    last = p.bytes_done;
    total = p.bytes_total;
  };
  EXPECT_THAT(for_each_chunk(pool, items, {progress, {}}, [](size_t, const Chunk&) { return Status{}; }),
              is_ok());
  EXPECT_EQ(last, 107u);
  EXPECT_EQ(total, 107u);
}

TEST(ForEachChunk, AThrowingCallbackEndsTheOperation) {
  const std::vector<ChunkedItem> items{{"a", 100, 1, 100}};
  ThreadPool pool = pool_of(2);
  const auto progress = [](const Progress&) { throw std::runtime_error("no more"); };
  const Status status =
      for_each_chunk(pool, items, {progress, {}}, [](size_t, const Chunk&) { return Status{}; });
  ASSERT_THAT(status, fails_with(ErrorCode::kCancelled));
  EXPECT_NE(status.error().message.find("no more"), std::string::npos);
}

}  // namespace
}  // namespace lobit
