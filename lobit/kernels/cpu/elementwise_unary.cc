// Element-wise operations of one operand.
#include "lobit/kernels/cpu/elementwise_families.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/elementwise_unary.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/common-inl.h"
#include "lobit/kernels/cpu/elementwise-inl.h"
#include "lobit/kernels/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

template <UnaryOp kOp>
struct Function {
  HWY_INLINE VF operator()(VF x) const {
    if constexpr (kOp == UnaryOp::kNeg) return hn::Neg(x);
    if constexpr (kOp == UnaryOp::kAbs) return hn::Abs(x);
    if constexpr (kOp == UnaryOp::kExp) return HWY_NAMESPACE::exp(x);
    if constexpr (kOp == UnaryOp::kLog) return HWY_NAMESPACE::log(x);
    if constexpr (kOp == UnaryOp::kSqrt) return hn::Sqrt(x);
    if constexpr (kOp == UnaryOp::kRsqrt) return hn::Div(constant(1.0f), hn::Sqrt(x));
    if constexpr (kOp == UnaryOp::kTanh) return HWY_NAMESPACE::tanh(x);
    if constexpr (kOp == UnaryOp::kSigmoid) return sigmoid(x);
    if constexpr (kOp == UnaryOp::kSilu) return weighted(x, sigmoid(x));
    if constexpr (kOp == UnaryOp::kGelu) return gelu(x);
    if constexpr (kOp == UnaryOp::kGeluTanh) return gelu_tanh(x);
    if constexpr (kOp == UnaryOp::kRelu) return relu(x);
    if constexpr (kOp == UnaryOp::kSquaredRelu) return hn::Mul(relu(x), relu(x));
  }
};

template <UnaryOp kOp>
void unary(const float* values, float* out, size_t count, Store store) {
  const RunReader reader({values});
  map_runs(Function<kOp>(), out, count, store, reader);
}

void clamp(const float* values, float low, float high, float* out, size_t count, Store store) {
  const RunReader reader({values});
  const auto limit = [low, high](VF x) HWY_ATTR { return at_most(at_least(x, low), high); };
  map_runs(limit, out, count, store, reader);
}

UnaryFn find_unary(UnaryOp op) {
  using enum UnaryOp;
  constexpr UnaryFn kFunctions[kUnaryOps] = {
      unary<kNeg>,        unary<kAbs>,     unary<kExp>,  unary<kLog>,  unary<kSqrt>,     unary<kRsqrt>,  //
      unary<kTanh>,       unary<kSigmoid>, unary<kSilu>, unary<kGelu>, unary<kGeluTanh>, unary<kRelu>,
      unary<kSquaredRelu>};
  return kFunctions[static_cast<size_t>(op)];
}
ClampFn find_clamp() {
  return clamp;
}

#else
UnaryFn find_unary(UnaryOp) {
  return nullptr;
}
ClampFn find_clamp() {
  return nullptr;
}
#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {

HWY_EXPORT(find_unary);
HWY_EXPORT(find_clamp);

UnaryFn vector_unary(UnaryOp op) {
  return HWY_DYNAMIC_DISPATCH(find_unary)(op);
}
ClampFn vector_clamp() {
  return HWY_DYNAMIC_DISPATCH(find_clamp)();
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE
