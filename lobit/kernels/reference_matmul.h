// Scalar matrix products: what the SIMD kernels of matmul.h are tested against, and what machines without
// vectors run. Same contracts. Not installed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lobit/kernels/matmul.h"

namespace lobit::kernels::reference {

// The panels of the scalar gemm(); any tile is right, this one keeps a line of A and of B at work.
inline constexpr GemmTile kGemmTile{4, 16};

void pack_panels(const float* values, size_t stride, size_t count, size_t depth, size_t tile, float* panels);
void gemm(const GemmBlock& block);

// Of weights that lobit can decode, F32 included.
void row_products(const RowProducts& products);

// Of weights that have an int8_activation_place().
void int8_row_products(const RowProducts& products);

// Where the activation for value `index` of a block lies among the block's integers: in the order in which
// the vector kernels unpack the codes.
size_t int8_activation_place(Encoding weights, size_t index);

// value = scale * (code - bias), with codes of 0 and more, except in Q8_0, where codes have a sign and the
// bias is that of a code that is stored with 128 added.
int32_t int8_bias(Encoding weights);

}  // namespace lobit::kernels::reference
