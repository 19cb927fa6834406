// The definition of the element-wise operations in plain C++, which lobit/kernels/elementwise.h describes and
// whose bits every SIMD level gives. Pure functions; any thread. Not installed.
#pragma once

#include "lobit/kernels/elementwise.h"

namespace lobit::kernels::reference {

float binary(BinaryOp op, float a, float b);
float unary(UnaryOp op, float x);
float clamp(float x, float low, float high);
bool compare(CompareOp op, float a, float b);

}  // namespace lobit::kernels::reference
