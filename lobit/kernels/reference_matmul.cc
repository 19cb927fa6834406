#include "lobit/kernels/reference_matmul.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "lobit/dtype/block.h"
#include "lobit/dtype/half.h"
#include "lobit/dtype/reference.h"

namespace lobit::kernels::reference {
namespace {

using enum Encoding;

constexpr size_t kTile = 512;  // decoded values on the stack; a multiple of every block

template <typename T>
T load(const void* numbers, size_t index) {
  T number;
  std::memcpy(&number, static_cast<const std::byte*>(numbers) + index * sizeof(T), sizeof(T));
  return number;
}

// Value `index` of a block as an integer: the value is scale * it.
int32_t block_integer(Encoding encoding, const uint8_t* block, size_t index) {
  switch (encoding) {
    case kQ8_0:
      return static_cast<int8_t>(block[offsetof(BlockQ8_0, qs) + index]);
    case kQ4_0:
      return (block[offsetof(BlockQ4_0, qs) + index % 16] >> (index < 16 ? 0 : 4) & 15) - 8;
    case kQ2_0:
      return (block[offsetof(BlockQ2_0, qs) + index / 4] >> (2 * (index % 4)) & 3) - 1;
    case kQ1_0:
      return (block[offsetof(BlockQ1_0, qs) + index / 8] >> (index % 8) & 1) * 2 - 1;
    case kTQ2_0:
      return (block[index / 128 * 32 + index % 32] >> (2 * (index / 32 % 4)) & 3) - 1;
    default:
      break;
  }
  // TQ1_0: digit n of a byte is the top one after n multiplications with 3.
  constexpr std::array<uint32_t, 5> kPowers{1, 3, 9, 27, 81};
  size_t byte = index % 32;
  size_t digit = index / 32;
  if (index >= 240) {
    byte = 48 + index % 4;
    digit = (index - 240) / 4;
  } else if (index >= 160) {
    byte = 32 + index % 16;
    digit = (index - 160) / 16;
  }
  const uint32_t rest = block[byte] * kPowers[digit] & 255u;
  return static_cast<int32_t>(rest * 3 >> 8) - 1;
}

size_t scale_offset(Encoding encoding) {
  if (encoding == kTQ2_0) return offsetof(BlockTQ2_0, d);
  if (encoding == kTQ1_0) return offsetof(BlockTQ1_0, d);
  return 0;
}

float dot_row(const RowProducts& p, const std::byte* weights, const std::byte* activations) {
  const EncodingTraits& from = traits(p.encoding);
  std::array<float, kTile> values;
  float sum = 0.0f;
  for (size_t first = 0; first < p.depth; first += kTile) {
    const size_t count = std::min(kTile, p.depth - first);
    const std::byte* blocks = weights + first / from.block_elements * from.block_bytes;
    if (p.encoding == kF32) {
      std::memcpy(values.data(), blocks, count * sizeof(float));
    } else {
      lobit::reference::decode(p.encoding, blocks, values.data(), count);
    }
    for (size_t k = 0; k < count; ++k) sum += values[k] * load<float>(activations, first + k);
  }
  return sum;
}

float dot_int8_row(const RowProducts& p, const std::byte* weights, const std::byte* activations) {
  const EncodingTraits& from = traits(p.encoding);
  const std::byte* scales = activations + p.depth;
  float sum = 0.0f;
  for (size_t b = 0; b < p.depth / from.block_elements; ++b, weights += from.block_bytes) {
    const auto* block = reinterpret_cast<const uint8_t*>(weights);
    int32_t products = 0;
    for (size_t i = 0; i < from.block_elements; ++i) {
      const size_t place = b * from.block_elements + int8_activation_place(p.encoding, i);
      products += block_integer(p.encoding, block, i) * load<int8_t>(activations, place);
    }
    const float scale = f16_to_f32(load<uint16_t>(weights + scale_offset(p.encoding), 0));
    sum += static_cast<float>(products) * (scale * load<float>(scales, b));
  }
  return sum;
}

template <typename Dot>
void for_each_result(const RowProducts& p, Dot dot) {
  for (size_t m = 0; m < p.activation_rows; ++m) {
    const auto* activations = static_cast<const std::byte*>(p.activations) + m * p.activation_stride;
    for (size_t n = 0; n < p.weight_rows; ++n) {
      const auto* weights = static_cast<const std::byte*>(p.weights) + n * p.weight_stride;
      p.out[m * p.out_stride + n] = dot(p, weights, activations);
    }
  }
}

}  // namespace

void pack_panels(const float* values, size_t stride, size_t count, size_t depth, size_t tile, float* panels) {
  for (size_t first = 0; first < count; first += tile, panels += tile * depth) {
    for (size_t k = 0; k < depth; ++k) {
      for (size_t i = 0; i < tile; ++i) {
        panels[k * tile + i] = first + i < count ? values[(first + i) * stride + k] : 0.0f;
      }
    }
  }
}

void gemm(const GemmBlock& block) {
  for (size_t i = 0; i < block.rows; ++i) {
    const float* a = block.a + i / kGemmTile.rows * kGemmTile.rows * block.depth + i % kGemmTile.rows;
    for (size_t j = 0; j < block.columns; ++j) {
      const float* b =
          block.b + j / kGemmTile.columns * kGemmTile.columns * block.depth + j % kGemmTile.columns;
      float sum = 0.0f;
      for (size_t k = 0; k < block.depth; ++k) sum += a[k * kGemmTile.rows] * b[k * kGemmTile.columns];
      float& out = block.out[i * block.out_stride + j];
      out = block.add ? out + sum : sum;
    }
  }
}

void row_products(const RowProducts& products) {
  for_each_result(products, dot_row);
}

void int8_row_products(const RowProducts& products) {
  for_each_result(products, dot_int8_row);
}

size_t int8_activation_place(Encoding weights, size_t index) {
  if (weights == kQ2_0) return index % 4 * 16 + index / 4;
  if (weights == kQ1_0) return index % 2 * 64 + index % 8 / 2 * 16 + index / 8;
  if (weights == kTQ2_0) return index / 32 % 4 * 64 + index / 128 * 32 + index % 32;
  return index;
}

int32_t int8_bias(Encoding weights) {
  if (weights == kQ8_0) return 128;
  return weights == kQ4_0 ? 8 : 1;
}

}  // namespace lobit::kernels::reference
