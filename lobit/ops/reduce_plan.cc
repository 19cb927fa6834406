#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include <fmt/format.h>

#include "lobit/kernels/codec.h"
#include "lobit/ops/op_internal.h"
#include "lobit/ops/reduce_plan_internal.h"

namespace lobit::detail {
namespace {

// Axes by number, in an order.
struct AxisList {
  std::array<size_t, Shape::kMaxRank> axes{};
  size_t count = 0;

  void add(size_t axis) { axes[count++] = axis; }
  std::span<size_t> span() { return {axes.data(), count}; }
  std::span<const size_t> span() const { return {axes.data(), count}; }
};

uint64_t extent_of(const Tensor& x, std::span<const size_t> axes) {
  uint64_t product = 1;
  for (const size_t axis : axes) product *= static_cast<uint64_t>(x.shape()[axis]);
  return product;
}

bool is_plain(const Tensor& x) {
  return !x.format().is_planar() && border_elements(x.format()) == 1;
}

// How far apart neighbours on an axis lie; an axis of stride 0 repeats its values and belongs outside.
int64_t distance(const Tensor& x, size_t axis) {
  const int64_t stride = x.strides()[axis];
  return stride == 0 ? std::numeric_limits<int64_t>::max() : stride;
}

// How many of the kept axes, from the last on, lie within all the reduced ones.
size_t inner_axes(const Tensor& x, const AxisList& kept, const AxisList& reduced) {
  size_t inner = 0;
  if (!is_plain(x)) {  // the last axis must stay the last
    while (inner < kept.count && kept.axes[kept.count - 1 - inner] == x.shape().rank() - 1 - inner) ++inner;
    return inner;
  }
  int64_t nearest = std::numeric_limits<int64_t>::max();
  for (const size_t axis : reduced.span()) {
    if (x.shape()[axis] > 1) nearest = std::min(nearest, distance(x, axis));
  }
  while (inner < kept.count) {
    const size_t axis = kept.axes[kept.count - 1 - inner];
    if (x.shape()[axis] > 1 && distance(x, axis) >= nearest) break;
    ++inner;
  }
  return inner;
}

}  // namespace

Result<Shape> reduced_shape(std::string_view op, const Tensor& x, ops::Axes axes, ops::KeepAxes keep) {
  const size_t rank = x.shape().rank();
  std::array<bool, Shape::kMaxRank> reduced{};
  for (const size_t axis : axes) {
    const bool twice = axis < rank && reduced[axis];
    if (axis >= rank || twice) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: tensor '{}' {}: expected axes below {}, each once, found {}{}", op,
                              x.name(), x.shape().to_string(), rank, axis, twice ? " twice" : ""),
                  {.index = axis, .available = rank});
    }
    reduced[axis] = true;
  }
  std::array<int64_t, Shape::kMaxRank> extents{};
  size_t count = 0;
  for (size_t axis = 0; axis < rank; ++axis) {
    const bool gone = axes.empty() || reduced[axis];
    if (gone && keep == ops::KeepAxes::kDrop) continue;
    extents[count++] = gone ? 1 : x.shape()[axis];
  }
  return Shape::create(std::span<const int64_t>(extents.data(), count));
}

Result<ReducePlan> plan_reduction(const Tensor& x, ops::Axes axes, const Shape& result, ReduceOrder order,
                                  const OpContext& context) {
  LOBIT_TRY(const Tensor operand, with_free_cuts(x, context));
  AxisList kept;
  AxisList reduced;
  for (size_t axis = 0; axis < operand.shape().rank(); ++axis) {
    const bool goes = axes.empty() || std::ranges::find(axes, axis) != axes.end();
    (goes ? reduced : kept).add(axis);
  }
  const size_t inner = inner_axes(operand, kept, reduced);
  if (order == ReduceOrder::kAny && is_plain(operand)) {
    std::ranges::sort(reduced.span(), [&](size_t a, size_t b) {
      const int64_t one = distance(operand, a);
      const int64_t other = distance(operand, b);
      return one != other ? one > other : a < b;
    });
  }
  AxisList turned;
  const std::span<const size_t> outside = kept.span().first(kept.count - inner);
  const std::span<const size_t> inside = kept.span().last(inner);
  for (const size_t axis : outside) turned.add(axis);
  for (const size_t axis : reduced.span()) turned.add(axis);
  for (const size_t axis : inside) turned.add(axis);
  LOBIT_TRY(Tensor view, operand.transpose(turned.span()));
  return ReducePlan{.view = std::move(view),
                    .result = result,
                    .outer = extent_of(operand, outside),
                    .reduced = extent_of(operand, reduced.span()),
                    .columns = extent_of(operand, inside)};
}

Result<Tensor> with_free_cuts(const Tensor& x, const OpContext& context) {
  if (x.shape().row_elements() % border_elements(x.format()) == 0) return x;
  return decoded(x, context);
}

void store_values(Encoding encoding, const float* values, uint64_t first, uint64_t count, std::byte* out) {
  std::byte* const at = out + first * traits(encoding).block_bytes;
  if (encoding == Encoding::kF32) {
    std::memcpy(at, values, count * sizeof(float));
  } else {
    kernels::encoder(Encoding::kF32, encoding)(values, at, count);
  }
}

}  // namespace lobit::detail
