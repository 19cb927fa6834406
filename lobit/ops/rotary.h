// Rotary position embedding (Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding",
// 2021): the first `dims` values of a row are pairs, and pair i is turned by the angle position * base^(-2i /
// dims).
//
// Angles, cosines and sines are computed in F64 and rounded to F32, so that positions up to 2^24 cost no more
// than the rounding: a result is wrong by at most 2^-22 of the length of its pair. Values are computed in F32
// from every format that lobit decodes. Results are F16 or BF16 when `x` is, else F32; `out` may have any of
// the three and may be `x` itself: where it alone owns its block the values are written there, else it
// becomes a new tensor. They are the same for every SIMD level and number of threads.
//
// Errors: kInvalidArgument for an axis, dims, base or number of positions that do not fit; kUnsupported for
// values that lobit cannot decode and for rows of more than 2048 values; those of OpContext::memory. Any
// number of threads may call with tensors of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/ops/op_context.h"
#include "lobit/tensor/tensor.h"

namespace lobit::ops {

// Which values of a row are a pair.
enum class RotaryPairs : uint8_t {
  kNeighbours,  // 2i and 2i + 1
  kHalves,      // i and i + dims / 2 (GPT-NeoX)
};

struct RotaryOptions {
  RotaryPairs pairs = RotaryPairs::kNeighbours;
  double base = 10'000.0;  // above 0
  uint64_t dims = 0;       // even, at most the row; the values behind stay as they are; 0 is the whole row
};

// Place t of an axis, which is not the last, has the position `first` + t.
LOBIT_API Result<Tensor> rotary(const Tensor& x, size_t axis, int64_t first, const RotaryOptions& options,
                                const OpContext& context);
LOBIT_API Status rotary(const Tensor& x, size_t axis, int64_t first, const RotaryOptions& options,
                        Tensor& out, const OpContext& context);

// Place t has positions[t].
LOBIT_API Result<Tensor> rotary(const Tensor& x, size_t axis, std::span<const int64_t> positions,
                                const RotaryOptions& options, const OpContext& context);
LOBIT_API Status rotary(const Tensor& x, size_t axis, std::span<const int64_t> positions,
                        const RotaryOptions& options, Tensor& out, const OpContext& context);

}  // namespace lobit::ops
