#include "lobit/memory/size_class.h"

#include <gtest/gtest.h>

namespace lobit::detail {
namespace {

TEST(SizeClasses, EverySizeHasTheSmallestClassThatHoldsIt) {
  size_t c = 0;
  for (size_t bytes = 1; bytes <= kMaxClassBytes; ++bytes) {
    if (bytes > kSizeClasses[c].bytes) ++c;
    ASSERT_EQ(size_class_of(bytes), c) << bytes;
    ASSERT_LE(bytes, kSizeClasses[c].bytes);
  }
  EXPECT_EQ(c, kClasses - 1);
}

TEST(SizeClasses, WasteIsAtMostAnEighthFrom512On) {
  for (size_t c = 8; c < kClasses; ++c) {
    const size_t least = kSizeClasses[c - 1].bytes + 1;
    EXPECT_LT((kSizeClasses[c].bytes - least) * 8, kSizeClasses[c].bytes) << c;
  }
}

TEST(SizeClasses, SlabsAreWholePagesOfWholeBlocks) {
  for (const SizeClass& c : kSizeClasses) {
    EXPECT_EQ(size_t{c.blocks} * c.bytes, size_t{c.pages} * kPageBytes) << c.bytes;
    EXPECT_LE(c.blocks, kMaxBlocksPerSlab);
    EXPECT_GE(c.cached, 2u);
    EXPECT_LE(c.cached, 64u);
  }
}

TEST(SizeClasses, EveryOffsetFindsItsBlock) {
  for (const SizeClass& c : kSizeClasses) {
    for (uint32_t offset = 0; offset < uint32_t{c.blocks} * c.bytes; ++offset) {
      const uint64_t product = uint64_t{offset} * c.reciprocal;
      ASSERT_EQ(product >> 32, offset / c.bytes) << c.bytes;
      ASSERT_EQ(is_start_of_block(product, c.reciprocal), offset % c.bytes == 0) << c.bytes << " " << offset;
    }
  }
}

TEST(SizeClasses, ASizeRoundedToAnAlignmentKeepsItInItsClass) {
  for (size_t alignment = 64; alignment <= kPageBytes; alignment *= 2) {
    for (size_t bytes = alignment; bytes <= kMaxClassBytes; bytes += alignment) {
      ASSERT_EQ(kSizeClasses[size_class_of(bytes)].bytes % alignment, 0u) << bytes << " " << alignment;
    }
  }
}

}  // namespace
}  // namespace lobit::detail
