// The K-quants' decoders on blocks made by hand; the golden test compares them with ggml over random blocks.
#include <algorithm>
#include <array>

#include <gtest/gtest.h>

#include "lobit/dtype/block.h"
#include "lobit/dtype/reference.h"

namespace lobit {
namespace {

template <typename Block>
std::array<float, 256> decoded(Encoding encoding, const Block& block) {
  std::array<float, 256> w;
  reference::decode(encoding, &block, w.data(), w.size());
  return w;
}

constexpr uint16_t kOne = 0x3C00;
constexpr uint16_t kTwo = 0x4000;

TEST(DecodeQ2_K, ScaleInTheLowAndMinimumInTheHighNibble) {
  BlockQ2_K block{};
  block.d = kTwo;
  block.dmin = kOne;
  block.scales[0] = 0x35;      // values 0 to 15
  block.scales[13] = 0x0F;     // values 208 to 223
  block.qs[0] = 3;             // value 0
  block.qs[32 + 17] = 2 << 4;  // value 128 + 2 * 32 + 17 = 209
  const auto w = decoded(Encoding::kQ2_K, block);
  EXPECT_EQ(w[0], 2 * 5 * 3 - 3);
  EXPECT_EQ(w[1], -3);
  EXPECT_EQ(w[16], 0);
  EXPECT_EQ(w[209], 2 * 15 * 2);
  EXPECT_EQ(w[208], 0);
}

TEST(DecodeQ3_K, ScalesHaveABiasAndTheThirdBitIsInverted) {
  BlockQ3_K block{};
  block.d = kOne;
  // Group 0: 32 + 7 = 0b10'0111; group 9: 32 - 2 = 0b01'1110 (nibble 1 of byte 1, bits 4-5 of byte 9).
  block.scales[0] = 0x07;
  block.scales[8] = 0b10;
  block.scales[1] = 0xE0;
  block.scales[9] = 0b01 << 4;
  block.qs[0] = 1;        // value 0: 1 - 4
  block.qs[32 + 16] = 2;  // value 144: 2, its third bit set
  block.hmask[16] = 1 << 4;
  const auto w = decoded(Encoding::kQ3_K, block);
  EXPECT_EQ(w[0], 7 * (1 - 4));
  EXPECT_EQ(w[1], 7 * -4);
  EXPECT_EQ(w[144], -2 * 2);
  EXPECT_EQ(w[145], -2 * -4);
  EXPECT_EQ(w[255], -32 * -4);  // a scale of zero bits is -32
}

// Groups 0 and 5, of the two packings: scale 0b10'0011, minimum 0b01'0101.
template <typename Block>
void set_scales(Block& block) {
  block.d = kOne;
  block.dmin = kTwo;
  block.scales[0] = 0b10'0011;
  block.scales[4] = 0b01'0101;
  block.scales[9] = 0b0101'0011;
  block.scales[1] = 0b10 << 6;
  block.scales[5] = 0b01 << 6;
}

TEST(DecodeQ4_K, SixBitScalesInTwoPackings) {
  BlockQ4_K block{};
  set_scales(block);
  block.qs[3] = 0x0B;           // value 3, and value 35 is 0
  block.qs[2 * 32 + 8] = 0xC0;  // value 128 + 32 + 8 = 168, of group 5
  const auto w = decoded(Encoding::kQ4_K, block);
  EXPECT_EQ(w[3], 35 * 11 - 2 * 21);
  EXPECT_EQ(w[4], -2 * 21);
  EXPECT_EQ(w[35], 0);
  EXPECT_EQ(w[168], 35 * 12 - 2 * 21);
  EXPECT_EQ(w[136], 0);
}

TEST(DecodeQ5_K, TheFifthBitOfGroupGIsBitG) {
  BlockQ5_K block{};
  set_scales(block);
  block.qs[3] = 0x0B;
  block.qs[2 * 32 + 8] = 0xC0;
  block.qh[3] = 1 << 0;
  block.qh[8] = 1 << 5;
  const auto w = decoded(Encoding::kQ5_K, block);
  EXPECT_EQ(w[3], 35 * (11 + 16) - 2 * 21);
  EXPECT_EQ(w[168], 35 * (12 + 16) - 2 * 21);
  EXPECT_EQ(w[8], -2 * 21);
}

TEST(DecodeQ6_K, FourQuartersShareTheUpperBits) {
  BlockQ6_K block{};
  block.d = kTwo;
  std::ranges::fill(block.scales, int8_t{1});
  block.scales[8 + 6] = -3;      // values 128 + 96 to 128 + 111
  block.ql[64 + 32 + 5] = 0xA0;  // value 128 + 96 + 5, high nibble
  block.qh[32 + 5] = 0b11 << 6;
  const auto w = decoded(Encoding::kQ6_K, block);
  EXPECT_EQ(w[229], 2 * -3 * (0b11'1010 - 32));
  EXPECT_EQ(w[165], 2 * -32);  // 128 + 32 + 5, low nibble
  EXPECT_EQ(w[228], 2 * -3 * -32);
  EXPECT_EQ(w[0], 2 * -32);
}

TEST(DecodeQ8_K, OneF32ScaleAndNoUseOfTheSums) {
  BlockQ8_K block{};
  block.d = 1e-10f;
  block.qs[0] = -128;
  block.qs[255] = 127;
  std::ranges::fill(block.bsums, int16_t{99});
  const auto w = decoded(Encoding::kQ8_K, block);
  EXPECT_EQ(w[0], 1e-10f * -128.0f);
  EXPECT_EQ(w[255], 1e-10f * 127.0f);
  EXPECT_EQ(w[1], 0.0f);
}

}  // namespace
}  // namespace lobit
