// What the files of the reference codec share. Not installed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "lobit/dtype/block.h"
#include "lobit/dtype/encoding.h"

namespace lobit::reference {

// The values of one block.
template <size_t N>
using Values = std::array<float, N>;

// Decodes `count` values block by block. Blocks and values are copied in and out because neither need be
// aligned.
template <typename Block, size_t N>
void decode_blocks(void (*decode_block)(const Block&, Values<N>&), const void* blocks, float* values,
                   size_t count) {
  const auto* from = static_cast<const std::byte*>(blocks);
  auto* to = reinterpret_cast<std::byte*>(values);
  for (size_t i = 0; i < count / N; ++i) {
    Block block;
    Values<N> out;
    std::memcpy(&block, from + i * sizeof block, sizeof block);
    decode_block(block, out);
    std::memcpy(to + i * sizeof out, out.data(), sizeof out);
  }
}

// The codes of one block, as the factors of its scale.
template <size_t N>
using Codes = std::array<int8_t, N>;

// Stores codes beside a block's scale.
void pack(const Codes<32>& codes, BlockQ8_0& block);
void pack(const Codes<32>& codes, BlockQ4_0& block);
void pack(const Codes<32>& codes, BlockQ5_0& block);
void pack(const Codes<64>& codes, BlockQ2_0& block);
void pack(const Codes<256>& codes, BlockTQ2_0& block);
void pack(const Codes<256>& codes, BlockTQ1_0& block);

inline uint8_t nibbles(int low, int high) {
  return static_cast<uint8_t>((low & 0x0F) | (high & 0x0F) << 4);
}

// Q5_0 and Q5_1: codes of 5 bits as nibbles and a little-endian word of fifth bits.
template <typename Block>
void pack_five_bits(const std::array<uint8_t, 32>& codes, Block& block) {
  for (size_t j = 0; j < 16; ++j) block.qs[j] = nibbles(codes[j], codes[j + 16]);
  for (size_t byte = 0; byte < 4; ++byte) {
    unsigned bits = 0;
    for (size_t i = 0; i < 8; ++i) bits |= (codes[8 * byte + i] >> 4 & 1u) << i;
    block.qh[byte] = static_cast<uint8_t>(bits);
  }
}

// decode() for Q2_K to Q8_K.
void decode_k_quant(Encoding from, const void* blocks, float* values, size_t count);

}  // namespace lobit::reference
