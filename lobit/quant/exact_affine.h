// QuantizeMethod::kExact for the encodings with a minimum beside the scale. Not installed.
#pragma once

#include <cstddef>
#include <span>

#include "lobit/dtype/encoding.h"

namespace lobit {

// Overwrites a block of `to` (Q4_1, Q5_1), which holds the finite values `x` with the squared error `known`,
// by one with a smaller error if one is found.
//
// With two numbers to choose there are too many assignments of codes to go through all of them. Compared are,
// for each of many codes that the smallest value may get before rounding, all assignments from one step of a
// code to the next while the largest value gets one near the last code. Each best one is refined until it
// stays, and the best of all is stored with the F16 scale and minimum, among those next to the exact ones,
// that err least. Values that are an F16 scale times codes plus an F16 minimum come back unless F32 rounds
// them, which it may do where the minimum is above 2^13 times the scale or below 2^-8 of it.
void improve_affine_block(Encoding to, std::span<const float, 32> x, double known, std::byte* block);

}  // namespace lobit
