#include <array>
#include <cstring>

#include "lobit/base/check.h"
#include "lobit/dtype/block.h"
#include "lobit/dtype/half.h"
#include "lobit/dtype/reference.h"
#include "lobit/dtype/reference_internal.h"

namespace lobit::reference {
namespace {

void decode_q8_0(const BlockQ8_0& block, Values<32>& w) {
  const float d = f16_to_f32(block.d);
  for (size_t j = 0; j < 32; ++j) w[j] = d * static_cast<float>(block.qs[j]);
}

// The 32 codes of a block, 4 bits each or 5 where the block has qh.
template <typename Block>
std::array<int, 32> codes(const Block& block) {
  std::array<int, 32> q;
  for (size_t j = 0; j < 16; ++j) {
    q[j] = block.qs[j] & 0x0F;
    q[j + 16] = block.qs[j] >> 4;
  }
  if constexpr (requires { block.qh; }) {
    for (size_t j = 0; j < 32; ++j) q[j] |= (block.qh[j / 8] >> (j % 8) & 1) << 4;
  }
  return q;
}

// Q4_0, Q5_0.
template <typename Block, int kZero>
void decode_symmetric(const Block& block, Values<32>& w) {
  const float d = f16_to_f32(block.d);
  const std::array<int, 32> q = codes(block);
  for (size_t j = 0; j < 32; ++j) w[j] = d * static_cast<float>(q[j] - kZero);
}

// Q4_1, Q5_1. Product and sum are rounded one after the other.
template <typename Block>
void decode_affine(const Block& block, Values<32>& w) {
  const float d = f16_to_f32(block.d);
  const float m = f16_to_f32(block.m);
  const std::array<int, 32> q = codes(block);
  for (size_t j = 0; j < 32; ++j) w[j] = d * static_cast<float>(q[j]) + m;
}

void decode_q2_0(const BlockQ2_0& block, Values<64>& w) {
  const float d = f16_to_f32(block.d);
  for (size_t j = 0; j < 64; ++j) {
    w[j] = d * static_cast<float>((block.qs[j / 4] >> (2 * (j % 4)) & 3) - 1);
  }
}

void decode_q1_0(const BlockQ1_0& block, Values<128>& w) {
  const float d = f16_to_f32(block.d);
  for (size_t j = 0; j < 128; ++j) w[j] = (block.qs[j / 8] >> (j % 8) & 1) != 0 ? d : -d;
}

void decode_tq2_0(const BlockTQ2_0& block, Values<256>& w) {
  const float d = f16_to_f32(block.d);
  for (size_t j = 0; j < 64; ++j) {
    const size_t first = j / 32 * 128 + j % 32;
    for (size_t n = 0; n < 4; ++n) {
      w[first + 32 * n] = d * static_cast<float>((block.qs[j] >> (2 * n) & 3) - 1);
    }
  }
}

// The first `digits` base-3 digits of a byte, each as w = d * (digit - 1), `stride` values apart. The byte is
// a fraction of 256, so times 3 the next digit stands above it.
void decode_base3(uint8_t byte, float d, float* w, size_t stride, size_t digits) {
  unsigned rest = byte;
  for (size_t n = 0; n < digits; ++n) {
    rest *= 3;
    w[n * stride] = d * static_cast<float>(static_cast<int>(rest >> 8) - 1);
    rest &= 0xFF;
  }
}

void decode_tq1_0(const BlockTQ1_0& block, Values<256>& w) {
  const float d = f16_to_f32(block.d);
  for (size_t m = 0; m < 32; ++m) decode_base3(block.qs[m], d, &w[m], 32, 5);
  for (size_t m = 0; m < 16; ++m) decode_base3(block.qs[32 + m], d, &w[160 + m], 16, 5);
  for (size_t j = 0; j < 4; ++j) decode_base3(block.qh[j], d, &w[240 + j], 4, 4);
}

template <float (*kConvert)(uint16_t)>
void decode_halves(const void* halves, float* values, size_t count) {
  const auto* from = static_cast<const std::byte*>(halves);
  auto* to = reinterpret_cast<std::byte*>(values);
  for (size_t i = 0; i < count; ++i) {
    uint16_t half;
    std::memcpy(&half, from + i * sizeof half, sizeof half);
    const float value = kConvert(half);
    std::memcpy(to + i * sizeof value, &value, sizeof value);
  }
}

}  // namespace

void decode(Encoding from, const void* blocks, float* values, size_t count) {
  LOBIT_DCHECK(traits(from).can_decode && count % traits(from).block_elements == 0);
  switch (from) {
    case Encoding::kF32:
      if (count > 0) std::memcpy(reinterpret_cast<std::byte*>(values), blocks, count * sizeof(float));
      return;
    case Encoding::kF16:
      return decode_halves<f16_to_f32>(blocks, values, count);
    case Encoding::kBF16:
      return decode_halves<bf16_to_f32>(blocks, values, count);
    case Encoding::kQ8_0:
      return decode_blocks(decode_q8_0, blocks, values, count);
    case Encoding::kQ4_0:
      return decode_blocks(decode_symmetric<BlockQ4_0, 8>, blocks, values, count);
    case Encoding::kQ4_1:
      return decode_blocks(decode_affine<BlockQ4_1>, blocks, values, count);
    case Encoding::kQ5_0:
      return decode_blocks(decode_symmetric<BlockQ5_0, 16>, blocks, values, count);
    case Encoding::kQ5_1:
      return decode_blocks(decode_affine<BlockQ5_1>, blocks, values, count);
    case Encoding::kQ2_0:
      return decode_blocks(decode_q2_0, blocks, values, count);
    case Encoding::kQ1_0:
      return decode_blocks(decode_q1_0, blocks, values, count);
    case Encoding::kTQ2_0:
      return decode_blocks(decode_tq2_0, blocks, values, count);
    case Encoding::kTQ1_0:
      return decode_blocks(decode_tq1_0, blocks, values, count);
    default:
      return decode_k_quant(from, blocks, values, count);
  }
}

size_t first_invalid_block(Encoding encoding, const void* blocks, size_t block_count) {
  if (encoding != Encoding::kTQ2_0) return block_count;
  const auto* from = static_cast<const std::byte*>(blocks);
  for (size_t i = 0; i < block_count; ++i) {
    BlockTQ2_0 block;
    std::memcpy(&block, from + i * sizeof block, sizeof block);
    for (const uint8_t byte : block.qs) {
      if ((byte & byte >> 1 & 0x55) != 0) return i;  // both bits of a code
    }
  }
  return block_count;
}

}  // namespace lobit::reference
