// The codecs between F32 and every encoding, as functions on spans with runtime SIMD dispatch. Kernels know
// pointers and counts only; they do not allocate, do not fail and may run on any number of threads. The byte
// order is little endian and no pointer needs alignment. They expect the default floating-point environment
// (ScopedFpEnv).
#pragma once

#include <cstddef>

#include "lobit/base/export.h"
#include "lobit/dtype/encoding.h"
#include "lobit/dtype/reference.h"

namespace lobit::kernels {

// values[count] -> blocks. `count` is a multiple of the target's block. The spans do not overlap, except that
// F16 <-> BF16 may work in place.
using EncodeFn = EncodeCounts (*)(const void* values, void* blocks, size_t count);

// blocks -> values[count]. The spans do not overlap.
using DecodeFn = void (*)(const void* blocks, float* values, size_t count);

// The kernel from F32, F16 or BF16 to `to`, for the SIMD level in use; nullptr when there is none (then
// decode to F32 first). `from` == `to` gives nullptr: that is a copy. F16 or BF16 to F32 is decoder()'s work.
LOBIT_API EncodeFn encoder(Encoding from, Encoding to);

// The kernel from F32 to `to` that looks for a scale with less error, as reference::encode_scaled() defines
// it; nullptr for encodings without a code_range() or an affine_top_code().
LOBIT_API EncodeFn scaled_encoder(Encoding to);

// The kernel from `from` to F32 for the SIMD level in use; nullptr when lobit cannot decode it, and for F32.
LOBIT_API DecodeFn decoder(Encoding from);

// reference::first_invalid_block() at the speed of memory.
LOBIT_API size_t first_invalid_block(Encoding encoding, const void* blocks, size_t block_count);

}  // namespace lobit::kernels
