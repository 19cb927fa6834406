// Scalar codecs: the definition of every encoding, written to be read. The SIMD kernels must give the same
// bytes. Pure functions without allocation, safe from any thread.
//
// Encoders follow ggml's reference quantizers (quantize_row_*_ref, ggml 0.18) as a compiler without fused
// multiply-add executes them, ties and signs of zero included, for every group whose largest magnitude is 0
// or at least kTinyGroup. Below that, ggml's own result depends on the build; here the codes are those of
// zeros and the group is counted as flushed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lobit/base/export.h"
#include "lobit/dtype/encoding.h"

namespace lobit {

// The smallest magnitude whose reciprocal scale is a normal number in every encoding.
inline constexpr float kTinyGroup = 1e-36f;

// What an encoder met. A group is a block of a block encoding, and a single value of F16 and BF16.
struct EncodeCounts {
  // Groups that cannot be stored: a NaN or Inf in a block, or a scale, minimum or F16 value that overflows.
  // The encoder has written Inf or meaningless codes there.
  uint64_t unrepresentable = 0;
  // Groups of a block encoding with 0 < largest magnitude < kTinyGroup, stored as zeros.
  uint64_t flushed = 0;

  EncodeCounts& operator+=(const EncodeCounts& other) {
    unrepresentable += other.unrepresentable;
    flushed += other.flushed;
    return *this;
  }
};

namespace reference {

// F32 -> `to`. `count` is a multiple of the block; `to` is one that can_encode. Inf and NaN are legal in F32,
// F16 and BF16; a finite value that F16 or BF16 cannot hold is written as Inf and counted.
LOBIT_API EncodeCounts encode(Encoding to, const float* values, void* blocks, size_t count);

// `from` -> F32, for every encoding that can_decode. Invalid codes (3 in TQ2_0) decode to what the formula
// gives; see first_invalid_block().
LOBIT_API void decode(Encoding from, const void* blocks, float* values, size_t count);

// The index of the first block that no encoder writes (a code 3 in TQ2_0), or `block_count`. Encodings
// without such blocks answer `block_count` at once.
LOBIT_API size_t first_invalid_block(Encoding encoding, const void* blocks, size_t block_count);

}  // namespace reference
}  // namespace lobit
