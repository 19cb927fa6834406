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
  template <size_t kCount>
  HWY_INLINE FloatPack<kCount> operator()(const FloatPack<kCount>& x) const {
    if constexpr (kOp == UnaryOp::kNeg) return negated(x);
    if constexpr (kOp == UnaryOp::kAbs) return magnitude(x);
    if constexpr (kOp == UnaryOp::kExp) return HWY_NAMESPACE::exp(x);
    if constexpr (kOp == UnaryOp::kLog) return HWY_NAMESPACE::log(x);
    if constexpr (kOp == UnaryOp::kSqrt) return each([](VF v) HWY_ATTR { return hn::Sqrt(v); }, x);
    if constexpr (kOp == UnaryOp::kRsqrt) {
      return each([](VF v) HWY_ATTR { return hn::Div(hn::Set(DF(), 1.0f), hn::Sqrt(v)); }, x);
    }
    if constexpr (kOp == UnaryOp::kTanh) return HWY_NAMESPACE::tanh(x);
    if constexpr (kOp == UnaryOp::kSigmoid) return sigmoid(x);
    if constexpr (kOp == UnaryOp::kSilu) return gated(x, x);
    if constexpr (kOp == UnaryOp::kGelu) return gelu(x);
    if constexpr (kOp == UnaryOp::kGeluTanh) return gelu_tanh(x);
    if constexpr (kOp == UnaryOp::kRelu) return relu(x);
    if constexpr (kOp == UnaryOp::kSquaredRelu) return relu(x) * relu(x);
  }
};

struct Clamp {
  float low;
  float high;

  template <size_t kCount>
  HWY_INLINE FloatPack<kCount> operator()(const FloatPack<kCount>& x) const {
    return at_most(at_least(x, low), high);
  }
};

template <class Op>
HWY_INLINE void map_some(const Op& op, const float* values, float* out, size_t count) {
  store_some(op(FloatPack<1>{{load_some(values, count)}}).v[0], out, count);
}

// Goes through whole packs from value i on, and gives the first value behind them.
template <class Op, class StoreVector>
HWY_INLINE size_t map_packs(const Op& op, const float* values, float* out, size_t i, size_t count,
                            const StoreVector& store_vector) {
  for (; i + kPack * kLanes <= count; i += kPack * kLanes) {
    const FloatPack<kPack> results = op(load_pack<kPack>(values + i));
    HWY_UNROLL(4)
    for (size_t part = 0; part < kPack; ++part) store_vector(results.v[part], out + i + part * kLanes);
  }
  return i;
}

// out[i] = op(values[i]).
template <class Op>
HWY_INLINE void map_values(const Op& op, const float* values, float* out, size_t count, Store store) {
  size_t i = 0;
  if (store == Store::kPastCaches) {
    // Such stores need whole, aligned vectors.
    const size_t misaligned = reinterpret_cast<uintptr_t>(out) % sizeof(VF) / sizeof(float);
    i = misaligned == 0 ? 0 : std::min(count, kLanes - misaligned);
    if (i != 0) map_some(op, values, out, i);
    if (reinterpret_cast<uintptr_t>(out + i) % sizeof(VF) == 0) {
      i = map_packs(op, values, out, i, count, [](VF v, float* to) HWY_ATTR { hn::Stream(v, DF(), to); });
    }
  }
  i = map_packs(op, values, out, i, count, [](VF v, float* to) HWY_ATTR { hn::StoreU(v, DF(), to); });
  for (; i + kLanes <= count; i += kLanes) {
    hn::StoreU(op(load_pack<1>(values + i)).v[0], DF(), out + i);
  }
  if (i < count) map_some(op, values + i, out + i, count - i);
}

template <UnaryOp kOp>
void unary(const float* values, float* out, size_t count, Store store) {
  map_values(Function<kOp>(), values, out, count, store);
}

void clamp(const float* values, float low, float high, float* out, size_t count, Store store) {
  map_values(Clamp{low, high}, values, out, count, store);
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
