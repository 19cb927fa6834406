#include <vector>

#include <gtest/gtest.h>

#include "lobit/memory/byte_shuffle_internal.h"
#include "lobit/memory/memory_test_support.h"

namespace lobit {
namespace {

TEST(ByteShuffle, PutsTheBytesOfOnePlaceTogether) {
  for (const size_t width : {1U, 2U, 4U, 8U}) {
    // Around the tiles of the loops, and with bytes behind the last whole element.
    for (const size_t bytes : {0U, 1U, 7U, 8U, 15U, 64U, 127U, 511U, 512U, 513U, 1027U, 4096U}) {
      std::vector<std::byte> from(bytes);
      fill_pattern(from.data(), bytes, 0x0123456789ABCDEF);
      std::vector<std::byte> shuffled(bytes + 1, std::byte{0xEE});
      shuffle_bytes(from, width, shuffled.data());
      const size_t elements = bytes / width;
      for (size_t i = 0; i < bytes; ++i) {
        const size_t at = i < elements * width ? i % width * elements + i / width : i;
        ASSERT_EQ(shuffled[at], from[i]) << width << " " << bytes << " " << i;
      }
      EXPECT_EQ(shuffled[bytes], std::byte{0xEE});

      std::vector<std::byte> back(bytes + 1, std::byte{0xEE});
      unshuffle_bytes(std::span(shuffled).first(bytes), width, back.data());
      EXPECT_EQ(back.back(), std::byte{0xEE});
      back.pop_back();
      EXPECT_EQ(back, from);
    }
  }
}

}  // namespace
}  // namespace lobit
