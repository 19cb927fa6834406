// Reductions: values of a tensor over some of its axes become one. No axes means all of them. KeepAxes says
// whether reduced axes go or stay with extent 1.
//
// Sums run in F64 in an order that depends on the shape, the strides and the axes alone, so that the result
// is the same for every SIMD level and number of threads, and are rounded once to the result's format. With n
// values x, before that rounding: sum and norms are wrong by at most n * 2^-53 * the sum of |x| (of x^2 under
// the root for kL2); var by at most (n + 512) * 2^-52 of itself: it is summed from differences to a mean of
// neighbouring values, and groups are joined with Chan, Golub and LeVeque's formula (1979).
//
// The values are computed in F32 from every format that lobit decodes. Results are F16 or BF16 when the
// tensor is, else F32; `out` may have any of the three. Where `out` alone owns its block it is written there,
// else it becomes a new tensor. As in NumPy NaN wins in min, max, argmin and argmax, the mean of nothing is
// NaN and its sum 0; the extreme of nothing is kInvalidArgument. Errors: kInvalidArgument for an axis that
// the tensor lacks or that is named twice, or an `out` of another shape or format; kUnsupported for values
// that lobit cannot decode; those of OpContext::memory. Any number of threads may call with tensors of their
// own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/ops/op_context.h"
#include "lobit/tensor/tensor.h"

namespace lobit::ops {

enum class KeepAxes : uint8_t { kDrop, kKeep };
using Axes = std::span<const size_t>;

LOBIT_API Result<Tensor> sum(const Tensor& x, Axes axes, KeepAxes keep, const OpContext& context);
LOBIT_API Status sum(const Tensor& x, Axes axes, KeepAxes keep, Tensor& out, const OpContext& context);

LOBIT_API Result<Tensor> mean(const Tensor& x, Axes axes, KeepAxes keep, const OpContext& context);
LOBIT_API Status mean(const Tensor& x, Axes axes, KeepAxes keep, Tensor& out, const OpContext& context);

LOBIT_API Result<Tensor> min(const Tensor& x, Axes axes, KeepAxes keep, const OpContext& context);
LOBIT_API Status min(const Tensor& x, Axes axes, KeepAxes keep, Tensor& out, const OpContext& context);

LOBIT_API Result<Tensor> max(const Tensor& x, Axes axes, KeepAxes keep, const OpContext& context);
LOBIT_API Status max(const Tensor& x, Axes axes, KeepAxes keep, Tensor& out, const OpContext& context);

// Where the first of the least or largest values is: its index along the axis, or, for several axes, in the
// order of their values. The result holds raw_i64.
LOBIT_API Result<Tensor> argmin(const Tensor& x, Axes axes, KeepAxes keep, const OpContext& context);
LOBIT_API Status argmin(const Tensor& x, Axes axes, KeepAxes keep, Tensor& out, const OpContext& context);

LOBIT_API Result<Tensor> argmax(const Tensor& x, Axes axes, KeepAxes keep, const OpContext& context);
LOBIT_API Status argmax(const Tensor& x, Axes axes, KeepAxes keep, Tensor& out, const OpContext& context);

// The sum of squared differences to the mean, divided by the number of values less `ddof` (0 for the variance
// of these values, 1 for an estimate of what they are a sample of); by 0 where that is below.
LOBIT_API Result<Tensor> var(const Tensor& x, Axes axes, KeepAxes keep, uint64_t ddof,
                             const OpContext& context);
LOBIT_API Status var(const Tensor& x, Axes axes, KeepAxes keep, uint64_t ddof, Tensor& out,
                     const OpContext& context);

enum class Norm : uint8_t {
  kL1,        // the sum of magnitudes
  kL2,        // the root of the sum of squares
  kInfinity,  // the largest magnitude
};
LOBIT_API Result<Tensor> norm(const Tensor& x, Norm kind, Axes axes, KeepAxes keep, const OpContext& context);
LOBIT_API Status norm(const Tensor& x, Norm kind, Axes axes, KeepAxes keep, Tensor& out,
                      const OpContext& context);

}  // namespace lobit::ops
