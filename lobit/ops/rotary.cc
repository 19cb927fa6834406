#include "lobit/ops/rotary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/fp_env.h"
#include "lobit/kernels/normalize.h"
#include "lobit/memory/buffer.h"
#include "lobit/ops/op_internal.h"
#include "lobit/ops/reduce_plan_internal.h"

namespace lobit {
namespace {

using detail::kTileValues;
using ops::RotaryOptions;

// A call, checked. Either positions or the first of them.
struct Rotary {
  const Tensor& x;
  size_t axis;
  std::span<const int64_t> positions;
  int64_t first;
  RotaryOptions options;

  uint64_t places() const { return static_cast<uint64_t>(x.shape()[axis]); }
  uint64_t dims() const { return options.dims == 0 ? x.shape().row_elements() : options.dims; }
  uint64_t pairs() const { return dims() / 2; }
  double position(uint64_t place) const {
    return positions.empty() ? static_cast<double>(first) + static_cast<double>(place)
                             : static_cast<double>(positions[place]);
  }
};

Status refuse(const Rotary& rotary, std::string_view expected, std::string_view found) {
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("rotary: tensor '{}' {}: expected {}, found {}", rotary.x.name(),
                          rotary.x.shape().to_string(), expected, found));
}

Status check(const Rotary& rotary, bool listed, const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(detail::check_context("rotary", context));
  LOBIT_RETURN_IF_ERROR(detail::check_operand("rotary", rotary.x));
  const Shape& shape = rotary.x.shape();
  if (rotary.axis + 1 >= shape.rank()) {
    return refuse(rotary, "an axis of positions before the last", fmt::format("axis {}", rotary.axis));
  }
  if (listed && rotary.positions.size() != rotary.places()) {
    return refuse(rotary, fmt::format("{} positions", rotary.places()),
                  fmt::format("{}", rotary.positions.size()));
  }
  if (rotary.dims() % 2 != 0 || rotary.dims() > shape.row_elements()) {
    return refuse(rotary, fmt::format("an even number of dims up to {}", shape.row_elements()),
                  fmt::format("{}", rotary.dims()));
  }
  if (!(rotary.options.base > 0.0) || !std::isfinite(rotary.options.base)) {
    return refuse(rotary, "a base above 0", fmt::format("{}", rotary.options.base));
  }
  if (shape.row_elements() > kTileValues) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("rotary: tensor '{}' {}: expected rows of at most {} values", rotary.x.name(),
                            shape.to_string(), kTileValues),
                {.required = shape.row_elements(), .available = kTileValues});
  }
  return {};
}

// For each place the cosines of its pairs, then their sines.
Result<Buffer> turns_of(const Rotary& rotary, const OpContext& context) {
  const uint64_t pairs = rotary.pairs();
  LOBIT_TRY(Buffer buffer, Buffer::allocate(*context.memory, rotary.places() * pairs * 2 * sizeof(float)));
  auto* const turns = reinterpret_cast<float*>(buffer.data());
  std::array<double, kTileValues / 2> speeds;  // a row is no longer than a tile
  for (uint64_t i = 0; i < pairs; ++i) {
    const double share = static_cast<double>(2 * i) / static_cast<double>(rotary.dims());
    speeds[i] = std::pow(rotary.options.base, -share);
  }
  detail::for_each_range(context, rotary.places(), 16, [&](uint64_t first, uint64_t count) {
    for (uint64_t place = first; place < first + count; ++place) {
      float* const row = turns + place * pairs * 2;
      for (uint64_t i = 0; i < pairs; ++i) {
        const double angle = rotary.position(place) * speeds[i];
        row[i] = static_cast<float>(std::cos(angle));
        row[pairs + i] = static_cast<float>(std::sin(angle));
      }
    }
  });
  return buffer;
}

void turn_row(const Rotary& rotary, const float* values, const float* turns, float* out) {
  const uint64_t pairs = rotary.pairs();
  if (rotary.options.pairs == ops::RotaryPairs::kNeighbours) {
    kernels::rotate_neighbours(values, pairs, turns, turns + pairs, out);
  } else {
    kernels::rotate_halves(values, pairs, turns, turns + pairs, out);
  }
  const uint64_t rest = rotary.x.shape().row_elements() - rotary.dims();
  if (out != values) std::copy_n(values + rotary.dims(), rest, out + rotary.dims());
}

void turn_rows(const Rotary& rotary, const float* turns, const detail::Output& output,
               const OpContext& context) {
  const Shape& shape = rotary.x.shape();
  const uint64_t columns = shape.row_elements();
  uint64_t rows_of_place = 1;
  for (size_t a = rotary.axis + 1; a + 1 < shape.rank(); ++a) {
    rows_of_place *= static_cast<uint64_t>(shape[a]);
  }
  const detail::ValueReader reader(rotary.x);
  float* const floats =
      output.encoding() == Encoding::kF32 ? reinterpret_cast<float*>(output.bytes()) : nullptr;
  const uint64_t grain = std::max<uint64_t>(1, 32'768 / columns);
  detail::for_each_range(context, shape.rows(), grain, [&](uint64_t first, uint64_t count) {
    std::array<float, kTileValues> tile;
    std::array<float, kTileValues> turned;
    for (uint64_t row = first; row < first + count; ++row) {
      const uint64_t place = row / rows_of_place % rotary.places();
      const float* const values = reader.read(row * columns, columns, tile.data());
      float* const out = floats != nullptr ? floats + row * columns : turned.data();
      turn_row(rotary, values, turns + place * rotary.pairs() * 2, out);
      if (floats == nullptr) {
        detail::store_values(output.encoding(), out, row * columns, columns, output.bytes());
      }
    }
  });
}

Status rotate(const Rotary& rotary, bool listed, Tensor& out, const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(check(rotary, listed, context));
  const ScopedFpEnv fp_env;
  OpScope scope(context.profiler, "rotary", detail::thread_count(context));
  scope.reads(rotary.x);
  scope.writes(rotary.x.shape(), out.format());
  const Status done = [&]() -> Status {
    // Before anything else has a share in the block of `x`, which `out` may be.
    LOBIT_TRY(detail::Output output,
              detail::Output::create("rotary", out, rotary.x.shape(), detail::kFloats, context));
    if (rotary.x.elements() > 0) {
      LOBIT_TRY(const Buffer turns, turns_of(rotary, context));
      turn_rows(rotary, reinterpret_cast<const float*>(turns.data()), output, context);
    }
    output.commit();
    return {};
  }();
  if (!done) scope.drop();
  return done;
}

Result<Tensor> rotated(const Rotary& rotary, bool listed, const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(check(rotary, listed, context));
  LOBIT_TRY(Tensor out, Tensor::empty(rotary.x.shape(), detail::result_format({&rotary.x}), *context.memory));
  LOBIT_RETURN_IF_ERROR(rotate(rotary, listed, out, context));
  return out;
}

}  // namespace

namespace ops {

Result<Tensor> rotary(const Tensor& x, size_t axis, int64_t first, const RotaryOptions& options,
                      const OpContext& context) {
  return rotated({x, axis, {}, first, options}, false, context);
}

Status rotary(const Tensor& x, size_t axis, int64_t first, const RotaryOptions& options, Tensor& out,
              const OpContext& context) {
  return rotate({x, axis, {}, first, options}, false, out, context);
}

Result<Tensor> rotary(const Tensor& x, size_t axis, std::span<const int64_t> positions,
                      const RotaryOptions& options, const OpContext& context) {
  return rotated({x, axis, positions, 0, options}, true, context);
}

Status rotary(const Tensor& x, size_t axis, std::span<const int64_t> positions, const RotaryOptions& options,
              Tensor& out, const OpContext& context) {
  return rotate({x, axis, positions, 0, options}, true, out, context);
}

}  // namespace ops
}  // namespace lobit
