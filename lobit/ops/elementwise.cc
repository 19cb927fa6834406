#include "lobit/ops/elementwise.h"

#include <fmt/format.h>

#include "lobit/dtype/half.h"
#include "lobit/ops/compare.h"
#include "lobit/ops/elementwise_internal.h"

namespace lobit {
namespace detail {

Result<OperandList> OperandList::create(std::string_view op, std::initializer_list<ops::Operand> operands) {
  OperandList list;
  for (size_t i = 0; i < operands.size(); ++i) {
    const ops::Operand& operand = operands.begin()[i];
    list.index_[i] = kMaxOperands;
    list.numbers_[i] = operand.number();
    if (operand.tensor() == nullptr) continue;
    LOBIT_RETURN_IF_ERROR(check_operand(op, *operand.tensor()));
    list.index_[i] = list.count_;
    list.tensors_[list.count_++] = operand.tensor();
  }
  if (list.count_ == 0) return list;
  const auto& tensors = list.tensors_;
  list.shape_ = tensors[0]->shape();
  list.format_ = result_format({tensors[0]});
  if (list.count_ == 2) {
    LOBIT_TRY(list.shape_, broadcast_shape(op, tensors[0]->shape(), tensors[1]->shape()));
    list.format_ = result_format({tensors[0], tensors[1]});
  }
  return list;
}

kernels::HalfRun OperandList::half_run(const TileInputs& inputs, size_t i) const {
  if (index_[i] == kMaxOperands) return {.number = numbers_[i]};
  const kernels::Run<uint16_t> run = inputs[index_[i]].run<uint16_t>();
  if (!run.repeats) return {.values = run.values};
  return {.number = format_.encoding == Encoding::kF16 ? f16_to_f32(*run.values) : bf16_to_f32(*run.values)};
}

Status OperandList::add_mask(std::string_view op, const Tensor& mask) {
  const ValueFormat format = mask.format();
  if (mask.device().kind != DeviceKind::kCpu || format.is_planar() ||
      (format.encoding != Encoding::kRawU8 && format.encoding != Encoding::kBool)) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: mask '{}' {}: expected raw_u8 or bool on the cpu, found {} on {}", op, mask.name(),
                    mask.shape().to_string(), to_string(format), device_name(mask.device())),
        {.from = to_string(format), .to = "raw_u8"});
  }
  LOBIT_TRY(shape_, broadcast_shape(op, mask.shape(), shape_));
  for (size_t i = count_; i > 0; --i) tensors_[i] = tensors_[i - 1];
  tensors_[0] = &mask;
  ++count_;
  for (size_t& index : index_) index = std::min(index + 1, kMaxOperands);
  return {};
}

}  // namespace detail

namespace ops {
namespace {

using detail::OperandList;
using detail::RowResult;
using detail::TileInputs;
using kernels::Store;

constexpr std::array<std::string_view, kernels::kBinaryOps> kBinaryNames{"add", "sub", "mul",
                                                                         "div", "min", "max"};
constexpr std::array<std::string_view, kernels::kUnaryOps> kUnaryNames{
    "neg",     "abs",  "exp",  "log",       "sqrt", "rsqrt",       "tanh",
    "sigmoid", "silu", "gelu", "gelu_tanh", "relu", "squared_relu"};
constexpr std::array<std::string_view, kernels::kCompareOps> kCompareNames{
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal"};
constexpr std::string_view kClamp = "clamp";
constexpr std::string_view kWhere = "where";

template <typename Op, size_t kCount>
std::string_view name_of(const std::array<std::string_view, kCount>& names, Op op) {
  return names[static_cast<size_t>(op)];
}

// Of operands of which one must be a tensor.
Result<OperandList> pair_of(std::string_view op, const Operand& a, const Operand& b) {
  if (a.tensor() == nullptr && b.tensor() == nullptr) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: operands: expected a tensor, found two numbers", op));
  }
  return OperandList::create(op, {a, b});
}

Result<OperandList> choice_of(const Tensor& mask, const Operand& a, const Operand& b) {
  LOBIT_TRY(OperandList list, OperandList::create(kWhere, {a, b}));
  LOBIT_RETURN_IF_ERROR(list.add_mask(kWhere, mask));
  return list;
}

float* floats(std::byte* out) {
  return reinterpret_cast<float*>(out);
}

}  // namespace

Status binary(BinaryOp op, const Operand& a, const Operand& b, Tensor& out, const OpContext& context) {
  const std::string_view name = name_of(kBinaryNames, op);
  LOBIT_RETURN_IF_ERROR(detail::check_context(name, context));
  LOBIT_TRY(const OperandList operands, pair_of(name, a, b));
  const ValueFormat format = operands.format();
  if (format != ValueFormat{Encoding::kF32} && out.format() == format) {
    const kernels::HalfBinaryFn kernel = kernels::half_binary_kernel(op, format.encoding);
    return detail::compute(name, operands, out, {format.encoding}, RowResult::kHalves, context,
                           [&](const TileInputs& in, std::byte* to, size_t count, Store store) {
                             kernel(operands.half_run(in, 0), operands.half_run(in, 1),
                                    reinterpret_cast<uint16_t*>(to), count, store);
                           });
  }
  const kernels::BinaryFn kernel = kernels::binary_kernel(op);
  return detail::compute(name, operands, out, detail::kFloats, RowResult::kAsFloats, context,
                         [&](const TileInputs& in, std::byte* to, size_t count, Store store) {
                           kernel(operands.run(in, 0), operands.run(in, 1), floats(to), count, store);
                         });
}

Result<Tensor> binary(BinaryOp op, const Operand& a, const Operand& b, const OpContext& context) {
  const std::string_view name = name_of(kBinaryNames, op);
  const Result<OperandList> operands = pair_of(name, a, b);
  return detail::in_new_tensor(name, operands, operands ? operands->format() : ValueFormat(), context,
                               [&](Tensor& out) { return binary(op, a, b, out, context); });
}

Status unary(UnaryOp op, const Tensor& x, Tensor& out, const OpContext& context) {
  const std::string_view name = name_of(kUnaryNames, op);
  LOBIT_RETURN_IF_ERROR(detail::check_context(name, context));
  LOBIT_TRY(const OperandList operands, OperandList::create(name, {x}));
  const kernels::UnaryFn kernel = kernels::unary_kernel(op);
  return detail::compute(name, operands, out, detail::kFloats, RowResult::kAsFloats, context,
                         detail::by_values(kernel));
}

Result<Tensor> unary(UnaryOp op, const Tensor& x, const OpContext& context) {
  const std::string_view name = name_of(kUnaryNames, op);
  const Result<OperandList> operands = OperandList::create(name, {x});
  return detail::in_new_tensor(name, operands, operands ? operands->format() : ValueFormat(), context,
                               [&](Tensor& out) { return unary(op, x, out, context); });
}

Status clamp(const Tensor& x, float low, float high, Tensor& out, const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(detail::check_context(kClamp, context));
  LOBIT_TRY(const OperandList operands, OperandList::create(kClamp, {x}));
  if (!(low <= high)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: limits: expected low <= high, found {} and {}", kClamp, low, high));
  }
  const kernels::ClampFn kernel = kernels::clamp_kernel();
  const auto limit = [=](const float* values, float* to, size_t count, Store store) {
    kernel(values, low, high, to, count, store);
  };
  return detail::compute(kClamp, operands, out, detail::kFloats, RowResult::kAsFloats, context,
                         detail::by_values(limit));
}

Result<Tensor> clamp(const Tensor& x, float low, float high, const OpContext& context) {
  const Result<OperandList> operands = OperandList::create(kClamp, {x});
  return detail::in_new_tensor(kClamp, operands, operands ? operands->format() : ValueFormat(), context,
                               [&](Tensor& out) { return clamp(x, low, high, out, context); });
}

Status where(const Tensor& mask, const Operand& a, const Operand& b, Tensor& out, const OpContext& context) {
  LOBIT_RETURN_IF_ERROR(detail::check_context(kWhere, context));
  LOBIT_TRY(const OperandList operands, choice_of(mask, a, b));
  const kernels::SelectFn kernel = kernels::select_kernel();
  return detail::compute(kWhere, operands, out, detail::kFloats, RowResult::kAsFloats, context,
                         [&](const TileInputs& in, std::byte* to, size_t count, Store store) {
                           kernel(in[0].run<uint8_t>(), operands.run(in, 0), operands.run(in, 1), floats(to),
                                  count, store);
                         });
}

Result<Tensor> where(const Tensor& mask, const Operand& a, const Operand& b, const OpContext& context) {
  const Result<OperandList> operands = choice_of(mask, a, b);
  return detail::in_new_tensor(kWhere, operands, operands ? operands->format() : ValueFormat(), context,
                               [&](Tensor& out) { return where(mask, a, b, out, context); });
}

Status compare(CompareOp op, const Operand& a, const Operand& b, Tensor& out, const OpContext& context) {
  const std::string_view name = name_of(kCompareNames, op);
  LOBIT_RETURN_IF_ERROR(detail::check_context(name, context));
  LOBIT_TRY(const OperandList operands, pair_of(name, a, b));
  const kernels::CompareFn kernel = kernels::compare_kernel(op);
  return detail::compute(name, operands, out, {Encoding::kRawU8}, RowResult::kAsFloats, context,
                         [&](const TileInputs& in, std::byte* to, size_t count, Store) {
                           kernel(operands.run(in, 0), operands.run(in, 1), reinterpret_cast<uint8_t*>(to),
                                  count);
                         });
}

Result<Tensor> compare(CompareOp op, const Operand& a, const Operand& b, const OpContext& context) {
  const std::string_view name = name_of(kCompareNames, op);
  return detail::in_new_tensor(name, pair_of(name, a, b), ValueFormat{Encoding::kRawU8}, context,
                               [&](Tensor& out) { return compare(op, a, b, out, context); });
}

}  // namespace ops
}  // namespace lobit
