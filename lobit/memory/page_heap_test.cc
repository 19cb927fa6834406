#include "lobit/memory/page_heap.h"

#include <vector>

#include "lobit/base/test_support.h"

namespace lobit::detail {
namespace {

constexpr uint32_t kLong = 2048;
constexpr uint32_t kShort = 1024;

class PageHeapTest : public testing::Test {
 protected:
  RunId take(uint32_t pages) {
    const RunId run = heap_->take(heap_->lock(), pages, 1, RunKind::kLarge);
    EXPECT_NE(run, 0u);
    return run;
  }
  void give(RunId run) { heap_->give(heap_->lock(), run); }
  uint32_t first_page(RunId run) { return heap_->run(run).first; }

  // Runs of these lengths with a page between each two, so that they stay apart when they are free.
  std::vector<RunId> take_apart(const std::vector<uint32_t>& lengths) {
    std::vector<RunId> runs;
    for (const uint32_t pages : lengths) {
      runs.push_back(take(pages));
      take(1);
    }
    return runs;
  }

  std::unique_ptr<PageHeap> heap_ =
      PageHeap::create(system_virtual_memory(), {.reserve_bytes = uint64_t{1} << 30, .limit = UINT64_MAX})
          .value();
};

TEST_F(PageHeapTest, TakesTheLowestRunThoughAShorterOneFits) {
  const std::vector<RunId> runs = take_apart({kLong, kShort});
  const uint32_t lower = first_page(runs[0]);
  give(runs[0]);
  give(runs[1]);
  EXPECT_EQ(first_page(take(kShort)), lower);
}

TEST_F(PageHeapTest, TakesTheLowestRunOfEqualOnes) {
  const std::vector<RunId> runs = take_apart({kShort, kShort, kShort});
  const std::vector<uint32_t> firsts = {first_page(runs[0]), first_page(runs[1]), first_page(runs[2])};
  for (const size_t i : {1U, 0U, 2U}) give(runs[i]);
  for (const uint32_t first : firsts) EXPECT_EQ(first_page(take(kShort)), first);
}

TEST_F(PageHeapTest, KeepsOneRunForItsLength) {
  const RunId first = take(kShort);
  const RunId second = take(kShort);
  EXPECT_TRUE(heap_->keep(first));
  EXPECT_FALSE(heap_->keep(second));
  EXPECT_EQ(heap_->take_kept(kLong), 0u);
  EXPECT_EQ(heap_->take_kept(kShort - 1), 0u);
  EXPECT_EQ(heap_->take_kept(kShort), first);
  EXPECT_EQ(heap_->take_kept(kShort), 0u);
  EXPECT_TRUE(heap_->keep(first));
  heap_->keep_instead(heap_->lock(), second);
  EXPECT_EQ(heap_->held_bytes(RunKind::kLarge), kShort * kPageBytes);
  EXPECT_EQ(heap_->take_kept(kShort), second);
}

// A kept run is part of what others are served from.
TEST_F(PageHeapTest, MergesTheKeptRunBeforeItTakesAnother) {
  const RunId left = take(kShort);
  const RunId right = take(kShort);
  take(1);
  const uint32_t first = first_page(left);
  give(left);
  EXPECT_TRUE(heap_->keep(right));
  EXPECT_EQ(first_page(take(2 * kShort)), first);
  EXPECT_TRUE(heap_->keep(take(kLong)));
  EXPECT_EQ(heap_->largest_free(heap_->lock()), (uint32_t{1} << 18) - 2 * kShort - 1);
}

TEST_F(PageHeapTest, TakesLooseRunsOfTheVeryLengthAndWithinTheKindsLimit) {
  heap_ = PageHeap::create(
              system_virtual_memory(),
              {.reserve_bytes = uint64_t{1} << 30, .limit = UINT64_MAX, .most_small = 20 * kPageBytes})
              .value();
  const RunId twenty = take(20);
  const RunId thirty = take(30);
  take(1);
  give(twenty);
  give(thirty);
  EXPECT_EQ(heap_->take_loose(heap_->lock(), 19, RunKind::kLarge), 0u);
  EXPECT_EQ(heap_->take_loose(heap_->lock(), 30, RunKind::kSmall), 0u);
  EXPECT_EQ(heap_->take_loose(heap_->lock(), 20, RunKind::kSmall), twenty);
  EXPECT_EQ(heap_->held_bytes(RunKind::kSmall), 20 * kPageBytes);
  EXPECT_EQ(heap_->room_for(RunKind::kSmall), 0u);
  heap_->give(heap_->lock(), twenty);
  EXPECT_EQ(first_page(take(50)), 0u) << "merged for a longer one";
}

TEST_F(PageHeapTest, TakesCommittedRunsBeforeLowerOnesThatAreNot) {
  const std::vector<RunId> runs = take_apart({kLong, kLong});
  give(runs[0]);
  EXPECT_GE(heap_->trim(heap_->lock()), uint64_t{kLong} * kPageBytes);
  const uint32_t higher = first_page(runs[1]);
  give(runs[1]);
  EXPECT_EQ(first_page(take(kShort)), higher);
}

}  // namespace
}  // namespace lobit::detail
