// How a reduction walks a tensor. Not installed.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "lobit/base/result.h"
#include "lobit/ops/op_context.h"
#include "lobit/ops/reduce.h"
#include "lobit/tensor/tensor.h"

namespace lobit::detail {

// Whether the reduced values must come in the order of the tensor's axes, as places are counted in it, or in
// that of the memory.
enum class ReduceOrder : uint8_t { kAny, kOfAxes };

// The tensor as [outer, reduced, columns]: result (o, c) is made of the values (o, r, c) for all r. Where the
// values of a result lie together there is one column.
struct ReducePlan {
  Tensor view;   // its axes in this order
  Shape result;  // the shape of the result, whose elements are outer * columns
  uint64_t outer = 1;
  uint64_t reduced = 1;
  uint64_t columns = 1;

  uint64_t results() const { return outer * columns; }
};

// kInvalidArgument for an axis that `x` lacks or that is named twice.
Result<Shape> reduced_shape(std::string_view op, const Tensor& x, ops::Axes axes, ops::KeepAxes keep);

// Of an operand that passed check_operand() and axes that passed reduced_shape(). A tensor whose rows can be
// cut at few places only is decoded first, to the context's memory.
Result<ReducePlan> plan_reduction(const Tensor& x, ops::Axes axes, const Shape& result, ReduceOrder order,
                                  const OpContext& context);

// `x` when runs of it may be cut at every multiple of kTileValues, else an F32 copy.
Result<Tensor> with_free_cuts(const Tensor& x, const OpContext& context);

// Writes `count` values from element `first` on in F32, F16 or BF16.
void store_values(Encoding encoding, const float* values, uint64_t first, uint64_t count, std::byte* out);

}  // namespace lobit::detail
