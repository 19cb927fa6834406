// Comparisons of each value of two operands, as in lobit/ops/elementwise.h: results are masks, tensors of
// raw_u8 whose values are 1 where the relation holds and 0 elsewhere. Comparisons with NaN do not hold,
// except that it is not equal to anything. Errors and threads as in elementwise.h; an `out` has format
// raw_u8.
#pragma once

#include "lobit/ops/elementwise.h"

namespace lobit::ops {

using kernels::CompareOp;

// Two operands, of which one at least is a tensor.
LOBIT_API Result<Tensor> compare(CompareOp op, const Operand& a, const Operand& b, const OpContext& context);
LOBIT_API Status compare(CompareOp op, const Operand& a, const Operand& b, Tensor& out,
                         const OpContext& context);

inline Result<Tensor> equal(const Operand& a, const Operand& b, const OpContext& context) {
  return compare(CompareOp::kEqual, a, b, context);
}
inline Status equal(const Operand& a, const Operand& b, Tensor& out, const OpContext& context) {
  return compare(CompareOp::kEqual, a, b, out, context);
}
inline Result<Tensor> not_equal(const Operand& a, const Operand& b, const OpContext& context) {
  return compare(CompareOp::kNotEqual, a, b, context);
}
inline Status not_equal(const Operand& a, const Operand& b, Tensor& out, const OpContext& context) {
  return compare(CompareOp::kNotEqual, a, b, out, context);
}
inline Result<Tensor> less(const Operand& a, const Operand& b, const OpContext& context) {
  return compare(CompareOp::kLess, a, b, context);
}
inline Status less(const Operand& a, const Operand& b, Tensor& out, const OpContext& context) {
  return compare(CompareOp::kLess, a, b, out, context);
}
inline Result<Tensor> less_equal(const Operand& a, const Operand& b, const OpContext& context) {
  return compare(CompareOp::kLessEqual, a, b, context);
}
inline Status less_equal(const Operand& a, const Operand& b, Tensor& out, const OpContext& context) {
  return compare(CompareOp::kLessEqual, a, b, out, context);
}
inline Result<Tensor> greater(const Operand& a, const Operand& b, const OpContext& context) {
  return compare(CompareOp::kGreater, a, b, context);
}
inline Status greater(const Operand& a, const Operand& b, Tensor& out, const OpContext& context) {
  return compare(CompareOp::kGreater, a, b, out, context);
}
inline Result<Tensor> greater_equal(const Operand& a, const Operand& b, const OpContext& context) {
  return compare(CompareOp::kGreaterEqual, a, b, context);
}
inline Status greater_equal(const Operand& a, const Operand& b, Tensor& out, const OpContext& context) {
  return compare(CompareOp::kGreaterEqual, a, b, out, context);
}

}  // namespace lobit::ops
