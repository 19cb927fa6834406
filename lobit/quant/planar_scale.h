// Scales of planar groups: codes in one plane, F32 scales in another, a scale for each row, tensor or run of
// values, so that a group has any length. Pure functions, safe from any thread.
#pragma once

#include <span>

#include "lobit/base/export.h"
#include "lobit/dtype/encoding.h"
#include "lobit/quant/quantize_method.h"

namespace lobit {

// A scale for `group` with a smaller squared error than `direct`, the one that the direct rule of `to` gives,
// or else `direct`: so it is for kDirect, for encodings without a scale search, and for groups with a NaN or
// an Inf, too small or too large ones. Codes are the nearest to value / scale in the whole code_range() of
// `to`; the scale of encodings whose range is not symmetric may be negative.
//
// kExact sorts groups of up to 1024 values, ternary ones up to 65536, and compares scales from half to twice
// the scaled one. In longer groups the error hardly changes from one assignment to the next; there scales are
// refined until they stay. Both methods find a scale without error where there is one. The result is the same
// at every SIMD level.
LOBIT_API float planar_scale(Encoding to, QuantizeMethod method, std::span<const float> group, float direct);

}  // namespace lobit
