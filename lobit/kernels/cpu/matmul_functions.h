// The kernels of matrix products for the Highway target in use, as matmul.cc asks for them. Not installed.
#pragma once

#include <cstddef>

#include "lobit/kernels/matmul.h"

namespace lobit::kernels {

struct GemmFunctions {
  GemmTile tile;
  void (*pack)(const float* values, size_t stride, size_t count, size_t depth, size_t tile, float* panels);
  void (*gemm)(const GemmBlock& block);
};

// nullptr when the target has no vectors.
const GemmFunctions* gemm_functions();

// nullptr for encodings that have no kernel of their own, and when the target has no vectors.
RowProductsFn float_row_products(Encoding weights);
// The same, of 8-bit activations; those of other encodings have their own files.
RowProductsFn q8_q4_int8_products(Encoding weights);
RowProductsFn q2_q1_int8_products(Encoding weights);
RowProductsFn tq2_int8_products(Encoding weights);
RowProductsFn tq1_int8_products(Encoding weights);

}  // namespace lobit::kernels
