// The element-wise kernels of cpu/ as elementwise.cc asks for them. Each function answers for the Highway
// target in use; nullptr means that the target has no vectors. Not installed.
#pragma once

#include "lobit/kernels/elementwise.h"

namespace lobit::kernels {

BinaryFn vector_binary(BinaryOp op);
HalfBinaryFn vector_half_binary(BinaryOp op, Encoding format);
UnaryFn vector_unary(UnaryOp op);
ClampFn vector_clamp();
CompareFn vector_compare(CompareOp op);
SelectFn vector_select();

}  // namespace lobit::kernels
