#include "lobit/convert/memory_account.h"

#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"

namespace lobit {
namespace {

TEST(MemoryAccount, HoldsUpToItsLimit) {
  MemoryAccount account(100);
  {
    const MemoryAccount::Hold first = account.hold(60).value();
    const auto refused = account.hold(41);
    ASSERT_THAT(refused, fails_with(ErrorCode::kLimit));
    EXPECT_EQ(refused.error().detail.required, 41u);
    EXPECT_EQ(refused.error().detail.available, 40u);
    MemoryAccount::Hold second = account.hold(40).value();
    EXPECT_EQ(account.held(), 100u);
    second = {};
    EXPECT_EQ(account.held(), 60u);
  }
  EXPECT_EQ(account.held(), 0u);
  EXPECT_EQ(account.peak(), 100u);
  account.reset_peak();
  EXPECT_EQ(account.peak(), 0u);
}

TEST(MemoryAccount, AHoldMovesWithItsBytes) {
  MemoryAccount account(100);
  MemoryAccount::Hold a = account.hold(30).value();
  MemoryAccount::Hold b = std::move(a);
  EXPECT_EQ(b.bytes(), 30u);
  EXPECT_EQ(account.held(), 30u);
  b = account.hold(50).value();
  EXPECT_EQ(account.held(), 50u);
}

TEST(MemoryAccount, ThreadsNeverExceedTheLimit) {
  MemoryAccount account(1000);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        const auto hold = account.hold(300);
        EXPECT_LE(account.held(), 1000u);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(account.held(), 0u);
  EXPECT_LE(account.peak(), 900u);
}

}  // namespace
}  // namespace lobit
