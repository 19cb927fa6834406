// Softmax and the norms of a transformer. The values of an operand are computed in F32 from every format that
// lobit decodes, sums are kept in F64 in a fixed order, and results are the same for every SIMD level and
// number of threads. Results are F16 or BF16 when `x` is, else F32; `out` may have any of the three and may
// be `x` itself: where it alone owns its block the values are written there, else it becomes a new tensor.
//
// Errors: kInvalidArgument for axes and shapes that do not fit; kUnsupported for values that lobit cannot
// decode; those of OpContext::memory. Any number of threads may call with tensors of their own.
#pragma once

#include <cstddef>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/ops/op_context.h"
#include "lobit/tensor/tensor.h"

namespace lobit::ops {

// exp(x - max) / the sum of these along an axis, with max its largest value. With n values the relative error
// is at most (max - x + ln(n) + 6) * 2^-24, and the absolute one below the normal numbers 2^-148. Where all
// values are -inf there is nothing to share, and results are 0; NaN or +inf make all results of the axis NaN.
LOBIT_API Result<Tensor> softmax(const Tensor& x, size_t axis, const OpContext& context);
LOBIT_API Status softmax(const Tensor& x, size_t axis, Tensor& out, const OpContext& context);

// The logarithm of softmax(): (x - max) - log(sum), with an error of at most (max - x + ln(n)) * 2^-23 +
// 2^-22.
LOBIT_API Result<Tensor> log_softmax(const Tensor& x, size_t axis, const OpContext& context);
LOBIT_API Status log_softmax(const Tensor& x, size_t axis, Tensor& out, const OpContext& context);

// x / sqrt(mean(x^2) + epsilon) * weight along the last axis, whose extent `weight` has as its only one.
// The relative error is at most 2^-22.
LOBIT_API Result<Tensor> rms_norm(const Tensor& x, const Tensor& weight, float epsilon,
                                  const OpContext& context);
LOBIT_API Status rms_norm(const Tensor& x, const Tensor& weight, float epsilon, Tensor& out,
                          const OpContext& context);

// (x - mean) / sqrt(variance + epsilon) * weight + bias along the last axis, with the variance of these
// values (ddof 0). The error is at most 2^-22 of |product| + |bias|, beside what rounding the mean to F64
// costs.
LOBIT_API Result<Tensor> layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float epsilon,
                                    const OpContext& context);
LOBIT_API Status layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, float epsilon,
                            Tensor& out, const OpContext& context);

}  // namespace lobit::ops
