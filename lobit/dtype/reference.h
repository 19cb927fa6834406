// Scalar codecs: the definition of every encoding, written to be read. The SIMD kernels must give the same
// bytes and counts. Pure functions without allocation, safe from any thread; the default floating-point
// environment is expected (ScopedFpEnv), and `values` and `blocks` may lie at any address.
//
// Encoders follow ggml's reference quantizers (quantize_row_*_ref, ggml 0.25) as a compiler without fused
// multiply-add executes them, ties and signs of zero included, for every group that is neither flushed nor
// unrepresentable. Of those ggml's own result depends on the build; here it is defined by EncodeCounts.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lobit/base/export.h"
#include "lobit/dtype/encoding.h"

namespace lobit {

// From this extent of a group on, the reciprocal of its scale is a normal number in every encoding. The
// extent is the largest magnitude; in Q4_1 and Q5_1, which store a minimum, it is the largest value minus the
// smallest.
inline constexpr float kTinyGroup = 1e-36f;

// What an encoder met. A group is a block of a block encoding, and a single value of F16 and BF16.
struct EncodeCounts {
  // Groups that cannot be stored. Of F16 and BF16: a finite value that becomes Inf. Of block encodings, once
  // a block, one of
  // - a NaN or Inf among the values, or in Q4_1 and Q5_1 an extent that overflows F32: the block is that of
  //   zeros with the scale replaced by +Inf, so that it decodes to nothing finite;
  // - a scale or minimum that rounds to Inf in F16 (magnitude >= 65520): Inf stands beside the codes of the
  //   F32 scale, or in Q1_0, whose sum may overflow F32, beside the signs.
  uint64_t unrepresentable = 0;
  // Groups with 0 < extent < kTinyGroup: the codes are those of zeros, scale and minimum (which F16 rounds to
  // +0 or -0) as ever. Never in Q1_0, which needs no reciprocal, F16 and BF16.
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

// As encode(), for an encoding with a code_range() or an affine_top_code() (block_codes.h), except for the
// scale, and for the minimum where there is one: of a few that nearly fit the group's extent, what least
// squares then improves most, refined once; codes are nearest to what F16 holds. A group keeps the block of
// encode() unless the new one's squared error is smaller, and so does every group that is counted.
LOBIT_API EncodeCounts encode_scaled(Encoding to, const float* values, void* blocks, size_t count);

// `from` -> F32, for every encoding that can_decode. Invalid codes (3 in TQ2_0) decode to what the formula
// gives; see first_invalid_block(). Where a scale is NaN or Inf the values may be NaN; which NaN is not
// defined.
LOBIT_API void decode(Encoding from, const void* blocks, float* values, size_t count);

// The index of the first block with a code that has no meaning (3 in TQ2_0), or `block_count`. In every other
// encoding all bit patterns have one, and the answer is `block_count` at once.
LOBIT_API size_t first_invalid_block(Encoding encoding, const void* blocks, size_t block_count);

}  // namespace reference
}  // namespace lobit
