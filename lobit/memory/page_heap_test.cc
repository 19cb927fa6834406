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
