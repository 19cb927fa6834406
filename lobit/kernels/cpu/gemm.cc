// The blocked product of F32 panels. A tile of the result stays in registers while k advances: each step
// loads one k of a panel of B as vectors and multiplies it with each of the tile's values of A.
#include <algorithm>
#include <array>
#include <utility>

#include "lobit/kernels/cpu/matmul_functions.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/gemm.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/common-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

// The tile's vectors, those of one k of B and a value of A fill the registers: 32 with AVX-512 and NEON, 16
// otherwise.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
constexpr size_t kTileRows = 14;
constexpr size_t kTileVectors = 2;
#elif HWY_TARGET == HWY_NEON
constexpr size_t kTileRows = 8;
constexpr size_t kTileVectors = 3;
#else
constexpr size_t kTileRows = 6;
constexpr size_t kTileVectors = 2;
#endif
constexpr size_t kTileColumns = kTileVectors * kLanes;

// kRows x kTileColumns of the result, with the first kRows of the panel `a`.
template <size_t kRows, bool kAdd>
HWY_INLINE void multiply_tile(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, size_t depth,
                              float* HWY_RESTRICT out, size_t out_stride) {
  const DF d;
  VF sums[kRows][kTileVectors];
  HWY_UNROLL(16)
  for (size_t r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (size_t v = 0; v < kTileVectors; ++v) sums[r][v] = hn::Zero(d);
  }
  for (size_t k = 0; k < depth; ++k, a += kTileRows, b += kTileColumns) {
    VF columns[kTileVectors];
    HWY_UNROLL(4)
    for (size_t v = 0; v < kTileVectors; ++v) columns[v] = hn::LoadU(d, b + v * kLanes);
    HWY_UNROLL(16)
    for (size_t r = 0; r < kRows; ++r) {
      const VF row = hn::Set(d, a[r]);
      HWY_UNROLL(4)
      for (size_t v = 0; v < kTileVectors; ++v) sums[r][v] = hn::MulAdd(row, columns[v], sums[r][v]);
    }
  }
  HWY_UNROLL(16)
  for (size_t r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (size_t v = 0; v < kTileVectors; ++v) {
      float* to = out + r * out_stride + v * kLanes;
      hn::StoreU(kAdd ? hn::Add(hn::LoadU(d, to), sums[r][v]) : sums[r][v], d, to);
    }
  }
}

template <size_t kRows>
void whole_tile(const float* a, const float* b, const GemmBlock& block, float* out) {
  if (block.add) {
    multiply_tile<kRows, true>(a, b, block.depth, out, block.out_stride);
  } else {
    multiply_tile<kRows, false>(a, b, block.depth, out, block.out_stride);
  }
}

// A tile that the result's right border cuts.
template <size_t kRows>
HWY_NOINLINE void cut_tile(const float* a, const float* b, const GemmBlock& block, float* out,
                           size_t columns) {
  alignas(64) float tile[kRows * kTileColumns];
  multiply_tile<kRows, false>(a, b, block.depth, tile, kTileColumns);
  for (size_t r = 0; r < kRows; ++r, out += block.out_stride) {
    for (size_t c = 0; c < columns; ++c) {
      const float sum = tile[r * kTileColumns + c];
      out[c] = block.add ? out[c] + sum : sum;
    }
  }
}

template <size_t kRows>
HWY_NOINLINE void any_tile(const float* a, const float* b, const GemmBlock& block, float* out,
                           size_t columns) {
  if (columns == kTileColumns) {
    whole_tile<kRows>(a, b, block, out);
  } else {
    cut_tile<kRows>(a, b, block, out, columns);
  }
}

using TileFn = void (*)(const float* a, const float* b, const GemmBlock& block, float* out, size_t columns);

template <size_t... kIndex>
constexpr std::array<TileFn, kTileRows> make_tile_functions(std::index_sequence<kIndex...> /*rows*/) {
  return {any_tile<kIndex + 1>...};
}

// By the number of rows, less one.
constexpr std::array<TileFn, kTileRows> kTileFunctions =
    make_tile_functions(std::make_index_sequence<kTileRows>());

void multiply(const GemmBlock& block) {
  for (size_t column = 0; column < block.columns; column += kTileColumns) {
    const float* b = block.b + column * block.depth;
    const size_t columns = std::min(kTileColumns, block.columns - column);
    for (size_t row = 0; row < block.rows; row += kTileRows) {
      const size_t rows = std::min(kTileRows, block.rows - row);
      kTileFunctions[rows - 1](block.a + row * block.depth, b, block,
                               block.out + row * block.out_stride + column, columns);
    }
  }
}

// Four neighbours of four rows -> four columns of a panel.
HWY_INLINE void transpose_four(const float* values, size_t stride, size_t tile, float* panel) {
  const hn::FixedTag<float, 4> d;
  const auto a = hn::LoadU(d, values);
  const auto b = hn::LoadU(d, values + stride);
  const auto c = hn::LoadU(d, values + 2 * stride);
  const auto e = hn::LoadU(d, values + 3 * stride);
  const auto ac_low = hn::InterleaveLower(d, a, c);
  const auto be_low = hn::InterleaveLower(d, b, e);
  const auto ac_high = hn::InterleaveUpper(d, a, c);
  const auto be_high = hn::InterleaveUpper(d, b, e);
  hn::StoreU(hn::InterleaveLower(d, ac_low, be_low), d, panel);
  hn::StoreU(hn::InterleaveUpper(d, ac_low, be_low), d, panel + tile);
  hn::StoreU(hn::InterleaveLower(d, ac_high, be_high), d, panel + 2 * tile);
  hn::StoreU(hn::InterleaveUpper(d, ac_high, be_high), d, panel + 3 * tile);
}

// One panel of 4 to `tile` rows. The last group of four may overlap the one before it.
HWY_INLINE void pack_four_rows(const float* values, size_t stride, size_t rows, size_t depth, size_t tile,
                               float* panel) {
  const size_t whole = depth / 4 * 4;
  for (size_t done = 0; done < rows; done += 4) {
    const size_t row = std::min(done, rows - 4);
    const float* from = values + row * stride;
    for (size_t k = 0; k < whole; k += 4) transpose_four(from + k, stride, tile, panel + k * tile + row);
    for (size_t k = whole; k < depth; ++k) {
      for (size_t r = 0; r < 4; ++r) panel[k * tile + row + r] = from[r * stride + k];
    }
  }
}

void pack(const float* values, size_t stride, size_t count, size_t depth, size_t tile, float* panels) {
  for (; count > 0; values += tile * stride, panels += tile * depth) {
    const size_t rows = std::min(tile, count);
    count -= rows;
    if (rows < tile) std::fill_n(panels, tile * depth, 0.0f);
    if (rows >= 4) {
      pack_four_rows(values, stride, rows, depth, tile, panels);
    } else {
      for (size_t r = 0; r < rows; ++r) {
        for (size_t k = 0; k < depth; ++k) panels[k * tile + r] = values[r * stride + k];
      }
    }
  }
}

const GemmFunctions* find_functions() {
  static constexpr GemmFunctions kFunctions{{kTileRows, kTileColumns}, pack, multiply};
  return &kFunctions;
}

#else
const GemmFunctions* find_functions() {
  return nullptr;
}
#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {

HWY_EXPORT(find_functions);
const GemmFunctions* gemm_functions() {
  return HWY_DYNAMIC_DISPATCH(find_functions)();
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE
