// What choosing the scale of a planar group asks of its values.
#include "lobit/kernels/cpu/planar_functions.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/planar_fit.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/dtype/scale_search_internal.h"
#include "lobit/kernels/cpu/common-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

using DD = hn::ScalableTag<double>;
using VD = hn::Vec<DD>;

constexpr size_t kSums = PlanarFit::kSums;
constexpr size_t kVectors = kSums / kLanes;
// Codes reach 127: so many squares of them are an exact sum in F32.
constexpr size_t kExactSquares = 512;

HWY_INLINE VF code_of(VF scaled, VF low, VF high) {
  const VF rounder = hn::Set(DF(), reference::kRounder);
  return hn::Sub(hn::Add(hn::Min(hn::Max(scaled, low), high), rounder), rounder);
}

HWY_INLINE VD lower_double(VF v) {
  return hn::PromoteTo(DD(), hn::LowerHalf(hn::Half<DF>(), v));
}
HWY_INLINE VD upper_double(VF v) {
  return hn::PromoteTo(DD(), hn::UpperHalf(hn::Half<DF>(), v));
}

// kSums sums in order; the constructor is written out because g++ compiles implicit ones without the target's
// instructions.
struct Sums {
  VD v[2 * kVectors];

  HWY_INLINE Sums() {
    HWY_UNROLL(8)
    for (VD& sum : v) sum = hn::Zero(DD());
  }

  HWY_INLINE void add(size_t vector, VD lower, VD upper) {
    v[2 * vector] = hn::Add(v[2 * vector], lower);
    v[2 * vector + 1] = hn::Add(v[2 * vector + 1], upper);
  }

  HWY_INLINE double total() const {
    double sums[kSums];
    for (size_t i = 0; i < 2 * kVectors; ++i) hn::StoreU(v[i], DD(), sums + i * kSums / (2 * kVectors));
    for (size_t half = kSums / 2; half > 0; half /= 2) {
      for (size_t i = 0; i < half; ++i) sums[i] += sums[i + half];
    }
    return sums[0];
  }
};

// Calls use(vector, values) for every vector of a round of kSums values, the last filled with zeros, which
// add nothing.
template <typename Use, typename EndOfRound>
HWY_INLINE void each_vector(const float* values, size_t count, Use use, EndOfRound end_of_round) {
  size_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    HWY_UNROLL(4)
    for (size_t v = 0; v < kVectors; ++v) use(v, hn::LoadU(DF(), values + i + v * kLanes));
    end_of_round(i + kSums);
  }
  if (i == count) return;
  alignas(64) float rest[kSums] = {};
  std::memcpy(rest, reinterpret_cast<const char*>(values) + 4 * i, 4 * (count - i));
  for (size_t v = 0; v < kVectors; ++v) use(v, hn::Load(DF(), rest + v * kLanes));
}

PlanarFit fit(CodeRange range, const float* values, size_t count, float inverse) {
  const VF low = hn::Set(DF(), static_cast<float>(range.low));
  const VF high = hn::Set(DF(), static_cast<float>(range.high));
  const VF factor = hn::Set(DF(), inverse);
  Sums xq;
  VF squares = hn::Zero(DF());
  double qq = 0;
  const auto flush = [&] {
    qq += static_cast<double>(hn::GetLane(hn::SumOfLanes(DF(), squares)));
    squares = hn::Zero(DF());
  };
  each_vector(
      values, count,
      [&](size_t vector, VF x) {
        const VF q = code_of(hn::Mul(x, factor), low, high);
        squares = hn::Add(squares, hn::Mul(q, q));
        xq.add(vector, hn::Mul(lower_double(x), lower_double(q)), hn::Mul(upper_double(x), upper_double(q)));
      },
      [&](size_t done) {
        if (done % kExactSquares == 0) flush();
      });
  flush();
  return {xq.total(), qq};
}

double error(CodeRange range, const float* values, size_t count, float scale) {
  const VF low = hn::Set(DF(), static_cast<float>(range.low));
  const VF high = hn::Set(DF(), static_cast<float>(range.high));
  const VF step = hn::Set(DF(), scale);
  const VF factor = hn::Set(DF(), 1.0f / scale);
  Sums sums;
  each_vector(
      values, count,
      [&](size_t vector, VF x) {
        const VF off = hn::Sub(x, hn::Mul(step, code_of(hn::Mul(x, factor), low, high)));
        const VD lower = lower_double(off);
        const VD upper = upper_double(off);
        sums.add(vector, hn::Mul(lower, lower), hn::Mul(upper, upper));
      },
      [](size_t) {});
  return sums.total();
}

const PlanarFitFunctions* find_planar_fit() {
  static constexpr PlanarFitFunctions kFunctions{fit, error};
  return &kFunctions;
}

#else
const PlanarFitFunctions* find_planar_fit() {
  return nullptr;
}
#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {

HWY_EXPORT(find_planar_fit);
const PlanarFitFunctions* planar_fit_functions() {
  return HWY_DYNAMIC_DISPATCH(find_planar_fit)();
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE
