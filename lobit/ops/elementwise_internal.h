// What operations on each value share: their operands, the shape of their result, and the call itself. Not
// installed.
#pragma once

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "lobit/base/fp_env.h"
#include "lobit/ops/elementwise.h"
#include "lobit/ops/tile_walk_internal.h"

namespace lobit::detail {

// The operands of a call, checked: the tensors among them, and where the walk has the others.
class OperandList {
 public:
  // kInvalidArgument when there is no tensor or shapes do not broadcast; the errors of check_operand().
  static Result<OperandList> create(std::string_view op, std::initializer_list<ops::Operand> operands);
  // In front of the operands.
  Status add_mask(std::string_view op, const Tensor& mask);

  std::span<const Tensor* const> tensors() const { return {tensors_.data(), count_}; }
  const Shape& shape() const { return shape_; }
  ValueFormat format() const { return format_; }

  // Operand i of a row; numbers repeat.
  kernels::Run<float> run(const TileInputs& inputs, size_t i) const {
    return index_[i] < kMaxOperands ? inputs[index_[i]].run<float>()
                                    : kernels::Run<float>{&numbers_[i], true};
  }
  // The same of a row of RowResult::kHalves.
  kernels::HalfRun half_run(const TileInputs& inputs, size_t i) const;

 private:
  std::array<const Tensor*, kMaxOperands> tensors_{};
  size_t count_ = 0;
  std::array<size_t, kMaxOperands> index_{};  // of the operands among the tensors; kMaxOperands for numbers
  std::array<float, kMaxOperands> numbers_{};
  Shape shape_;
  ValueFormat format_;
};

// Computes `out` by row(inputs, out, count, store) over the operands.
template <typename Row>
Status compute(std::string_view op, const OperandList& operands, Tensor& out,
               std::initializer_list<Encoding> allowed, RowResult results, const OpContext& context,
               const Row& row) {
  OpScope scope(context.profiler, op, thread_count(context));
  for (const Tensor* tensor : operands.tensors()) scope.reads(*tensor);
  scope.writes(operands.shape(), out.format());
  const auto work = [&]() -> Status {
    LOBIT_TRY(Output output, Output::create(op, out, operands.shape(), allowed, context));
    TileWalk walk;
    LOBIT_RETURN_IF_ERROR(walk.plan(operands.tensors(), operands.shape(), output, results, context));
    const ScopedFpEnv fp_env;
    walk.run(context, row);
    output.commit();
    return {};
  };
  Status status = work();
  if (!status) scope.drop();
  return status;
}

// The row of compute() by a kernel of one operand, whose input may be one value for all of a row.
template <typename Kernel>
auto by_values(const Kernel& kernel) {
  return [kernel](const TileInputs& inputs, std::byte* out, size_t count, kernels::Store store) {
    const kernels::Run<float> run = inputs[0].run<float>();
    auto* const to = reinterpret_cast<float*>(out);
    kernel(run.values, to, run.repeats ? 1 : count, store);
    if (run.repeats) std::fill_n(to, count, *to);
  };
}

// The form of an operation that returns its result, by the one that is given it: call(out).
template <typename Call>
Result<Tensor> in_new_tensor(std::string_view op, const Result<OperandList>& operands, ValueFormat format,
                             const OpContext& context, const Call& call) {
  if (!operands) return fail(operands.error());
  LOBIT_RETURN_IF_ERROR(check_context(op, context));
  LOBIT_TRY(Tensor out, Tensor::empty(operands->shape(), format, *context.memory));
  LOBIT_RETURN_IF_ERROR(call(out));
  return out;
}

}  // namespace lobit::detail
