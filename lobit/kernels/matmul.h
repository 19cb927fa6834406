// Matrix products as functions on pointers and counts with runtime SIMD dispatch: the blocked product of F32
// panels, the products of the rows of a weight matrix with a few rows of activations, and the same with
// activations of 8-bit integers. Kernels do not allocate, do not fail and may run on any number of threads.
// Floats lie at addresses that floats may have, rows of RowProducts anywhere; the default floating-point
// environment is expected (ScopedFpEnv).
//
// A sum over `depth` is made in an order that only the SIMD level, `depth` and the function decide. Neither
// the other rows and columns of a call nor their number change a bit of it, so a product may be cut among
// threads anywhere along its rows and columns. Levels differ in their last bits, since they sum in other
// orders and may fuse a product with its addition; the integer sums are the same everywhere.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lobit/base/export.h"
#include "lobit/dtype/encoding.h"

namespace lobit::kernels {

// The blocked product: out[rows][columns] = A[rows][depth] * B[depth][columns]. Both operands are packed into
// panels first: a panel holds `tile` rows of A (or columns of B), those of one k next to each other, and
// zeros for rows that A does not have. The panels of one operand follow each other.
struct GemmTile {
  size_t rows;     // of a panel of A
  size_t columns;  // of a panel of B
};
LOBIT_API GemmTile gemm_tile();  // of the SIMD level in use

// The floats of the panels of `count` rows or columns.
constexpr size_t panel_floats(size_t tile, size_t count, size_t depth) {
  return (count + tile - 1) / tile * tile * depth;
}

// values[i * stride + k] -> panels, for i < count and k < depth: the rows of A, or of the transposed B.
LOBIT_API void pack_panels(const float* values, size_t stride, size_t count, size_t depth, size_t tile,
                           float* panels);

// values[k * stride + i] -> panels: the columns of B, or of the transposed A. `panels` points to the first of
// `depth` k in panels that hold `panel_depth`.
LOBIT_API void pack_panels_transposed(const float* values, size_t stride, size_t count, size_t depth,
                                      size_t tile, size_t panel_depth, float* panels);

// out[i * out_stride + j] = sum over k, or with `add` that much more.
struct GemmBlock {
  const float* a;  // panels of `rows`
  const float* b;  // panels of `columns`
  size_t rows;
  size_t columns;
  size_t depth;
  float* out;
  size_t out_stride;
  bool add;
};
LOBIT_API void gemm(const GemmBlock& block);

// Products of rows: out[m * out_stride + n] = sum over k of weight n, k times activation m, k. For few rows
// of activations, where the time is that of reading the weights once.
struct RowProducts {
  Encoding encoding;  // of the weights
  const void* weights;
  size_t weight_stride;  // bytes from one row to the next
  size_t weight_rows;
  size_t depth;  // whole blocks of the weights
  const void* activations;
  size_t activation_stride;  // bytes
  size_t activation_rows;
  float* out;
  size_t out_stride;  // floats
};
using RowProductsFn = void (*)(const RowProducts& products);

// With activations in F32; nullptr for weights that lobit cannot decode. Each weight is multiplied as
// decoder() gives it.
LOBIT_API RowProductsFn row_products(Encoding weights);

// With activations of int8_activations(). Every block of weights gives one exact integer sum, which is
// multiplied by both scales and added in F32. nullptr for encodings other than Q8_0, Q4_0, Q2_0, Q1_0, TQ2_0
// and TQ1_0.
LOBIT_API RowProductsFn int8_row_products(Encoding weights);

// Activations of 8 bits for weights of an encoding that has int8_row_products(): a scale for as many values
// as a block of the weights has, 1/127 of their largest magnitude, and the integers nearest to value / scale,
// halves to even. A block with a NaN or Inf has the scale NaN, one whose largest magnitude is below
// kTinyGroup is zeros. The order of the integers is that of the kernels, the same at every SIMD level.
using Int8ActivationsFn = void (*)(const float* values, size_t depth, void* row);
LOBIT_API Int8ActivationsFn int8_activations(Encoding weights);

// The bytes of one row of them, a multiple of 64.
LOBIT_API size_t int8_activation_bytes(Encoding weights, size_t depth);

}  // namespace lobit::kernels
