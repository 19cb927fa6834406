#include "lobit/dtype/block_codes.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "lobit/base/check.h"
#include "lobit/dtype/reference_internal.h"

namespace lobit {
namespace reference {
namespace {

// Five base-3 digits, `stride` codes apart, as a fraction of 256 that is rounded up: multiplying by 3 then
// yields one digit after the other above the byte. The fifth digit is 0 where only four are stored.
uint8_t base3(const int8_t* codes, size_t stride, size_t digits) {
  int value = 0;
  for (size_t n = 0; n < 5; ++n) value = 3 * value + (n < digits ? codes[n * stride] + 1 : 0);
  return static_cast<uint8_t>((value * 256 + 242) / 243);
}

// Code `index` of 2 bits, at bits 2 * `place` of its byte.
unsigned two_bits(const int8_t* codes, size_t index, size_t place) {
  return static_cast<unsigned>(codes[index] + 1) << (2 * place);
}

// Q5_0 and Q5_1: codes of 5 bits as nibbles and a little-endian word of fifth bits.
template <typename Block>
void pack_five_bits(const AffineCodes& codes, Block& block) {
  for (size_t j = 0; j < 16; ++j) block.qs[j] = nibbles(codes[j], codes[j + 16]);
  for (size_t byte = 0; byte < 4; ++byte) {
    unsigned bits = 0;
    for (size_t i = 0; i < 8; ++i) bits |= (codes[8 * byte + i] >> 4 & 1u) << i;
    block.qh[byte] = static_cast<uint8_t>(bits);
  }
}

}  // namespace

void pack(const Codes<32>& codes, BlockQ8_0& block) {
  std::ranges::copy(codes, block.qs);
}

void pack(const Codes<32>& codes, BlockQ4_0& block) {
  for (size_t j = 0; j < 16; ++j) block.qs[j] = nibbles(codes[j] + 8, codes[j + 16] + 8);
}

void pack(const Codes<32>& codes, BlockQ5_0& block) {
  AffineCodes stored;
  std::ranges::transform(codes, stored.begin(), [](int8_t c) { return static_cast<uint8_t>(c + 16); });
  pack_five_bits(stored, block);
}

void pack(const AffineCodes& codes, BlockQ4_1& block) {
  for (size_t j = 0; j < 16; ++j) block.qs[j] = nibbles(codes[j], codes[j + 16]);
}

void pack(const AffineCodes& codes, BlockQ5_1& block) {
  pack_five_bits(codes, block);
}

void pack(const Codes<64>& codes, BlockQ2_0& block) {
  for (size_t j = 0; j < 16; ++j) {
    unsigned bits = 0;
    for (size_t i = 0; i < 4; ++i) bits |= two_bits(codes.data(), 4 * j + i, i);
    block.qs[j] = static_cast<uint8_t>(bits);
  }
}

void pack(const Codes<256>& codes, BlockTQ2_0& block) {
  for (size_t j = 0; j < 64; ++j) {
    unsigned bits = 0;
    for (size_t n = 0; n < 4; ++n) bits |= two_bits(codes.data(), j / 32 * 128 + j % 32 + 32 * n, n);
    block.qs[j] = static_cast<uint8_t>(bits);
  }
}

void pack(const Codes<256>& codes, BlockTQ1_0& block) {
  for (size_t m = 0; m < 32; ++m) block.qs[m] = base3(&codes[m], 32, 5);
  for (size_t m = 0; m < 16; ++m) block.qs[32 + m] = base3(&codes[160 + m], 16, 5);
  for (size_t j = 0; j < 4; ++j) block.qh[j] = base3(&codes[240 + j], 4, 4);
}

}  // namespace reference

namespace {

template <typename Block, size_t N>
void store(uint16_t scale, const int8_t* codes, void* out) {
  reference::Codes<N> group;
  std::copy_n(codes, N, group.begin());
  Block block;
  block.d = scale;
  reference::pack(group, block);
  std::memcpy(out, &block, sizeof block);
}

template <typename Block>
void store_affine(uint16_t scale, uint16_t minimum, const uint8_t* codes, void* out) {
  reference::AffineCodes group;
  std::copy_n(codes, group.size(), group.begin());
  Block block;
  block.d = scale;
  block.m = minimum;
  reference::pack(group, block);
  std::memcpy(out, &block, sizeof block);
}

}  // namespace

std::optional<CodeRange> code_range(Encoding encoding) {
  switch (encoding) {
    case Encoding::kQ8_0:
      return CodeRange{-127, 127};
    case Encoding::kQ4_0:
      return CodeRange{-8, 7};
    case Encoding::kQ5_0:
      return CodeRange{-16, 15};
    case Encoding::kQ2_0:
      return CodeRange{-1, 2};
    case Encoding::kTQ2_0:
    case Encoding::kTQ1_0:
      return CodeRange{-1, 1};
    default:
      return std::nullopt;
  }
}

void store_block(Encoding to, uint16_t scale, const int8_t* codes, void* block) {
  switch (to) {
    case Encoding::kQ8_0:
      return store<BlockQ8_0, 32>(scale, codes, block);
    case Encoding::kQ4_0:
      return store<BlockQ4_0, 32>(scale, codes, block);
    case Encoding::kQ5_0:
      return store<BlockQ5_0, 32>(scale, codes, block);
    case Encoding::kQ2_0:
      return store<BlockQ2_0, 64>(scale, codes, block);
    case Encoding::kTQ2_0:
      return store<BlockTQ2_0, 256>(scale, codes, block);
    case Encoding::kTQ1_0:
      return store<BlockTQ1_0, 256>(scale, codes, block);
    default:
      LOBIT_CHECK(false && "expected an encoding with a code_range()");
  }
}

std::optional<int> affine_top_code(Encoding encoding) {
  if (encoding == Encoding::kQ4_1) return 15;
  if (encoding == Encoding::kQ5_1) return 31;
  return std::nullopt;
}

void store_affine_block(Encoding to, uint16_t scale, uint16_t minimum, const uint8_t* codes, void* block) {
  LOBIT_CHECK(affine_top_code(to).has_value());
  if (to == Encoding::kQ4_1) return store_affine<BlockQ4_1>(scale, minimum, codes, block);
  store_affine<BlockQ5_1>(scale, minimum, codes, block);
}

}  // namespace lobit
