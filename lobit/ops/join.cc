#include "lobit/ops/join.h"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/checked.h"
#include "lobit/base/fp_env.h"
#include "lobit/ops/join_internal.h"
#include "lobit/ops/op_internal.h"
#include "lobit/ops/reduce_plan_internal.h"

namespace lobit {
namespace {

// Parts and how they lie in the result: part p gives `inner[p]` elements for each of `outer` places.
struct Join {
  std::string_view op;
  std::vector<Tensor> parts;  // copies, so that `out` cannot be changed under them
  size_t axis = 0;            // of the result
  Shape shape;
  uint64_t outer = 1;
  std::vector<uint64_t> inner;
  std::vector<uint64_t> before;  // elements of the parts in front, for each place
  uint64_t together = 0;         // elements of all parts for each place
};

Status refuse_part(const Join& join, size_t part, std::string_view expected) {
  const Tensor& x = join.parts[part];
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: part {} '{}': expected {}, found {} {}", join.op, part, x.name(), expected,
                          x.shape().to_string(), to_string(x.format())),
              {.index = part});
}

void place_parts(Join& join) {
  for (size_t a = 0; a < join.axis; ++a) join.outer *= static_cast<uint64_t>(join.shape[a]);
  for (const Tensor& part : join.parts) {
    join.before.push_back(join.together);
    join.inner.push_back(join.outer == 0 ? 0 : part.elements() / join.outer);
    join.together += join.inner.back();
  }
}

Result<Join> begin_join(std::string_view op, std::span<const Tensor> parts, size_t axis, bool new_axis,
                        const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(detail::check_context(op, context));
  if (parts.empty()) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}: parts: expected one or more, found none", op));
  }
  Join join;
  join.op = op;
  join.parts.assign(parts.begin(), parts.end());
  join.axis = axis;
  const size_t rank = parts[0].shape().rank();
  if (new_axis ? axis > rank : axis >= rank) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: part 0 '{}' {}: expected an axis {} {}, found {}", op, parts[0].name(),
                            parts[0].shape().to_string(), new_axis ? "up to" : "below", rank, axis),
                {.index = axis, .available = rank});
  }
  std::vector<int64_t> extents(parts[0].shape().extents().begin(), parts[0].shape().extents().end());
  if (!new_axis) extents[axis] = 0;
  for (size_t p = 0; p < parts.size(); ++p) {
    LOBIT_RETURN_IF_ERROR(detail::check_on_cpu(op, parts[p]));
    bool fits = parts[p].shape().rank() == rank;
    for (size_t a = 0; fits && a < rank; ++a) {
      fits = parts[p].shape()[a] == parts[0].shape()[a] || (!new_axis && a == axis);
    }
    if (!fits) {
      const std::string like = parts[0].shape().to_string();
      return fail(refuse_part(join, p,
                              new_axis ? "the shape " + like
                                       : fmt::format("the shape {} but for axis {}", like, axis))
                      .error());
    }
    if (new_axis) continue;
    const std::optional<int64_t> sum = checked_add(extents[axis], parts[p].shape()[axis]);
    if (!sum) return fail(refuse_part(join, p, "extents whose sum fits 63 bits").error());
    extents[axis] = *sum;
  }
  if (new_axis) {
    extents.insert(extents.begin() + static_cast<std::ptrdiff_t>(axis), static_cast<int64_t>(parts.size()));
  }
  LOBIT_TRY(join.shape, Shape::create(extents));
  place_parts(join);
  return join;
}

bool same_format(const Join& join) {
  return std::ranges::all_of(join.parts,
                             [&](const Tensor& part) { return part.format() == join.parts[0].format(); });
}

bool joins_rows(const Join& join) {
  return join.axis + 1 < join.shape.rank();
}

// Whether parts of one format can keep their bits.
Status check_borders(const Join& join, bool new_axis) {
  const ValueFormat format = join.parts[0].format();
  const uint64_t border = border_elements(format);
  if (joins_rows(join) || (border == 1 && !format.is_planar())) return {};
  if (new_axis) {
    return refuse_part(join, 0, "an axis before the last, since the values of a row lie together");
  }
  if (!format.is_planar()) return {};  // rows are whole blocks
  if (format.scales == ScaleGroup::kRow || format.scales == ScaleGroup::kTensor) {
    return refuse_part(join, 0, "another axis than the last, along which values share a scale");
  }
  for (size_t p = 0; p + 1 < join.parts.size(); ++p) {
    const uint64_t columns = join.inner[p];
    if (columns % border == 0) continue;
    const uint64_t below = columns / border * border;
    return refuse_part(join, p,
                       fmt::format("{} or {} columns, where rows of {} may be cut", below, below + border,
                                   to_string(format)));
  }
  return {};
}

// Of tensors with one scale in all.
Status check_one_scale(const Join& join, const OpContext& context) {
  std::optional<float> expected;
  for (size_t p = 0; p < join.parts.size(); ++p) {
    if (join.parts[p].elements() == 0) continue;
    LOBIT_TRY(const Tensor whole, join.parts[p].contiguous(*context.memory));
    LOBIT_TRY(const auto scales, whole.scales());
    if (!expected) expected = scales[0];
    if (std::bit_cast<uint32_t>(scales[0]) != std::bit_cast<uint32_t>(*expected)) {
      return refuse_part(join, p, fmt::format("the scale {} of the parts before", *expected));
    }
  }
  return {};
}

void copy_bits(const Join& join, ValueFormat format, std::byte* out, const OpContext& context) {
  const EncodingTraits& t = traits(format.encoding);
  const uint64_t count = join.parts.size();
  const uint64_t grain = std::max<uint64_t>(1, 65'536 / std::max<uint64_t>(1, join.together / count));
  detail::for_each_range(context, join.outer * count, grain, [&](uint64_t first, uint64_t n) {
    for (uint64_t item = first; item < first + n; ++item) {
      const size_t p = item % count;
      const uint64_t place = item / count;
      const uint64_t to = place * join.together + join.before[p];
      join.parts[p].read_run(place * join.inner[p], join.inner[p],
                             out + to / t.block_elements * t.block_bytes);
    }
  });
}

// Rows of codes and scales one behind the other.
Status copy_planar_rows(const Join& join, Tensor& out) {
  const uint64_t columns = out.shape().row_elements();
  LOBIT_TRY(const auto to, detail::mutable_planes_of(out));
  bool scale_written = false;
  for (size_t p = 0; p < join.parts.size(); ++p) {
    if (join.parts[p].elements() == 0) continue;
    LOBIT_TRY(const Tensor whole, join.parts[p].contiguous(*out.resource()));
    LOBIT_TRY(const auto from, detail::planes_of(whole));
    const uint64_t rows = join.inner[p] / columns;
    for (uint64_t place = 0; place < join.outer; ++place) {
      to.copy_rows(from, place * rows, rows, (place * join.together + join.before[p]) / columns);
    }
    if (to.layout.row_scales == 0 && !std::exchange(scale_written, true)) {
      std::memcpy(to.scales, from.scales, sizeof(float));
    }
  }
  return {};
}

// Parts of rows behind each other, all but the last of whole groups.
Status copy_planar_columns(const Join& join, Tensor& out) {
  LOBIT_TRY(const auto to, detail::mutable_planes_of(out));
  const uint64_t bits = planar_bits(out.format().encoding);
  const uint64_t group = border_elements(out.format());
  for (size_t p = 0; p < join.parts.size(); ++p) {
    if (join.parts[p].elements() == 0) continue;
    LOBIT_TRY(const Tensor whole, join.parts[p].contiguous(*out.resource()));
    LOBIT_TRY(const auto from, detail::planes_of(whole));
    for (uint64_t row = 0; row < join.outer; ++row) {
      std::memcpy(to.codes + row * to.layout.row_bytes + join.before[p] * bits / 8,
                  from.codes + row * from.layout.row_bytes, from.layout.row_bytes);
      std::memcpy(to.scales + (row * to.layout.row_scales + join.before[p] / group) * sizeof(float),
                  from.scales + row * from.layout.row_scales * sizeof(float),
                  from.layout.row_scales * sizeof(float));
    }
  }
  return {};
}

Result<Tensor> join_planar(const Join& join, bool new_axis, const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(check_borders(join, new_axis));
  const ValueFormat format = join.parts[0].format();
  if (format.scales == ScaleGroup::kTensor) LOBIT_RETURN_IF_ERROR(check_one_scale(join, context));
  LOBIT_TRY(Tensor out, Tensor::zeros(join.shape, format, *context.memory));
  if (out.elements() == 0) return out;
  LOBIT_RETURN_IF_ERROR(joins_rows(join) ? copy_planar_rows(join, out) : copy_planar_columns(join, out));
  return out;
}

// A part whose values can be decoded as they are asked for: whole rows, or, through a tile, pieces of them.
Result<Tensor> decodable(const Join& join, size_t p, Encoding to, const OpContext& context) {
  const Tensor& part = join.parts[p];
  LOBIT_RETURN_IF_ERROR(detail::check_operand(join.op, part));
  const bool whole_rows = join.inner[p] % std::max<uint64_t>(1, part.shape().row_elements()) == 0;
  if (!whole_rows && border_elements(part.format()) > 1) return detail::decoded(part, context);
  return to == Encoding::kF32 ? Result<Tensor>(part) : detail::with_free_cuts(part, context);
}

Status join_decoded(const Join& join, const detail::Output& output, const OpContext& context) {
  // All before the first value is written.
  std::vector<Tensor> parts;
  for (size_t p = 0; p < join.parts.size(); ++p) {
    LOBIT_TRY(Tensor part, decodable(join, p, output.encoding(), context));
    parts.push_back(std::move(part));
  }
  for (size_t p = 0; p < parts.size(); ++p) {
    const uint64_t inner = join.inner[p];
    const uint64_t grain = std::max<uint64_t>(1, 65'536 / std::max<uint64_t>(1, inner));
    detail::for_each_range(context, join.outer, grain, [&](uint64_t first, uint64_t count) {
      for (uint64_t place = first; place < first + count; ++place) {
        detail::decode_to(parts[p], place * inner, inner, output.encoding(), output.bytes(),
                          place * join.together + join.before[p]);
      }
    });
  }
  return {};
}

Status join_into(const Join& join, bool new_axis, Tensor& out, const OpContext& context) {
  const ScopedFpEnv fp_env;
  const ValueFormat format = join.parts[0].format();
  const bool keeps_bits = same_format(join) && out.format() == format;
  OpScope scope(context.profiler, join.op, detail::thread_count(context));
  for (const Tensor& part : join.parts) scope.reads(part);
  scope.writes(join.shape, out.format());
  const Status done = [&]() -> Status {
    if (keeps_bits) LOBIT_RETURN_IF_ERROR(check_borders(join, new_axis));
    const std::initializer_list<Encoding> kept{format.encoding};
    LOBIT_TRY(detail::Output output,
              detail::Output::create(join.op, out, join.shape, keeps_bits ? kept : detail::kFloats, context));
    if (join.shape.elements() == 0) {
      // There may be many places of nothing.
    } else if (keeps_bits) {
      copy_bits(join, format, output.bytes(), context);
    } else {
      LOBIT_RETURN_IF_ERROR(join_decoded(join, output, context));
    }
    output.commit();
    return {};
  }();
  if (!done) scope.drop();
  return done;
}

Result<Tensor> joined(const Join& join, bool new_axis, const OpContext& context) {
  const bool same = same_format(join);
  if (same && join.parts[0].format().is_planar()) return join_planar(join, new_axis, context);
  if (same) LOBIT_RETURN_IF_ERROR(check_borders(join, new_axis));
  const ValueFormat format = same ? join.parts[0].format() : ValueFormat{Encoding::kF32};
  return detail::made_tensor(join.shape, format, context,
                             [&](Tensor& out) { return join_into(join, new_axis, out, context); });
}

}  // namespace

namespace ops {

Result<Tensor> concat(std::span<const Tensor> parts, size_t axis, const OpContext& context) {
  LOBIT_TRY(const Join join, begin_join("concat", parts, axis, false, context));
  return joined(join, false, context);
}

Status concat(std::span<const Tensor> parts, size_t axis, Tensor& out, const OpContext& context) {
  LOBIT_TRY(const Join join, begin_join("concat", parts, axis, false, context));
  return join_into(join, false, out, context);
}

Result<Tensor> stack(std::span<const Tensor> parts, size_t axis, const OpContext& context) {
  LOBIT_TRY(const Join join, begin_join("stack", parts, axis, true, context));
  return joined(join, true, context);
}

Status stack(std::span<const Tensor> parts, size_t axis, Tensor& out, const OpContext& context) {
  LOBIT_TRY(const Join join, begin_join("stack", parts, axis, true, context));
  return join_into(join, true, out, context);
}

Result<std::vector<Tensor>> split(const Tensor& x, size_t axis, std::span<const int64_t> extents) {
  std::vector<Tensor> views;
  int64_t first = 0;
  for (const int64_t extent : extents) {
    const std::optional<int64_t> last = checked_add(first, extent);
    if (!last) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("split: tensor '{}' {}: expected extents whose sum fits 63 bits", x.name(),
                              x.shape().to_string()));
    }
    LOBIT_TRY(Tensor view, x.slice(axis, first, *last));
    views.push_back(std::move(view));
    first = *last;
  }
  if (axis < x.shape().rank() && first == x.shape()[axis]) return views;
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("split: tensor '{}' {}: expected extents that add up to axis {}, found {}",
                          x.name(), x.shape().to_string(), axis, first),
              {.index = axis, .available = static_cast<uint64_t>(first)});
}

}  // namespace ops
}  // namespace lobit
