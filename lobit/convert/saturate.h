// What --saturate means: values are changed just enough for the target to hold them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lobit/dtype/encoding.h"

namespace lobit {

// Changes values[count] (whole blocks of `to`) in place so that encoding them to `to` loses nothing silently:
//   F16, BF16: finite values beyond the largest finite one become that one; Inf and NaN stay.
//   Blocks: NaN becomes 0; Inf takes the largest finite magnitude of its block (or the limit if there is
//   none), so that it gets the largest code and its neighbours keep theirs; magnitudes beyond what an F16
//   scale reaches become that limit.
// Returns the number of groups (blocks, or values for F16 and BF16) that changed.
uint64_t saturate(Encoding to, float* values, size_t count);

}  // namespace lobit
