// What --saturate means: values are changed just enough for the target to hold them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lobit/dtype/encoding.h"

namespace lobit {

// Changes values[count] (whole blocks of `to`) in place so that every group can be encoded to `to`. A group
// that can be encoded as it is stays as it is. In the others:
//   F16, BF16: a finite value beyond the largest finite one becomes that one; Inf and NaN are legal and stay.
//   Blocks: NaN becomes 0 and Inf the largest finite magnitude of its block (65504 if there is none), so that
//   it gets the largest code and its neighbours keep theirs. If the scale or minimum is still too large for
//   F16, magnitudes beyond what it reaches become what it reaches: 65504 times 127 for Q8_0, 8 for Q4_0, 16
//   for Q5_0, 1 for the ternary, 2-bit and 1-bit encodings; for Q4_1 and Q5_1 the minimum is at least -65504
//   and the maximum at most 15 or 31 times 65504 above it.
// Returns the number of groups (blocks, or values for F16 and BF16) that changed.
uint64_t saturate(Encoding to, float* values, size_t count);

}  // namespace lobit
