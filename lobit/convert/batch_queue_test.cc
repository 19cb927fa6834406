#include "lobit/convert/batch_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lobit {
namespace {

using ::testing::ElementsAre;

constexpr uint64_t kMiB = 1 << 20;

std::vector<std::vector<size_t>> batches(const std::vector<BatchItem>& items, const BatchConfig& config,
                                         MemoryPressureLevel pressure = MemoryPressureLevel::kNone) {
  BatchQueue queue(items, config);
  std::vector<std::vector<size_t>> all;
  while (!queue.empty()) all.push_back(queue.next(pressure).tensors);
  return all;
}

// Of 0, 2, 4, ... F16, of the others I8.
std::vector<BatchItem> mixed_items(size_t count) {
  std::vector<BatchItem> items;
  for (size_t i = 0; i < count; ++i) {
    const Encoding to = i % 2 == 0 ? Encoding::kF16 : Encoding::kQ8_0;
    items.push_back({.index = i, .to = {to}, .source_bytes = 100, .result_bytes = 50});
  }
  return items;
}

TEST(BatchQueue, GroupsByDTypeUnlessToldOtherwise) {
  BatchConfig config;
  EXPECT_THAT(batches(mixed_items(5), config), ElementsAre(ElementsAre(0, 2, 4), ElementsAre(1, 3)));
  config.group_by_dtype = false;
  EXPECT_THAT(batches(mixed_items(5), config), ElementsAre(ElementsAre(0, 1, 2, 3, 4)));
}

TEST(BatchQueue, GroupsByDeviceUnlessToldOtherwise) {
  std::vector<BatchItem> items(3);
  for (size_t i = 0; i < items.size(); ++i) items[i].index = i;
  items[1].device = {DeviceKind::kCuda, 0};
  BatchConfig config;
  EXPECT_THAT(batches(items, config), ElementsAre(ElementsAre(0, 2), ElementsAre(1)));
  config.group_by_device = false;
  EXPECT_THAT(batches(items, config), ElementsAre(ElementsAre(0, 1, 2)));
}

TEST(BatchQueue, SizesOfOneClassGoTogetherTheLargestFirst) {
  std::vector<BatchItem> items(4);
  const uint64_t sizes[] = {10, kMiB, 20, 100 * kMiB};
  for (size_t i = 0; i < items.size(); ++i) items[i] = {.index = i, .source_bytes = sizes[i]};
  BatchConfig config;
  config.max_batch_size = 1;
  EXPECT_THAT(batches(items, config),
              ElementsAre(ElementsAre(3), ElementsAre(1), ElementsAre(2), ElementsAre(0)));
  config.sort_by_size = false;
  EXPECT_THAT(batches(items, config),
              ElementsAre(ElementsAre(0), ElementsAre(2), ElementsAre(1), ElementsAre(3)));
}

TEST(BatchQueue, KeepsItsLimits) {
  std::vector<BatchItem> items(5);
  for (size_t i = 0; i < items.size(); ++i) items[i] = {.index = i, .source_bytes = 200, .result_bytes = 100};
  BatchConfig config;
  config.max_batch_size = 2;
  EXPECT_THAT(batches(items, config), ElementsAre(ElementsAre(0, 1), ElementsAre(2, 3), ElementsAre(4)));
  config.max_batch_size = 32;
  config.max_batch_memory = 399;
  EXPECT_THAT(batches(items, config), ElementsAre(ElementsAre(0, 1, 2), ElementsAre(3, 4)));
  // One that is too large goes alone.
  config.max_batch_memory = 99;
  EXPECT_EQ(batches(items, config).size(), 5u);
}

TEST(BatchQueue, ShrinksWithThePressure) {
  std::vector<BatchItem> items(16);
  for (size_t i = 0; i < items.size(); ++i) items[i] = {.index = i, .source_bytes = 200, .result_bytes = 100};
  BatchConfig config;
  config.max_batch_size = 16;
  EXPECT_EQ(batches(items, config, MemoryPressureLevel::kLow).size(), 1u);
  EXPECT_EQ(batches(items, config, MemoryPressureLevel::kMedium).size(), 2u);
  EXPECT_EQ(batches(items, config, MemoryPressureLevel::kHigh).size(), 4u);
  EXPECT_EQ(batches(items, config, MemoryPressureLevel::kCritical).size(), 16u);
}

}  // namespace
}  // namespace lobit
