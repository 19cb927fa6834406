// What the files of the reference codec share. Not installed.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>

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

// decode() for Q2_K to Q8_K.
void decode_k_quant(Encoding from, const void* blocks, float* values, size_t count);

}  // namespace lobit::reference
