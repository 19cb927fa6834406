// The planar formats of lobit/dtype/value_format.h, with runtime SIMD dispatch: the same bytes, scales and
// counts as lobit/dtype/reference_planar.h, where every function is defined. Nothing here allocates or fails,
// pointers may have any address, and any number of threads may call. The default floating-point environment
// is expected (ScopedFpEnv).
//
// A group that fits a buffer is encoded with its scale in one call. A longer one takes two passes: measure
// all of its tiles in order, then encode them with the scale; the tiles may have any size for the scale, and
// begin at whole bytes for the codes.
#pragma once

#include <cstddef>

#include "lobit/base/export.h"
#include "lobit/dtype/encoding.h"
#include "lobit/dtype/reference_planar.h"

namespace lobit::kernels {

// Adds the next `count` values of the group.
LOBIT_API void measure_planar(Encoding encoding, const float* values, size_t count, PlanarExtent& extent);

// The direct scale of a group that is in memory whole.
LOBIT_API float planar_scale_direct(Encoding encoding, const float* values, size_t count);

// `count` values of one group -> codes.
LOBIT_API EncodeCounts encode_planar(Encoding encoding, const float* values, std::byte* codes, size_t count,
                                     float scale);
// codes -> `count` values of one group.
LOBIT_API void decode_planar(Encoding encoding, const std::byte* codes, float* values, size_t count,
                             float scale);

// `count` values of a row as groups of `group` (a multiple of 8 when there are several; the last may be
// short), each with its direct scale -> codes and scales. Counts are of groups.
LOBIT_API EncodeCounts encode_planar_groups(Encoding encoding, const float* values, std::byte* codes,
                                            float* scales, size_t count, size_t group);
// The inverse.
LOBIT_API void decode_planar_groups(Encoding encoding, const std::byte* codes, const float* scales,
                                    float* values, size_t count, size_t group);

// reference::first_invalid_planar() at the speed of memory.
LOBIT_API size_t first_invalid_planar(Encoding encoding, const std::byte* codes, size_t count);

}  // namespace lobit::kernels
