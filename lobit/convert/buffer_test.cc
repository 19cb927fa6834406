#include "lobit/convert/buffer.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"

namespace lobit {
namespace {

TEST(ScratchBuffer, IsPageAlignedZeroedAndWritable) {
  auto buffer = ScratchBuffer::create(10'000);
  ASSERT_THAT(buffer, is_ok());
  const std::span<std::byte> bytes = buffer->bytes();
  ASSERT_EQ(bytes.size(), 10'000u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes.data()) % 4096, 0u);
  EXPECT_TRUE(std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; }));
  std::ranges::fill(bytes, std::byte{7});
  EXPECT_EQ(bytes.back(), std::byte{7});
}

TEST(ScratchBuffer, MovesItsMemory) {
  ScratchBuffer a = ScratchBuffer::create(100).value();
  std::byte* const data = a.bytes().data();
  ScratchBuffer b = std::move(a);
  EXPECT_EQ(b.bytes().data(), data);
  EXPECT_TRUE(
      a.bytes().empty());  // NOLINT(bugprone-use-after-move,clang-analyzer-cplusplus.Move): the fact tested
                           // // NOLINT(clang-analyzer-cplusplus.Move,bugprone-use-after-move)
  ScratchBuffer c = ScratchBuffer::create(0).value();
  EXPECT_TRUE(c.bytes().empty());
  c = std::move(b);
  EXPECT_EQ(c.bytes().data(), data);
  EXPECT_EQ(c.bytes().size(), 100u);
}

TEST(ScratchBuffer, WhatTheSystemRefusesIsOutOfMemory) {
  const auto buffer = ScratchBuffer::create(size_t{1} << 60);
  ASSERT_THAT(buffer, fails_with(ErrorCode::kOutOfMemory));
  EXPECT_EQ(buffer.error().detail.required, uint64_t{1} << 60);
}

}  // namespace
}  // namespace lobit
