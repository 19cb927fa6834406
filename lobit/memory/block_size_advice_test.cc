#include "lobit/memory/block_size_advice.h"

#include "lobit/base/test_support.h"

namespace lobit {
namespace {

TEST(BlockSizeCost, OfAHandComputedWorkload) {
  // Blocks of 1024: 3 x 1 for 1000 bytes, 2 x 3 for 2500.
  const std::vector<SizeCount> sizes = {{1000, 3}, {2500, 2}};
  const BlockSizeCost cost = block_size_cost(sizes, 1024).value();
  EXPECT_EQ(cost.blocks, 9u);
  EXPECT_EQ(cost.pool_bytes(), 9u * 1024);
  EXPECT_EQ(cost.asked, 8000u);
  EXPECT_EQ(cost.record_bytes, 72u);
  EXPECT_EQ(cost.waste(), 9216u - 8000 + 72);
  EXPECT_DOUBLE_EQ(cost.utilisation(), 8000.0 / 9216);
  EXPECT_DOUBLE_EQ(cost.fragmentation_risk(), 0.4);
}

TEST(BlockSizeCost, IsThatOfTheSizeThatAPoolRoundsTo) {
  // A pool of blocks of 1000 has blocks of 1024, which hold requests of 1020.
  const std::vector<SizeCount> sizes = {{1020, 4}};
  const BlockSizeCost cost = block_size_cost(sizes, 1000).value();
  EXPECT_EQ(cost.block_size, 1024u);
  EXPECT_EQ(cost.blocks, 4u);
  EXPECT_EQ(cost.pool_bytes(), 4096u);
  EXPECT_DOUBLE_EQ(cost.fragmentation_risk(), 0.0);
}

TEST(BlockSizeAdvice, OfOneSizeIsThatSize) {
  const BlockSizeCost advice = block_size_advice(std::vector<SizeCount>{{4096, 100}}).value();
  EXPECT_EQ(advice.block_size, 4096u);
  EXPECT_EQ(advice.waste(), 800u);
  EXPECT_DOUBLE_EQ(advice.utilisation(), 1.0);
  EXPECT_DOUBLE_EQ(advice.fragmentation_risk(), 0.0);
}

TEST(BlockSizeAdvice, WastesNoMoreThanAnyOtherSize) {
  const std::vector<SizeCount> sizes = {{100, 50}, {1500, 20}, {4096, 30}, {6000, 10}, {70000, 1}};
  const BlockSizeCost advice = block_size_advice(sizes).value();
  for (size_t block_size = 64; block_size <= 131072; block_size += 64) {
    EXPECT_LE(advice.waste(), block_size_cost(sizes, block_size).value().waste()) << block_size;
  }
}

TEST(BlockSizeAdvice, CountsATrace) {
  const std::vector<size_t> trace = {64, 4096, 64, 128, 4096, 64};
  EXPECT_EQ(size_histogram(trace), (std::vector<SizeCount>{{64, 3}, {128, 1}, {4096, 2}}));
  EXPECT_TRUE(size_histogram({}).empty());
}

TEST(BlockSizeAdvice, RefusesWhatCannotBeJudged) {
  EXPECT_THAT(block_size_advice({}), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(block_size_advice(std::vector<SizeCount>{{64, 0}}), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(block_size_advice(std::vector<SizeCount>{{0, 1}}), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(block_size_advice(std::vector<SizeCount>{{SIZE_MAX, 1}}),
              fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(block_size_advice(std::vector<SizeCount>{{4096, UINT64_MAX / 2}}),
              fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(block_size_cost(std::vector<SizeCount>{{64, 1}}, 0), fails_with(ErrorCode::kInvalidArgument));
  constexpr size_t kMost = size_t{16} << 20;
  EXPECT_THAT(block_size_cost(std::vector<SizeCount>{{64, 1}}, kMost), is_ok());
  EXPECT_THAT(block_size_cost(std::vector<SizeCount>{{64, 1}}, kMost + 1),
              fails_with(ErrorCode::kInvalidArgument));
}

}  // namespace
}  // namespace lobit
