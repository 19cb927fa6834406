// The K-quants: 256 values whose groups of 16 or 32 have small integer scales (and minima) under one or two
// F16 scales of the block. Every product and difference below is rounded on its own, in the order written.
#include <array>
#include <cstdint>

#include "lobit/base/check.h"
#include "lobit/dtype/block.h"
#include "lobit/dtype/half.h"
#include "lobit/dtype/reference_internal.h"

namespace lobit::reference {
namespace {

// Q2_K and Q3_K: value i has its two bits in byte 32 * (i / 128) + i % 32, at bit 2 * (i / 32 % 4).
int two_bits(const uint8_t (&qs)[64], size_t i) {
  return qs[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
}

// Q4_K and Q5_K: value i has its low bits in byte 32 * (i / 64) + i % 32; the second 32 of 64 are the high
// nibbles.
int four_bits(const uint8_t (&qs)[128], size_t i) {
  return qs[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
}

void decode_q2_k(const BlockQ2_K& block, Values<256>& w) {
  const float d = f16_to_f32(block.d);
  const float dmin = f16_to_f32(block.dmin);
  for (size_t i = 0; i < 256; ++i) {
    const uint8_t both = block.scales[i / 16];
    const float scale = d * static_cast<float>(both & 15);
    const float minimum = dmin * static_cast<float>(both >> 4);
    w[i] = scale * static_cast<float>(two_bits(block.qs, i)) - minimum;
  }
}

// The low four bits of scale g are nibble g / 8 of byte g % 8, the upper two are bits 2 * (g / 4) of byte 8 +
// g % 4.
int scale_of_q3_k(const BlockQ3_K& block, size_t g) {
  const int low = block.scales[g % 8] >> (g / 8 * 4) & 15;
  const int high = block.scales[8 + g % 4] >> (g / 4 * 2) & 3;
  return (low | high << 4) - 32;
}

void decode_q3_k(const BlockQ3_K& block, Values<256>& w) {
  const float d = f16_to_f32(block.d);
  for (size_t i = 0; i < 256; ++i) {
    const float scale = d * static_cast<float>(scale_of_q3_k(block, i / 16));
    const int third_bit = block.hmask[i % 32] >> (i / 32) & 1;
    w[i] = scale * static_cast<float>(two_bits(block.qs, i) + 4 * third_bit - 4);
  }
}

struct ScaleAndMinimum {
  int scale;
  int minimum;
};

// Q4_K and Q5_K. Groups 0 to 3 have the scale in the low six bits of byte g and the minimum in those of byte
// 4
// + g. Groups 4 to 7 have four bits of each in byte 4 + g and the upper two at the top of bytes g - 4 and g.
ScaleAndMinimum six_bits(const uint8_t (&packed)[12], size_t g) {
  if (g < 4) return {packed[g] & 63, packed[g + 4] & 63};
  return {(packed[g + 4] & 15) | (packed[g - 4] >> 6) << 4, packed[g + 4] >> 4 | (packed[g] >> 6) << 4};
}

template <typename Block>
void decode_q4_or_q5_k(const Block& block, Values<256>& w) {
  const float d = f16_to_f32(block.d);
  const float dmin = f16_to_f32(block.dmin);
  for (size_t i = 0; i < 256; ++i) {
    const ScaleAndMinimum group = six_bits(block.scales, i / 32);
    const float scale = d * static_cast<float>(group.scale);
    const float minimum = dmin * static_cast<float>(group.minimum);
    int code = four_bits(block.qs, i);
    if constexpr (requires { block.qh; }) code |= (block.qh[i % 32] >> (i / 32) & 1) << 4;
    w[i] = scale * static_cast<float>(code) - minimum;
  }
}

// Value i of a half of 128: low bits in byte i % 64 of the half, upper two in byte i % 32 at bit 2 * (i /
// 32).
void decode_q6_k(const BlockQ6_K& block, Values<256>& w) {
  const float d = f16_to_f32(block.d);
  for (size_t i = 0; i < 256; ++i) {
    const size_t half = i / 128;
    const size_t j = i % 128;
    const int low = block.ql[64 * half + j % 64] >> (j / 64 * 4) & 15;
    const int high = block.qh[32 * half + j % 32] >> (j / 32 * 2) & 3;
    const size_t group = i / 16;
    const float scale = d * static_cast<float>(block.scales[group]);
    w[i] = scale * static_cast<float>((low | high << 4) - 32);
  }
}

void decode_q8_k(const BlockQ8_K& block, Values<256>& w) {
  for (size_t i = 0; i < 256; ++i) w[i] = block.d * static_cast<float>(block.qs[i]);
}

}  // namespace

void decode_k_quant(Encoding from, const void* blocks, float* values, size_t count) {
  switch (from) {
    case Encoding::kQ2_K:
      return decode_blocks(decode_q2_k, blocks, values, count);
    case Encoding::kQ3_K:
      return decode_blocks(decode_q3_k, blocks, values, count);
    case Encoding::kQ4_K:
      return decode_blocks(decode_q4_or_q5_k<BlockQ4_K>, blocks, values, count);
    case Encoding::kQ5_K:
      return decode_blocks(decode_q4_or_q5_k<BlockQ5_K>, blocks, values, count);
    case Encoding::kQ6_K:
      return decode_blocks(decode_q6_k, blocks, values, count);
    case Encoding::kQ8_K:
      return decode_blocks(decode_q8_k, blocks, values, count);
    default:
      LOBIT_CHECK(false && "expected an encoding that can_decode");
  }
}

}  // namespace lobit::reference
