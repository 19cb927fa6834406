// What the files of the reference codec share. Not installed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "lobit/dtype/block.h"
#include "lobit/dtype/encoding.h"
#include "lobit/dtype/reference.h"

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

// The codes of an encoding with a minimum, from 0 up.
using AffineCodes = std::array<uint8_t, 32>;
void pack(const AffineCodes& codes, BlockQ4_1& block);
void pack(const AffineCodes& codes, BlockQ5_1& block);

// encode_scaled() for Q4_1 and Q5_1.
EncodeCounts encode_scaled_affine(Encoding to, const float* values, void* blocks, size_t count);

inline uint8_t nibbles(int low, int high) {
  return static_cast<uint8_t>((low & 0x0F) | (high & 0x0F) << 4);
}

// decode() for Q2_K to Q8_K.
void decode_k_quant(Encoding from, const void* blocks, float* values, size_t count);

}  // namespace lobit::reference
