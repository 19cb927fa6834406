// The functions of lobit/kernels/reference_elementwise.cc on F32 vectors, operation for operation, so that
// the bits are the same. They take packs of vectors: the steps on one vector wait for each other, those on
// several overlap. A pack without values out of the ordinary takes a shorter way, on which ordinary values
// get the same bits. Included once per target, after common-inl.h.
#if defined(LOBIT_KERNELS_CPU_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOBIT_KERNELS_CPU_MATH_INL_H_
#undef LOBIT_KERNELS_CPU_MATH_INL_H_
#else
#define LOBIT_KERNELS_CPU_MATH_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <limits>

#include "lobit/kernels/cpu/common-inl.h"
#include "lobit/kernels/elementwise_constants.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
#if LOBIT_HAS_VECTORS

namespace constants = elementwise_constants;

// Vectors of floats (VF), integers (VI) or masks.
template <class V, size_t kCount>
struct Pack {
  V v[kCount];
};
template <size_t kCount>
using FloatPack = Pack<VF, kCount>;
template <size_t kCount>
using IntPack = Pack<VI, kCount>;

// Vectors of a pack in loops.
inline constexpr size_t kPack = 4;

template <size_t kCount>
HWY_INLINE FloatPack<kCount> load_pack(const float* values) {
  FloatPack<kCount> x;
  HWY_UNROLL(4)
  for (size_t i = 0; i < kCount; ++i) x.v[i] = hn::LoadU(DF(), values + i * kLanes);
  return x;
}

// step(vectors of the packs), for each vector.
template <class Step, class V, size_t kCount, class... More>
HWY_INLINE auto each(const Step& step, const Pack<V, kCount>& x, const More&... more) {
  Pack<decltype(step(x.v[0], more.v[0]...)), kCount> result;
  HWY_UNROLL(4)
  for (size_t i = 0; i < kCount; ++i) result.v[i] = step(x.v[i], more.v[i]...);
  return result;
}

template <class V, size_t kCount>
HWY_INLINE Pack<V, kCount> operator+(const Pack<V, kCount>& a, const Pack<V, kCount>& b) {
  return each([](V x, V y) HWY_ATTR { return hn::Add(x, y); }, a, b);
}
template <class V, size_t kCount>
HWY_INLINE Pack<V, kCount> operator-(const Pack<V, kCount>& a, const Pack<V, kCount>& b) {
  return each([](V x, V y) HWY_ATTR { return hn::Sub(x, y); }, a, b);
}
template <size_t kCount>
HWY_INLINE FloatPack<kCount> operator*(const FloatPack<kCount>& a, const FloatPack<kCount>& b) {
  return each([](VF x, VF y) HWY_ATTR { return hn::Mul(x, y); }, a, b);
}
template <size_t kCount>
HWY_INLINE FloatPack<kCount> operator/(const FloatPack<kCount>& a, const FloatPack<kCount>& b) {
  return each([](VF x, VF y) HWY_ATTR { return hn::Div(x, y); }, a, b);
}
template <size_t kCount>
HWY_INLINE FloatPack<kCount> operator+(const FloatPack<kCount>& a, float b) {
  return each([b](VF x) HWY_ATTR { return hn::Add(x, hn::Set(DF(), b)); }, a);
}
template <size_t kCount>
HWY_INLINE FloatPack<kCount> operator-(const FloatPack<kCount>& a, float b) {
  return each([b](VF x) HWY_ATTR { return hn::Sub(x, hn::Set(DF(), b)); }, a);
}
template <size_t kCount>
HWY_INLINE FloatPack<kCount> operator*(const FloatPack<kCount>& a, float b) {
  return each([b](VF x) HWY_ATTR { return hn::Mul(x, hn::Set(DF(), b)); }, a);
}
template <size_t kCount>
HWY_INLINE IntPack<kCount> operator+(const IntPack<kCount>& a, int32_t b) {
  return each([b](VI x) HWY_ATTR { return hn::Add(x, hn::Set(DI(), b)); }, a);
}
template <size_t kCount>
HWY_INLINE IntPack<kCount> operator&(const IntPack<kCount>& a, int32_t b) {
  return each([b](VI x) HWY_ATTR { return hn::And(x, hn::Set(DI(), b)); }, a);
}

template <size_t kCount>
HWY_INLINE IntPack<kCount> bits_of(const FloatPack<kCount>& a) {
  return each([](VF x) HWY_ATTR { return hn::BitCast(DI(), x); }, a);
}
template <size_t kCount>
HWY_INLINE FloatPack<kCount> float_of_bits(const IntPack<kCount>& a) {
  return each([](VI x) HWY_ATTR { return hn::BitCast(DF(), x); }, a);
}
// The lowest bits as an exponent's.
template <size_t kCount>
HWY_INLINE IntPack<kCount> as_exponent(const IntPack<kCount>& a) {
  return each([](VI x) HWY_ATTR { return hn::ShiftLeft<23>(x); }, a);
}
template <size_t kCount>
HWY_INLINE FloatPack<kCount> magnitude(const FloatPack<kCount>& a) {
  return each([](VF x) HWY_ATTR { return hn::Abs(x); }, a);
}
template <size_t kCount>
HWY_INLINE FloatPack<kCount> negated(const FloatPack<kCount>& a) {
  return each([](VF x) HWY_ATTR { return hn::Neg(x); }, a);
}
// a where x < limit, else b.
template <size_t kCount>
HWY_INLINE FloatPack<kCount> where_less(const FloatPack<kCount>& x, float limit, const FloatPack<kCount>& a,
                                        const FloatPack<kCount>& b) {
  const auto choose = [limit](VF value, VF yes, VF no)
                          HWY_ATTR { return hn::IfThenElse(hn::Lt(value, hn::Set(DF(), limit)), yes, no); };
  return each(choose, x, a, b);
}

// Let NaN through.
template <size_t kCount>
HWY_INLINE FloatPack<kCount> at_most(const FloatPack<kCount>& a, float limit) {
  const auto bound = [limit](VF x) HWY_ATTR {
    const VF most = hn::Set(DF(), limit);
#if HWY_ARCH_X86
    return hn::Min(most, x);  // x86 takes the second operand when either is NaN
#else
    return hn::IfThenElse(hn::Gt(x, most), most, x);
#endif
  };
  return each(bound, a);
}
template <size_t kCount>
HWY_INLINE FloatPack<kCount> at_least(const FloatPack<kCount>& a, float limit) {
  const auto bound = [limit](VF x) HWY_ATTR {
    const VF least = hn::Set(DF(), limit);
#if HWY_ARCH_X86
    return hn::Max(least, x);
#else
    return hn::IfThenElse(hn::Lt(x, least), least, x);
#endif
  };
  return each(bound, a);
}

// Even and odd powers apart, each by Horner's rule, without fused multiply-add.
template <size_t kTerms, size_t kCount>
HWY_INLINE FloatPack<kCount> polynomial(const float (&coefficients)[kTerms], const FloatPack<kCount>& x,
                                        const FloatPack<kCount>& square) {
  constexpr size_t kEven = (kTerms - 1) / 2 * 2;
  constexpr size_t kOdd = kTerms / 2 * 2 - 1;
  FloatPack<kCount> even = square * coefficients[kEven] + coefficients[kEven - 2];
  FloatPack<kCount> odd = square * coefficients[kOdd] + coefficients[kOdd - 2];
  HWY_UNROLL(8)
  for (size_t i = kEven - 2; i > 0; i -= 2) even = even * square + coefficients[i - 2];
  HWY_UNROLL(8)
  for (size_t i = kOdd - 2; i > 1; i -= 2) odd = odd * square + coefficients[i - 2];
  return even + x * odd;
}

// Whether all magnitudes are at most `limit`: NaN is not.
template <size_t kCount>
HWY_INLINE bool all_within(const FloatPack<kCount>& x, float limit) {
  const IntPack<kCount> bits = bits_of(magnitude(x));
  VI largest = bits.v[0];
  for (size_t i = 1; i < kCount; ++i) largest = hn::Max(largest, bits.v[i]);
  return hn::AllFalse(DI(), hn::Gt(largest, hn::BitCast(DI(), hn::Set(DF(), limit))));
}

// Function::any(x...): a function's long way, kept apart from its loops.
template <class Function, size_t kCount, class... More>
HWY_NOINLINE void go_long_way(FloatPack<kCount>& result, const FloatPack<kCount>& x, const More&... more) {
  result = Function::any(x, more...);
}
template <class Function, size_t kCount, class... More>
HWY_INLINE FloatPack<kCount> long_way(FloatPack<kCount> x, More... more) {
  FloatPack<kCount> result;
  go_long_way<Function>(result, x, more...);
  return result;
}

// exp(x) = (1 + `value`) * 2^n, with `value` in [-0.3, 0.42] and n in the lowest bits of `shifted`.
template <size_t kCount>
struct ExpParts {
  FloatPack<kCount> value;
  IntPack<kCount> shifted;
};
template <size_t kCount>
HWY_INLINE ExpParts<kCount> exp_parts(const FloatPack<kCount>& x) {
  const FloatPack<kCount> shifted = x * constants::kLog2E + constants::kRoundToInteger;
  const FloatPack<kCount> n = shifted - constants::kRoundToInteger;
  const FloatPack<kCount> r = (x - n * constants::kLn2High) - n * constants::kLn2Low;
  const FloatPack<kCount> square = r * r;
  return {r + square * polynomial(constants::kExp, r, square), bits_of(shifted)};
}

// For |x| <= kExpOrdinary: n is added to the exponent of the value.
template <size_t kCount>
HWY_INLINE FloatPack<kCount> exp_ordinary(const FloatPack<kCount>& x) {
  const ExpParts<kCount> parts = exp_parts(x);
  return float_of_bits(bits_of(parts.value + 1.0f) + as_exponent(parts.shifted));
}

struct Exp {
  template <size_t kCount>
  static HWY_INLINE FloatPack<kCount> any(const FloatPack<kCount>& x) {
    const ExpParts<kCount> parts = exp_parts(at_least(at_most(x, constants::kExpMax), constants::kExpMin));
    const auto exponent_of = [](VI shifted) HWY_ATTR {
      return hn::Sub(shifted, hn::BitCast(DI(), hn::Set(DF(), constants::kRoundToInteger)));
    };
    const IntPack<kCount> exponent = each(exponent_of, parts.shifted);
    const IntPack<kCount> half = each([](VI n) HWY_ATTR { return hn::ShiftRight<1>(n); }, exponent);
    return (parts.value + 1.0f) * power_of_two(half) * power_of_two(exponent - half);
  }

 private:
  template <size_t kCount>
  static HWY_INLINE FloatPack<kCount> power_of_two(const IntPack<kCount>& exponent) {
    return float_of_bits(as_exponent(exponent + 127));
  }
};
template <size_t kCount>
HWY_INLINE FloatPack<kCount> exp(const FloatPack<kCount>& x) {
  return HWY_LIKELY(all_within(x, constants::kExpOrdinary)) ? exp_ordinary(x) : long_way<Exp>(x);
}

// log(2^k * x) for normal numbers x above 0.
template <size_t kCount, class... Exponent>
HWY_INLINE FloatPack<kCount> log_ordinary(const FloatPack<kCount>& x, const Exponent&... k) {
  const IntPack<kCount> above = bits_of(x) + -constants::kSqrtHalfBits;
  const auto whole = [](VI bits) HWY_ATTR { return hn::ConvertTo(DF(), hn::ShiftRight<23>(bits)); };
  const FloatPack<kCount> n = (each(whole, above) + ... + k);
  const FloatPack<kCount> f = float_of_bits((above & 0x007FFFFF) + constants::kSqrtHalfBits) - 1.0f;
  const FloatPack<kCount> square = f * f;
  const FloatPack<kCount> rest = square * polynomial(constants::kLog, f, square) + n * constants::kLn2Low;
  return (f + rest) + n * constants::kLn2High;
}

struct Log {
  template <size_t kCount>
  static HWY_INLINE FloatPack<kCount> any(const FloatPack<kCount>& x) {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    const auto none = [](VF) HWY_ATTR { return hn::Zero(DF()); };
    const auto shift = [](VF) HWY_ATTR { return hn::Set(DF(), -23.0f); };
    const FloatPack<kCount> k = where_less(x, constants::kSmallestNormal, each(shift, x), each(none, x));
    const FloatPack<kCount> value =
        log_ordinary(where_less(x, constants::kSmallestNormal, x * 0x1p23f, x), k);
    const auto nan = [](VF) HWY_ATTR { return hn::Set(DF(), std::numeric_limits<float>::quiet_NaN()); };
    const FloatPack<kCount> result = where_less(x, 0.0f, each(nan, x), where_less(x, kInf, value, x));
    const auto of_zero = [](VF v, VF other) HWY_ATTR {
      return hn::IfThenElse(hn::Eq(v, hn::Zero(DF())), hn::Set(DF(), -kInf), other);
    };
    return each(of_zero, x, result);
  }
};
template <size_t kCount>
HWY_INLINE FloatPack<kCount> log(const FloatPack<kCount>& x) {
  // Without a sign, normal numbers come first from here on.
  const IntPack<kCount> bits = bits_of(x) + -constants::kSmallestNormalBits;
  VU highest = hn::BitCast(DU(), bits.v[0]);
  for (size_t i = 1; i < kCount; ++i) highest = hn::Max(highest, hn::BitCast(DU(), bits.v[i]));
  const auto special = hn::Gt(highest, hn::Set(DU(), uint32_t{constants::kNormalNumbers - 1}));
  return HWY_LIKELY(hn::AllFalse(DU(), special)) ? log_ordinary(x) : long_way<Log>(x);
}

template <size_t kCount>
HWY_INLINE FloatPack<kCount> tanh(const FloatPack<kCount>& x) {
  const ExpParts<kCount> parts = exp_parts(at_most(magnitude(x), constants::kTanhMax) * -2.0f);
  const FloatPack<kCount> scale = float_of_bits(as_exponent(parts.shifted) + constants::kOneBits);
  const FloatPack<kCount> t = parts.value * scale + (scale - 1.0f);
  return each([](VF value, VF sign) HWY_ATTR { return hn::CopySign(value, sign); }, t / (t + 2.0f), x);
}

// x * sigmoid(u), with -0 for -inf.
struct Gated {
  template <size_t kCount>
  static HWY_INLINE FloatPack<kCount> any(const FloatPack<kCount>& x, const FloatPack<kCount>& u) {
    const FloatPack<kCount> falling = at_least(x, constants::kLowest) * Exp::any(u);
    return where_less(u, -constants::kExpOrdinary, falling, x / (Exp::any(negated(u)) + 1.0f));
  }
};
template <size_t kCount>
HWY_INLINE FloatPack<kCount> gated(const FloatPack<kCount>& x, const FloatPack<kCount>& u) {
  if (HWY_UNLIKELY(!all_within(u, constants::kExpOrdinary))) return long_way<Gated>(x, u);
  return x / (exp_ordinary(negated(u)) + 1.0f);
}

template <size_t kCount>
HWY_INLINE FloatPack<kCount> sigmoid(const FloatPack<kCount>& x) {
  return gated(each([](VF) HWY_ATTR { return hn::Set(DF(), 1.0f); }, x), x);
}

template <size_t kCount>
HWY_INLINE FloatPack<kCount> gelu_tanh(const FloatPack<kCount>& x) {
  const FloatPack<kCount> cube = x * ((x * x) * constants::kGeluTanhCube);
  return gated(x, (x + cube) * constants::kGeluTanhScale);
}

// The share of x that gelu takes, given |x| and exp(-x^2 / 2).
template <size_t kCount>
HWY_INLINE FloatPack<kCount> gelu_share(const FloatPack<kCount>& x, const FloatPack<kCount>& a,
                                        const FloatPack<kCount>& e) {
  const FloatPack<kCount> u = (a - constants::kTailMiddle) / (a + constants::kTailMiddle);
  const FloatPack<kCount> tail = e * polynomial(constants::kTail, u, u * u);
  const auto rest = [](VF t) HWY_ATTR { return hn::Sub(hn::Set(DF(), 1.0f), t); };
  return where_less(x, 0.0f, tail, each(rest, tail));
}
struct Gelu {
  template <size_t kCount>
  static HWY_INLINE FloatPack<kCount> any(const FloatPack<kCount>& x) {
    const FloatPack<kCount> a = at_most(magnitude(x), constants::kTailMax);
    return at_least(x, constants::kLowest) * gelu_share(x, a, Exp::any((a * a) * -0.5f));
  }
};
template <size_t kCount>
HWY_INLINE FloatPack<kCount> gelu(const FloatPack<kCount>& x) {
  if (HWY_UNLIKELY(!all_within(x, constants::kGeluOrdinary))) return long_way<Gelu>(x);
  const FloatPack<kCount> a = magnitude(x);
  return x * gelu_share(x, a, exp_ordinary((a * a) * -0.5f));
}

template <size_t kCount>
HWY_INLINE FloatPack<kCount> relu(const FloatPack<kCount>& x) {
  return where_less(x, 0.0f, each([](VF) HWY_ATTR { return hn::Zero(DF()); }, x), x);
}

#endif  // LOBIT_HAS_VECTORS
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
