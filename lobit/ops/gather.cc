// gather() and take_rows() of join.h.
#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "lobit/base/fp_env.h"
#include "lobit/memory/buffer.h"
#include "lobit/ops/join.h"
#include "lobit/ops/join_internal.h"
#include "lobit/ops/op_internal.h"
#include "lobit/ops/reduce_plan_internal.h"

namespace lobit {
namespace detail {

Status check_on_cpu(std::string_view op, const Tensor& operand) {
  if (operand.device().kind == DeviceKind::kCpu) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: tensor '{}' {}: expected one on the cpu, found it on {}", op, operand.name(),
                          operand.shape().to_string(), device_name(operand.device())),
              {.from = device_name(operand.device()), .to = "cpu"});
}

void decode_to(const Tensor& x, uint64_t first, uint64_t count, Encoding encoding, std::byte* out,
               uint64_t to) {
  if (encoding == Encoding::kF32) {
    x.decode_run(first, count, reinterpret_cast<float*>(out) + to);
    return;
  }
  if (x.format() == ValueFormat{encoding}) {
    x.read_run(first, count, out + to * traits(encoding).block_bytes);
    return;
  }
  std::array<float, kTileValues> tile;
  // From a border of kTileValues to the next, counted in the row's own tensor.
  for (uint64_t done = 0; done < count;) {
    const uint64_t n = std::min(count - done, kTileValues - (first + done) % kTileValues);
    x.decode_run(first + done, n, tile.data());
    store_values(encoding, tile.data(), to + done, n, out);
    done += n;
  }
}

Result<Planes<const std::byte>> planes_of(const Tensor& x) {
  LOBIT_TRY(const std::span<const std::byte> bytes, x.bytes());
  const FormatLayout layout =
      format_layout(x.format(), x.shape().rows(), x.shape().row_elements()).value_or(FormatLayout{});
  return Planes<const std::byte>{bytes.data(), bytes.data() + layout.scale_offset, layout,
                                 x.shape().row_elements()};
}

Result<Planes<std::byte>> mutable_planes_of(Tensor& x) {
  LOBIT_TRY(const std::span<std::byte> bytes, x.mutable_bytes());
  const FormatLayout layout =
      format_layout(x.format(), x.shape().rows(), x.shape().row_elements()).value_or(FormatLayout{});
  return Planes<std::byte>{bytes.data(), bytes.data() + layout.scale_offset, layout,
                           x.shape().row_elements()};
}

}  // namespace detail

namespace {

// The slices of an axis that are picked, of a result [outer, picked, inner].
struct Pick {
  Tensor x;
  Buffer list;  // of the places
  std::span<const uint64_t> places;
  Shape shape;
  size_t axis = 0;
  uint64_t outer = 1;
  uint64_t extent = 1;
  uint64_t inner = 1;
};

// Indices in order, each below the extent.
template <typename T>
Status read_indices(std::string_view op, const Tensor& indices, const OpContext& context, Pick& pick) {
  LOBIT_TRY(const std::span<const std::byte> bytes, indices.bytes());
  const size_t count = bytes.size() / sizeof(T);
  if (count == 0) return {};
  LOBIT_TRY(pick.list, Buffer::allocate(*context.memory, count * sizeof(uint64_t)));
  auto* const places = reinterpret_cast<uint64_t*>(pick.list.data());
  for (size_t i = 0; i < count; ++i) {
    T value;  // borrowed bytes may have any address
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    if (value < 0 || static_cast<uint64_t>(value) >= pick.extent) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: index {}: expected 0 <= index < {}, found {}", op, i, pick.extent, value),
                  {.index = i, .available = pick.extent});
    }
    places[i] = static_cast<uint64_t>(value);
  }
  pick.places = {places, count};
  return {};
}

Result<Pick> begin_pick(std::string_view op, const Tensor& x, size_t axis, const Tensor& indices,
                        const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(detail::check_context(op, context));
  LOBIT_RETURN_IF_ERROR(detail::check_on_cpu(op, x));
  LOBIT_RETURN_IF_ERROR(detail::check_on_cpu(op, indices));
  const size_t rank = x.shape().rank();
  if (axis >= rank) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: tensor '{}' {}: expected an axis below {}, found {}", op, x.name(),
                            x.shape().to_string(), rank, axis),
                {.index = axis, .available = rank});
  }
  const Encoding kind = indices.format().encoding;
  if (kind != Encoding::kRawI64 && kind != Encoding::kRawI32) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: indices '{}': expected raw_i64 or raw_i32, found {}", op, indices.name(),
                            to_string(indices.format())),
                {.from = to_string(indices.format()), .to = "raw_i64"});
  }
  const std::span<const int64_t> extents = x.shape().extents();
  std::vector<int64_t> result(extents.begin(), extents.begin() + static_cast<std::ptrdiff_t>(axis));
  result.insert(result.end(), indices.shape().extents().begin(), indices.shape().extents().end());
  result.insert(result.end(), extents.begin() + static_cast<std::ptrdiff_t>(axis) + 1, extents.end());
  Pick pick;
  pick.x = x;
  pick.axis = axis;
  pick.extent = static_cast<uint64_t>(extents[axis]);
  LOBIT_TRY(pick.shape, Shape::create(result));
  for (size_t a = 0; a < axis; ++a) pick.outer *= static_cast<uint64_t>(extents[a]);
  for (size_t a = axis + 1; a < rank; ++a) pick.inner *= static_cast<uint64_t>(extents[a]);
  LOBIT_TRY(const Tensor whole, indices.contiguous(*context.memory));
  LOBIT_RETURN_IF_ERROR(kind == Encoding::kRawI64 ? read_indices<int64_t>(op, whole, context, pick)
                                                  : read_indices<int32_t>(op, whole, context, pick));
  return pick;
}

// Picks whole rows.
void pick_slices(const Pick& pick, const Tensor& x, const detail::Output& output, const OpContext& context) {
  const uint64_t count = pick.places.size();
  const uint64_t grain = std::max<uint64_t>(1, 16'384 / std::max<uint64_t>(1, pick.inner));
  detail::for_each_range(context, pick.outer * count, grain, [&](uint64_t first, uint64_t n) {
    for (uint64_t item = first; item < first + n; ++item) {
      const uint64_t from = item / count * pick.extent + pick.places[item % count];
      detail::decode_to(x, from * pick.inner, pick.inner, output.encoding(), output.bytes(),
                        item * pick.inner);
    }
  });
}

// Picks values of rows, each of which is decoded once.
Status pick_values(const Pick& pick, const detail::Output& output, const OpContext& context) {
  const uint64_t count = pick.places.size();
  if (pick.outer == 0 || count == 0) return {};
  LOBIT_TRY(const Buffer buffer, Buffer::allocate(*context.memory, pick.extent * sizeof(float)));
  auto* const row = reinterpret_cast<float*>(buffer.data());
  std::array<float, detail::kTileValues> tile;
  for (uint64_t outer = 0; outer < pick.outer; ++outer) {
    pick.x.decode_run(outer * pick.extent, pick.extent, row);
    for (uint64_t done = 0; done < count; done += tile.size()) {
      const uint64_t n = std::min<uint64_t>(tile.size(), count - done);
      for (uint64_t i = 0; i < n; ++i) tile[i] = row[pick.places[done + i]];
      detail::store_values(output.encoding(), tile.data(), outer * count + done, n, output.bytes());
    }
  }
  return {};
}

Status gather_into(const Pick& pick, const Tensor& indices, Tensor& out, const OpContext& context) {
  const ScopedFpEnv fp_env;
  OpScope scope(context.profiler, "gather", detail::thread_count(context));
  scope.reads(pick.x);
  scope.reads(indices);
  scope.writes(pick.shape, out.format());
  const Status done = [&]() -> Status {
    LOBIT_TRY(detail::Output output,
              detail::Output::create("gather", out, pick.shape, detail::kFloats, context));
    if (pick.shape.elements() == 0) {
      // There may be many places of nothing.
    } else if (pick.axis + 1 == pick.x.shape().rank()) {
      LOBIT_RETURN_IF_ERROR(pick_values(pick, output, context));
    } else {
      const bool cuts = output.encoding() != Encoding::kF32;
      LOBIT_TRY(const Tensor x, cuts ? detail::with_free_cuts(pick.x, context) : Result<Tensor>(pick.x));
      pick_slices(pick, x, output, context);
    }
    output.commit();
    return {};
  }();
  if (!done) scope.drop();
  return done;
}

Status take_planar(const Pick& pick, Tensor& out, const OpContext& context) {
  LOBIT_TRY(const Tensor whole, pick.x.contiguous(*context.memory));
  LOBIT_TRY(const auto from, detail::planes_of(whole));
  LOBIT_TRY(const auto to, detail::mutable_planes_of(out));
  const uint64_t rows = pick.inner / from.columns;
  for (uint64_t i = 0; i < pick.places.size(); ++i) {
    to.copy_rows(from, pick.places[i] * rows, rows, i * rows);
  }
  if (to.layout.row_scales == 0) std::memcpy(to.scales, from.scales, sizeof(float));
  return {};
}

}  // namespace

namespace ops {

Status gather(const Tensor& x, size_t axis, const Tensor& indices, Tensor& out, const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(detail::check_operand("gather", x));
  LOBIT_TRY(const Pick pick, begin_pick("gather", x, axis, indices, context));
  return gather_into(pick, indices, out, context);
}

Result<Tensor> gather(const Tensor& x, size_t axis, const Tensor& indices, const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(detail::check_operand("gather", x));
  LOBIT_TRY(const Pick pick, begin_pick("gather", x, axis, indices, context));
  return detail::made_tensor(pick.shape, detail::result_format({&x}), context,
                             [&](Tensor& out) { return gather_into(pick, indices, out, context); });
}

Result<Tensor> take_rows(const Tensor& x, const Tensor& indices, const OpContext& context) {
  LOBIT_TRY(const Pick pick, begin_pick("take_rows", x, 0, indices, context));
  const ValueFormat format = x.format();
  if (x.shape().rank() == 1 && (format.is_planar() || border_elements(format) > 1)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("take_rows: tensor '{}' {}: the values of a row of {} lie together: expected two "
                            "axes or more, found 1",
                            x.name(), x.shape().to_string(), to_string(format)));
  }
  OpScope scope(context.profiler, "take_rows", detail::thread_count(context));
  scope.reads(x);
  scope.reads(indices);
  scope.writes(pick.shape, format);
  Result<Tensor> taken = format.is_planar() ? Tensor::zeros(pick.shape, format, *context.memory)
                                            : Tensor::empty(pick.shape, format, *context.memory);
  const Status done = [&]() -> Status {
    if (!taken) return fail(taken.error());
    if (taken->elements() == 0) return {};
    if (format.is_planar()) return take_planar(pick, *taken, context);
    LOBIT_TRY(const std::span<std::byte> bytes, taken->mutable_bytes());
    const EncodingTraits& t = traits(format.encoding);
    const uint64_t slice = pick.inner / t.block_elements * t.block_bytes;
    const uint64_t grain = std::max<uint64_t>(1, 65'536 / slice);
    detail::for_each_range(context, pick.places.size(), grain, [&](uint64_t first, uint64_t count) {
      for (uint64_t i = first; i < first + count; ++i) {
        x.read_run(pick.places[i] * pick.inner, pick.inner, bytes.data() + i * slice);
      }
    });
    return {};
  }();
  if (!done) {
    scope.drop();
    return fail(done.error());
  }
  return taken;
}

}  // namespace ops
}  // namespace lobit
