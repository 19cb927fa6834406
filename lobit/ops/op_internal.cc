#include "lobit/ops/op_internal.h"

#include <array>
#include <bit>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "lobit/device/device.h"
namespace lobit::detail {

Status check_context(std::string_view op, const OpContext& context) {
  if (context.memory != nullptr && context.memory->device().kind == DeviceKind::kCpu) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: context: expected memory of the cpu, found {}", op,
                          context.memory == nullptr ? "none" : device_name(context.memory->device())));
}

Status check_operand(std::string_view op, const Tensor& operand) {
  if (operand.device().kind != DeviceKind::kCpu) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: tensor '{}' {}: expected one on the cpu (to_device() copies it there), found it "
                    "on {}",
                    op, operand.name(), operand.shape().to_string(), device_name(operand.device())),
        {.from = device_name(operand.device()), .to = "cpu"});
  }
  if (traits(operand.format().encoding).can_decode) return {};
  return fail(ErrorCode::kUnsupported,
              fmt::format("{}: tensor '{}' {}: expected numbers that lobit can decode, found {}", op,
                          operand.name(), operand.shape().to_string(), to_string(operand.format())),
              {.from = to_string(operand.format())});
}

ValueFormat result_format(std::initializer_list<const Tensor*> operands) {
  const ValueFormat first = (*operands.begin())->format();
  const bool half = first == ValueFormat{Encoding::kF16} || first == ValueFormat{Encoding::kBF16};
  const bool same =
      std::ranges::all_of(operands, [&](const Tensor* operand) { return operand->format() == first; });
  return half && same ? first : ValueFormat{Encoding::kF32};
}

Result<Shape> broadcast_shape(std::string_view op, const Shape& a, const Shape& b) {
  const size_t rank = std::max(a.rank(), b.rank());
  std::array<int64_t, Shape::kMaxRank> extents{};
  for (size_t back = 1; back <= rank; ++back) {
    const int64_t x = back <= a.rank() ? a[a.rank() - back] : 1;
    const int64_t y = back <= b.rank() ? b[b.rank() - back] : 1;
    if (x != y && x != 1 && y != 1) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: shapes: expected extents that are equal or 1 from the last axis on, found "
                              "{} and {}",
                              op, a.to_string(), b.to_string()),
                  {.index = rank - back,
                   .required = static_cast<uint64_t>(x),
                   .available = static_cast<uint64_t>(y)});
    }
    extents[rank - back] = x == 1 ? y : x;
  }
  return Shape::create({extents.data(), rank});
}

Result<Output> Output::create(std::string_view op, Tensor& out, const Shape& shape,
                              std::initializer_list<Encoding> allowed, const OpContext& context) {
  if (out.shape() != shape) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: result '{}': expected shape {}, found {}", op, out.name(), shape.to_string(),
                            out.shape().to_string()));
  }
  if (out.device().kind != DeviceKind::kCpu) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: result '{}' {}: expected one on the cpu, found it on {}", op, out.name(),
                            out.shape().to_string(), device_name(out.device())),
                {.from = device_name(out.device()), .to = "cpu"});
  }
  const ValueFormat format = out.format();
  if (format.is_planar() || std::ranges::count(allowed, format.encoding) == 0) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: result '{}': expected {}, found {}", op, out.name(),
                            encoding_name(*allowed.begin()), to_string(format)),
                {.from = to_string(format), .to = std::string(encoding_name(*allowed.begin()))});
  }
  if (out.is_exclusive() && out.is_contiguous()) {
    LOBIT_TRY(const std::span<std::byte> bytes, out.mutable_bytes());
    return Output(out, bytes.data());
  }
  LOBIT_TRY(Tensor fresh, Tensor::empty(shape, format, *context.memory));
  LOBIT_TRY(const std::span<std::byte> bytes, fresh.mutable_bytes());
  Output output(out, bytes.data());
  output.fresh_ = std::move(fresh);
  return output;
}

void Output::commit() {
  if (!fresh_) return;
  if (!out_->name().empty()) fresh_->set_name(out_->name());
  if (!out_->tags().empty()) fresh_->set_tags({out_->tags().begin(), out_->tags().end()});
  *out_ = std::move(*fresh_);
}

float for_halves(double value) {
  const auto nearest = static_cast<float>(value);
  const auto bits = std::bit_cast<uint32_t>(nearest);
  if (static_cast<double>(nearest) == value || !std::isfinite(nearest) || bits % 2 == 1) return nearest;
  return std::bit_cast<float>(std::fabs(static_cast<double>(nearest)) > std::fabs(value) ? bits - 1
                                                                                         : bits + 1);
}

Result<Tensor> decoded(const Tensor& x, const OpContext& context) {
  LOBIT_TRY(Tensor copy, Tensor::empty(x.shape(), Encoding::kF32, *context.memory));
  LOBIT_TRY(const std::span<float> values, copy.mutable_values<float>());
  const uint64_t columns = x.shape().row_elements();
  const uint64_t grain = columns == 0 ? 1 : std::max<uint64_t>(1, 16 * kTileValues / columns);
  for_each_range(context, x.shape().rows(), grain, [&](uint64_t first, uint64_t count) {
    x.decode_run(first * columns, count * columns, values.data() + first * columns);
  });
  return copy;
}

ValueReader::ValueReader(const Tensor& operand) : operand_(&operand) {
  if (operand.format() != ValueFormat{Encoding::kF32} || !operand.is_contiguous()) return;
  if (const auto values = operand.values<float>()) values_ = values->data();
}

}  // namespace lobit::detail
