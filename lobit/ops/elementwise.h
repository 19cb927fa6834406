// Operations on each value of tensors of any strides and formats. Shapes broadcast as in NumPy: axes are
// matched from the last on, and one of extent 1, or none, repeats. Values are computed in F32, with the same
// bits at every SIMD level and for any number of threads; lobit/kernels/elementwise.h says how exact each
// operation is and what it makes of NaN and values without end.
//
// Each operation comes twice. One returns a new tensor in the context's memory: F16 when all tensors are F16,
// BF16 when all are BF16, else F32. The other computes the value of `out`, whose shape must be the result's
// and whose format (F32, F16 or BF16) it keeps: in place where `out` alone owns its block and is contiguous,
// also when it is one of the operands; in a new block otherwise, so that no other tensor changes. Results
// beyond F16 or BF16 become inf.
//
// Errors: kInvalidArgument for shapes that do not broadcast, an `out` that does not fit, a tensor that is not
// on the CPU or a context without memory; kUnsupported for formats that lobit cannot decode; the errors of
// the context's memory. `out` is as it was then. Any thread may call, as Tensor and OpContext allow.
#pragma once

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/kernels/elementwise.h"
#include "lobit/ops/op_context.h"
#include "lobit/tensor/tensor.h"

namespace lobit::ops {

using kernels::BinaryOp;
using kernels::UnaryOp;

// A tensor, or one number for all values; what it is made of outlives the call.
class Operand {
 public:
  Operand(const Tensor& tensor) : tensor_(&tensor) {}  // NOLINT(google-explicit-constructor)
  Operand(float number) : number_(number) {}           // NOLINT(google-explicit-constructor)

  const Tensor* tensor() const { return tensor_; }  // nullptr: a number
  const float& number() const { return number_; }

 private:
  const Tensor* tensor_ = nullptr;
  float number_ = 0.0f;
};

// Two operands, of which one at least is a tensor.
LOBIT_API Result<Tensor> binary(BinaryOp op, const Operand& a, const Operand& b, const OpContext& context);
LOBIT_API Status binary(BinaryOp op, const Operand& a, const Operand& b, Tensor& out,
                        const OpContext& context);
LOBIT_API Result<Tensor> unary(UnaryOp op, const Tensor& x, const OpContext& context);
LOBIT_API Status unary(UnaryOp op, const Tensor& x, Tensor& out, const OpContext& context);

// `low` for values below it and `high` for those above it; low <= high.
LOBIT_API Result<Tensor> clamp(const Tensor& x, float low, float high, const OpContext& context);
LOBIT_API Status clamp(const Tensor& x, float low, float high, Tensor& out, const OpContext& context);

// a where the mask (raw_u8 or bool) is not 0, else b. All three broadcast. The format of the result is that
// of the tensors among a and b, F32 for two numbers.
LOBIT_API Result<Tensor> where(const Tensor& mask, const Operand& a, const Operand& b,
                               const OpContext& context);
LOBIT_API Status where(const Tensor& mask, const Operand& a, const Operand& b, Tensor& out,
                       const OpContext& context);

inline Result<Tensor> add(const Operand& a, const Operand& b, const OpContext& context) {
  return binary(BinaryOp::kAdd, a, b, context);
}
inline Status add(const Operand& a, const Operand& b, Tensor& out, const OpContext& context) {
  return binary(BinaryOp::kAdd, a, b, out, context);
}
inline Result<Tensor> sub(const Operand& a, const Operand& b, const OpContext& context) {
  return binary(BinaryOp::kSub, a, b, context);
}
inline Status sub(const Operand& a, const Operand& b, Tensor& out, const OpContext& context) {
  return binary(BinaryOp::kSub, a, b, out, context);
}
inline Result<Tensor> mul(const Operand& a, const Operand& b, const OpContext& context) {
  return binary(BinaryOp::kMul, a, b, context);
}
inline Status mul(const Operand& a, const Operand& b, Tensor& out, const OpContext& context) {
  return binary(BinaryOp::kMul, a, b, out, context);
}
inline Result<Tensor> div(const Operand& a, const Operand& b, const OpContext& context) {
  return binary(BinaryOp::kDiv, a, b, context);
}
inline Status div(const Operand& a, const Operand& b, Tensor& out, const OpContext& context) {
  return binary(BinaryOp::kDiv, a, b, out, context);
}
inline Result<Tensor> min(const Operand& a, const Operand& b, const OpContext& context) {
  return binary(BinaryOp::kMin, a, b, context);
}
inline Status min(const Operand& a, const Operand& b, Tensor& out, const OpContext& context) {
  return binary(BinaryOp::kMin, a, b, out, context);
}
inline Result<Tensor> max(const Operand& a, const Operand& b, const OpContext& context) {
  return binary(BinaryOp::kMax, a, b, context);
}
inline Status max(const Operand& a, const Operand& b, Tensor& out, const OpContext& context) {
  return binary(BinaryOp::kMax, a, b, out, context);
}

inline Result<Tensor> neg(const Tensor& x, const OpContext& context) {
  return unary(UnaryOp::kNeg, x, context);
}
inline Status neg(const Tensor& x, Tensor& out, const OpContext& context) {
  return unary(UnaryOp::kNeg, x, out, context);
}
inline Result<Tensor> abs(const Tensor& x, const OpContext& context) {
  return unary(UnaryOp::kAbs, x, context);
}
inline Status abs(const Tensor& x, Tensor& out, const OpContext& context) {
  return unary(UnaryOp::kAbs, x, out, context);
}
inline Result<Tensor> exp(const Tensor& x, const OpContext& context) {
  return unary(UnaryOp::kExp, x, context);
}
inline Status exp(const Tensor& x, Tensor& out, const OpContext& context) {
  return unary(UnaryOp::kExp, x, out, context);
}
inline Result<Tensor> log(const Tensor& x, const OpContext& context) {
  return unary(UnaryOp::kLog, x, context);
}
inline Status log(const Tensor& x, Tensor& out, const OpContext& context) {
  return unary(UnaryOp::kLog, x, out, context);
}
inline Result<Tensor> sqrt(const Tensor& x, const OpContext& context) {
  return unary(UnaryOp::kSqrt, x, context);
}
inline Status sqrt(const Tensor& x, Tensor& out, const OpContext& context) {
  return unary(UnaryOp::kSqrt, x, out, context);
}
inline Result<Tensor> rsqrt(const Tensor& x, const OpContext& context) {
  return unary(UnaryOp::kRsqrt, x, context);
}
inline Status rsqrt(const Tensor& x, Tensor& out, const OpContext& context) {
  return unary(UnaryOp::kRsqrt, x, out, context);
}
inline Result<Tensor> tanh(const Tensor& x, const OpContext& context) {
  return unary(UnaryOp::kTanh, x, context);
}
inline Status tanh(const Tensor& x, Tensor& out, const OpContext& context) {
  return unary(UnaryOp::kTanh, x, out, context);
}
inline Result<Tensor> sigmoid(const Tensor& x, const OpContext& context) {
  return unary(UnaryOp::kSigmoid, x, context);
}
inline Status sigmoid(const Tensor& x, Tensor& out, const OpContext& context) {
  return unary(UnaryOp::kSigmoid, x, out, context);
}
inline Result<Tensor> silu(const Tensor& x, const OpContext& context) {
  return unary(UnaryOp::kSilu, x, context);
}
inline Status silu(const Tensor& x, Tensor& out, const OpContext& context) {
  return unary(UnaryOp::kSilu, x, out, context);
}
inline Result<Tensor> gelu(const Tensor& x, const OpContext& context) {
  return unary(UnaryOp::kGelu, x, context);
}
inline Status gelu(const Tensor& x, Tensor& out, const OpContext& context) {
  return unary(UnaryOp::kGelu, x, out, context);
}
inline Result<Tensor> gelu_tanh(const Tensor& x, const OpContext& context) {
  return unary(UnaryOp::kGeluTanh, x, context);
}
inline Status gelu_tanh(const Tensor& x, Tensor& out, const OpContext& context) {
  return unary(UnaryOp::kGeluTanh, x, out, context);
}
inline Result<Tensor> relu(const Tensor& x, const OpContext& context) {
  return unary(UnaryOp::kRelu, x, context);
}
inline Status relu(const Tensor& x, Tensor& out, const OpContext& context) {
  return unary(UnaryOp::kRelu, x, out, context);
}
inline Result<Tensor> squared_relu(const Tensor& x, const OpContext& context) {
  return unary(UnaryOp::kSquaredRelu, x, context);
}
inline Status squared_relu(const Tensor& x, Tensor& out, const OpContext& context) {
  return unary(UnaryOp::kSquaredRelu, x, out, context);
}

}  // namespace lobit::ops
