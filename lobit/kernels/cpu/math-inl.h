// The functions of lobit/kernels/reference_elementwise.cc on F32 vectors, operation for operation, so that
// the bits are the same. Included once per target, after common-inl.h.
#if defined(LOBIT_KERNELS_CPU_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOBIT_KERNELS_CPU_MATH_INL_H_
#undef LOBIT_KERNELS_CPU_MATH_INL_H_
#else
#define LOBIT_KERNELS_CPU_MATH_INL_H_
#endif

#include <cstddef>
#include <limits>

#include "lobit/kernels/cpu/common-inl.h"
#include "lobit/kernels/elementwise_constants.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
#if LOBIT_HAS_VECTORS

namespace constants = elementwise_constants;

HWY_INLINE VF constant(float value) {
  return hn::Set(DF(), value);
}

// By Horner's rule, without fused multiply-add.
template <size_t kCount>
HWY_INLINE VF polynomial(const float (&coefficients)[kCount], VF x) {
  VF sum = constant(coefficients[kCount - 1]);
  HWY_UNROLL(16)
  for (size_t i = kCount - 1; i-- > 0;) sum = hn::Add(hn::Mul(sum, x), constant(coefficients[i]));
  return sum;
}

// Let NaN through, which Min and Max do not.
HWY_INLINE VF at_most(VF x, float limit) {
  return hn::IfThenElse(hn::Gt(x, constant(limit)), constant(limit), x);
}
HWY_INLINE VF at_least(VF x, float limit) {
  return hn::IfThenElse(hn::Lt(x, constant(limit)), constant(limit), x);
}

HWY_INLINE VF power_of_two(VI exponent) {
  return hn::BitCast(DF(), hn::ShiftLeft<23>(hn::Add(exponent, hn::Set(DI(), 127))));
}

// exp(x) as a value in [0.7, 1.42] and a power of two.
struct ExpParts {
  VF value;
  VI exponent;
};
HWY_INLINE ExpParts exp_parts(VF x) {
  const VF magic = constant(constants::kRoundToInteger);
  const VF shifted = hn::Add(hn::Mul(x, constant(constants::kLog2E)), magic);
  const VF n = hn::Sub(shifted, magic);
  const VF r = hn::Sub(hn::Sub(x, hn::Mul(n, constant(constants::kLn2High))),
                       hn::Mul(n, constant(constants::kLn2Low)));
  const VF square = hn::Mul(hn::Mul(r, r), polynomial(constants::kExp, r));
  return {hn::Add(constant(1.0f), hn::Add(r, square)),
          hn::Sub(hn::BitCast(DI(), shifted), hn::BitCast(DI(), magic))};
}

HWY_INLINE VF exp(VF x) {
  const ExpParts parts = exp_parts(at_least(at_most(x, constants::kExpMax), constants::kExpMin));
  const VI half = hn::ShiftRight<1>(parts.exponent);
  return hn::Mul(hn::Mul(parts.value, power_of_two(half)), power_of_two(hn::Sub(parts.exponent, half)));
}

// The same for |x| <= 80, where one step is exact.
HWY_INLINE VF exp_within_limits(VF x) {
  const ExpParts parts = exp_parts(x);
  return hn::Mul(parts.value, power_of_two(parts.exponent));
}

HWY_INLINE VF log(VF x) {
  const auto subnormal = hn::Lt(x, constant(constants::kSmallestNormal));
  const VF scaled = hn::IfThenElse(subnormal, hn::Mul(x, constant(0x1p23f)), x);
  const VI shifted = hn::Add(hn::BitCast(DI(), scaled),
                             hn::Set(DI(), int32_t{constants::kOneBits - constants::kSqrtHalfBits}));
  // Of the bits without a sign; those of negative numbers come to nothing.
  const VI exponent = hn::BitCast(DI(), hn::ShiftRight<23>(hn::BitCast(DU(), shifted)));
  const VF unscaled = hn::ConvertTo(DF(), hn::Sub(exponent, hn::Set(DI(), 127)));
  const VF k = hn::Sub(unscaled, hn::IfThenElseZero(subnormal, constant(23.0f)));
  const VI mantissa = hn::And(shifted, hn::Set(DI(), 0x007FFFFF));
  const VF m = hn::BitCast(DF(), hn::Add(mantissa, hn::Set(DI(), int32_t{constants::kSqrtHalfBits})));
  const VF f = hn::Sub(m, constant(1.0f));
  const VF s = hn::Div(f, hn::Add(f, constant(2.0f)));
  const VF z = hn::Mul(s, s);
  const VF half_square = hn::Mul(constant(0.5f), hn::Mul(f, f));
  const VF rest = hn::Mul(z, polynomial(constants::kLog, z));
  const VF low = hn::Add(hn::Mul(s, hn::Add(half_square, rest)), hn::Mul(k, constant(constants::kLn2Low)));
  const VF value = hn::Add(hn::Add(hn::Sub(low, half_square), f), hn::Mul(k, constant(constants::kLn2High)));
  constexpr float kInf = std::numeric_limits<float>::infinity();
  VF result = hn::IfThenElse(hn::Lt(x, constant(kInf)), value, x);
  result =
      hn::IfThenElse(hn::Lt(x, hn::Zero(DF())), constant(std::numeric_limits<float>::quiet_NaN()), result);
  return hn::IfThenElse(hn::Eq(x, hn::Zero(DF())), constant(-kInf), result);
}

HWY_INLINE VF tanh(VF x) {
  const VF a = hn::Abs(x);
  const VF z = hn::Mul(a, a);
  const VF small = hn::Add(a, hn::Mul(a, hn::Mul(z, polynomial(constants::kTanh, z))));
  const VF bounded = at_most(a, constants::kTanhMax);
  const VF e = exp_within_limits(hn::Add(bounded, bounded));
  const VF one = constant(1.0f);
  const VF large = hn::Sub(one, hn::Div(constant(2.0f), hn::Add(e, one)));
  const VF value = hn::IfThenElse(hn::Lt(a, constant(constants::kTanhSmall)), small, large);
  return hn::CopySign(value, x);
}

HWY_INLINE VF sigmoid(VF x) {
  const VF e = exp(hn::Neg(hn::Abs(x)));
  const VF one = constant(1.0f);
  return hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(DF())), e, one), hn::Add(one, e));
}

HWY_INLINE VF weighted(VF x, VF share) {
  return hn::Mul(at_least(x, constants::kLowest), share);
}

HWY_INLINE VF gelu(VF x) {
  const VF a = at_most(hn::Abs(x), constants::kTailMax);
  const VF middle = constant(constants::kTailMiddle);
  const VF u = hn::Div(hn::Sub(a, middle), hn::Add(a, middle));
  const VF e = exp(hn::Mul(constant(-0.5f), hn::Mul(a, a)));
  const VF tail = hn::Mul(e, polynomial(constants::kTail, u));
  const auto negative = hn::Lt(x, hn::Zero(DF()));
  return weighted(x, hn::IfThenElse(negative, tail, hn::Sub(constant(1.0f), tail)));
}

HWY_INLINE VF gelu_tanh(VF x) {
  const VF cube = hn::Mul(x, hn::Mul(hn::Mul(x, x), constant(constants::kGeluTanhCube)));
  return weighted(x, sigmoid(hn::Mul(constant(constants::kGeluTanhScale), hn::Add(x, cube))));
}

HWY_INLINE VF relu(VF x) {
  return hn::IfThenElse(hn::Lt(x, hn::Zero(DF())), hn::Zero(DF()), x);
}

#endif  // LOBIT_HAS_VECTORS
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
