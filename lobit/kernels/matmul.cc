#include "lobit/kernels/matmul.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "lobit/dtype/reference.h"
#include "lobit/kernels/cpu/matmul_functions.h"
#include "lobit/kernels/reference_matmul.h"
#include "lobit/kernels/simd.h"

namespace lobit::kernels {
namespace {

using enum Encoding;

constexpr GemmFunctions kScalarGemm{reference::kGemmTile, reference::pack_panels, reference::gemm};
constexpr size_t kLargestBlock = 256;
constexpr size_t kRowAlignment = 64;
constexpr uint32_t kInfBits = 0x7F800000u;

const GemmFunctions& functions() {
  const GemmFunctions* found = simd_level() == SimdLevel::kScalar ? nullptr : gemm_functions();
  return found != nullptr ? *found : kScalarGemm;
}

bool has_integer_kernel(Encoding weights) {
  constexpr std::array kEncodings{kQ8_0, kQ4_0, kQ2_0, kQ1_0, kTQ2_0, kTQ1_0};
  return std::ranges::find(kEncodings, weights) != kEncodings.end();
}

// That of the SIMD level in use; nullptr when it has none.
RowProductsFn vector_int8_products(Encoding weights) {
  if (simd_level() == SimdLevel::kScalar) return nullptr;
  for (const auto family : {q8_q4_int8_products, q2_q1_int8_products, tq2_int8_products, tq1_int8_products}) {
    if (const RowProductsFn found = family(weights)) return found;
  }
  return nullptr;
}

// The integers of a block in the order of the values, their scale and their sum.
struct Int8Block {
  std::array<int8_t, kLargestBlock> codes;
  float scale;
  int32_t sum;
};

void quantize_block(const float* values, size_t count, Int8Block& block) {
  uint32_t peak_bits = 0;  // as an integer NaN > Inf > every number
  for (size_t i = 0; i < count; ++i) {
    peak_bits = std::max(peak_bits, std::bit_cast<uint32_t>(values[i]) & 0x7FFFFFFFu);
  }
  block.sum = 0;
  const auto peak = std::bit_cast<float>(peak_bits);
  if (peak_bits >= kInfBits || peak < kTinyGroup) {
    block.scale = peak_bits >= kInfBits ? std::numeric_limits<float>::quiet_NaN() : 0.0f;
    std::fill_n(block.codes.begin(), count, int8_t{0});
    return;
  }
  block.scale = peak / 127.0f;
  const float inverse = 127.0f / peak;
  // A float of this size has no places after the point, so adding it rounds, halves to even.
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23
  for (size_t i = 0; i < count; ++i) {
    const auto code = static_cast<int8_t>((values[i] * inverse + kRound) - kRound);
    block.codes[i] = code;
    block.sum += code;
  }
}

template <Encoding kWeights>
std::array<uint8_t, kLargestBlock> find_places() {
  std::array<uint8_t, kLargestBlock> places{};
  for (size_t i = 0; i < traits(kWeights).block_elements; ++i) {
    places[i] = static_cast<uint8_t>(reference::int8_activation_place(kWeights, i));
  }
  return places;
}

// The row: the integers of all blocks, then the scales, then what the sums of unsigned codes begin with.
template <Encoding kWeights>
void quantize_row(const float* values, size_t depth, void* row) {
  static const std::array<uint8_t, kLargestBlock> kPlaces = find_places<kWeights>();
  const size_t count = traits(kWeights).block_elements;
  const size_t blocks = depth / count;
  auto* codes = static_cast<std::byte*>(row);
  std::byte* scales = codes + depth;
  std::byte* starts = scales + blocks * sizeof(float);
  Int8Block block;
  for (size_t b = 0; b < blocks; ++b, values += count, codes += count) {
    quantize_block(values, count, block);
    for (size_t i = 0; i < count; ++i) codes[kPlaces[i]] = std::bit_cast<std::byte>(block.codes[i]);
    const int32_t start = -reference::int8_bias(kWeights) * block.sum;
    std::memcpy(scales + b * sizeof(float), &block.scale, sizeof(float));
    std::memcpy(starts + b * sizeof(int32_t), &start, sizeof(start));
  }
}

}  // namespace

GemmTile gemm_tile() {
  return functions().tile;
}

void pack_panels(const float* values, size_t stride, size_t count, size_t depth, size_t tile, float* panels) {
  functions().pack(values, stride, count, depth, tile, panels);
}

void pack_panels_transposed(const float* values, size_t stride, size_t count, size_t depth, size_t tile,
                            size_t panel_depth, float* panels) {
  for (size_t first = 0; first < count; first += tile, panels += tile * panel_depth) {
    const size_t columns = std::min(tile, count - first);
    for (size_t k = 0; k < depth; ++k) {
      float* panel = panels + k * tile;
      std::memcpy(panel, values + k * stride + first, columns * sizeof(float));
      std::fill(panel + columns, panel + tile, 0.0f);
    }
  }
}

void gemm(const GemmBlock& block) {
  functions().gemm(block);
}

RowProductsFn row_products(Encoding weights) {
  if (weights != kF32 && !traits(weights).can_decode) return nullptr;
  const RowProductsFn found = simd_level() == SimdLevel::kScalar ? nullptr : float_row_products(weights);
  return found != nullptr ? found : reference::row_products;
}

RowProductsFn int8_row_products(Encoding weights) {
  if (!has_integer_kernel(weights)) return nullptr;
  const RowProductsFn found = vector_int8_products(weights);
  return found != nullptr ? found : reference::int8_row_products;
}

Int8ActivationsFn int8_activations(Encoding weights) {
  switch (weights) {
    case kQ8_0:
      return quantize_row<kQ8_0>;
    case kQ4_0:
      return quantize_row<kQ4_0>;
    case kQ2_0:
      return quantize_row<kQ2_0>;
    case kQ1_0:
      return quantize_row<kQ1_0>;
    case kTQ2_0:
      return quantize_row<kTQ2_0>;
    case kTQ1_0:
      return quantize_row<kTQ1_0>;
    default:
      return nullptr;
  }
}

size_t int8_activation_bytes(Encoding weights, size_t depth) {
  const size_t blocks = depth / traits(weights).block_elements;
  const size_t bytes = depth + blocks * (sizeof(float) + sizeof(int32_t));
  return (bytes + kRowAlignment - 1) / kRowAlignment * kRowAlignment;
}

}  // namespace lobit::kernels
