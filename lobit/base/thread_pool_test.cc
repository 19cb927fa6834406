#include "lobit/base/thread_pool.h"

#include <atomic>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

namespace lobit {
namespace {

TEST(ThreadPool, RunsEveryWorkerOnceEachRound) {
  auto pool = ThreadPool::create(8);
  ASSERT_TRUE(pool);
  std::vector<std::atomic<int>> calls(8);
  for (int round = 0; round < 1000; ++round) {
    pool->run([&](size_t worker) { ++calls[worker]; });
  }
  for (const auto& c : calls) EXPECT_EQ(c.load(), 1000);
}

TEST(ThreadPool, WorkersSubnormalsAreKept) {
  auto pool = ThreadPool::create(4);
  ASSERT_TRUE(pool);
  std::atomic<int> kept{0};
  pool->run([&](size_t) {
    volatile float tiny = 1e-38f;
    tiny = tiny / 4.0f;
    if (tiny > 0.0f) ++kept;
  });
  EXPECT_EQ(kept.load(), 4);
}

TEST(ThreadPool, RethrowsAWorkersExceptionAndStaysUsable) {
  auto pool = ThreadPool::create(3);
  ASSERT_TRUE(pool);
  EXPECT_THROW(pool->run([](size_t worker) {
    if (worker == 2) throw std::runtime_error("worker");
  }),
               std::runtime_error);
  std::atomic<int> calls{0};
  pool->run([&](size_t) { ++calls; });
  EXPECT_EQ(calls.load(), 3);
}

TEST(ThreadPool, RefusesZeroThreads) {
  EXPECT_EQ(ThreadPool::create(0).error().code, ErrorCode::kInvalidArgument);
  EXPECT_GE(ThreadPool::default_threads(), 1u);
}

}  // namespace
}  // namespace lobit
