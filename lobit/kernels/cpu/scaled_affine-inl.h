// The search of the encodings with a minimum beside the scale: reference_scaled_affine.cc, with kLanes groups
// of 32 side by side, in the frame of scaled-inl.h. Included once per target.
#if defined(LOBIT_KERNELS_CPU_SCALED_AFFINE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOBIT_KERNELS_CPU_SCALED_AFFINE_INL_H_
#undef LOBIT_KERNELS_CPU_SCALED_AFFINE_INL_H_
#else
#define LOBIT_KERNELS_CPU_SCALED_AFFINE_INL_H_
#endif

#include "lobit/kernels/cpu/scaled-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
#if LOBIT_HAS_VECTORS

inline constexpr size_t kAffineGroup = 32;

template <Encoding kTo>
inline constexpr auto& kRanges = reference::kRangeSearch<kTo>;

// A code before rounding, brought into the codes' range; the sum has the code in its last bits.
HWY_INLINE VF round_between(VF code, float top) {
  const VF within = hn::Min(hn::Max(code, hn::Zero(DF())), hn::Set(DF(), top));
  return hn::Add(within, hn::Set(DF(), reference::kRounder));
}

HWY_INLINE VF code_between(VF code, float top) {
  return hn::Sub(round_between(code, top), hn::Set(DF(), reference::kRounder));
}

HWY_INLINE VI int_between(VF code, int top) {
  return hn::Sub(hn::BitCast(DI(), round_between(code, static_cast<float>(top))),
                 hn::Set(DI(), kRounderBits));
}

// The constructor is written out for the reason that Fit gives.
struct AffineFit {
  VF zq;
  VF q;
  VF qq;

  HWY_INLINE AffineFit() : zq(hn::Zero(DF())), q(hn::Zero(DF())), qq(hn::Zero(DF())) {}
  HWY_INLINE VF codes() const {
    const VF squares = hn::Sub(qq, hn::Mul(hn::Mul(q, q), hn::Set(DF(), 1.0f / kAffineGroup)));
    return hn::Max(squares, hn::Set(DF(), 0.5f));
  }
  HWY_INLINE VF scale() const { return hn::Div(zq, codes()); }
  HWY_INLINE VF score() const { return hn::Div(hn::Mul(zq, zq), codes()); }
  HWY_INLINE VF code_of_mean() const { return hn::Mul(q, hn::Set(DF(), 1.0f / kAffineGroup)); }
};

// fits[k] of the grid with inverses[k] and code_of_mean[k], for all groups of the tile.
template <Encoding kTo, size_t kTries>
HWY_INLINE void affine_fit(const float* centred, const VF* inverses, const VF* code_of_mean,
                           AffineFit* fits) {
  for (size_t j = 0; j < kAffineGroup; ++j) {
    const VF z = hn::Load(DF(), centred + j * kLanes);
    HWY_UNROLL(4)
    for (size_t k = 0; k < kTries; ++k) {
      const VF q = code_between(hn::Add(hn::Mul(z, inverses[k]), code_of_mean[k]), kRanges<kTo>.top);
      fits[k].zq = hn::Add(fits[k].zq, hn::Mul(z, q));
      fits[k].q = hn::Add(fits[k].q, q);
      fits[k].qq = hn::Add(fits[k].qq, hn::Mul(q, q));
    }
  }
}

// The squared errors of scale * code + minimum with the codes that `code` gives for each value.
template <typename Code>
HWY_INLINE VF affine_error(const float* tile, VF scale, VF minimum, Code code) {
  VF sum = hn::Zero(DF());
  for (size_t j = 0; j < kAffineGroup; ++j) {
    const VF v = hn::Load(DF(), tile + j * kLanes);
    const VF error = hn::Sub(v, hn::Add(hn::Mul(scale, code(v)), minimum));
    sum = hn::Add(sum, hn::Mul(error, error));
  }
  return sum;
}

struct AffineExtent {
  VF min;
  VF spread;
  VF mean;

  HWY_INLINE explicit AffineExtent(const float* tile)
      : min(hn::Load(DF(), tile)), spread(min), mean(hn::Zero(DF())) {
    VF max = min;
    for (size_t j = 0; j < kAffineGroup; ++j) {
      const VF v = hn::Load(DF(), tile + j * kLanes);
      min = hn::Min(min, v);
      max = hn::Max(max, v);
      mean = hn::Add(mean, v);
    }
    spread = hn::Sub(max, min);
    mean = hn::Mul(mean, hn::Set(DF(), 1.0f / kAffineGroup));
  }
};

// The best of the tried grids and the codes nearest to it, once more.
template <Encoding kTo>
HWY_INLINE AffineFit refined_fit(const float* tile, const AffineExtent& extent) {
  const DF d;
  alignas(64) float centred[kAffineGroup * kLanes];
  for (size_t i = 0; i < kAffineGroup * kLanes; i += kLanes) {
    hn::Store(hn::Sub(hn::Load(d, tile + i), extent.mean), d, centred + i);
  }
  const VF unit = hn::Div(hn::Set(d, 1.0f), extent.spread);
  const VF above_min = hn::Sub(extent.mean, extent.min);
  AffineFit best;
  VF best_score = hn::Zero(d);
  constexpr auto& kTries = kRanges<kTo>.tries;
  for (size_t first = 0; first < kTries.size(); first += kTriesAtOnce) {
    VF inverses[kTriesAtOnce];
    VF code_of_mean[kTriesAtOnce];
    AffineFit fits[kTriesAtOnce];
    for (size_t k = 0; k < kTriesAtOnce; ++k) {
      const reference::RangeTry range = kTries[first + k];
      inverses[k] = hn::Mul(hn::Set(d, range.high - range.low), unit);
      code_of_mean[k] = hn::Add(hn::Mul(above_min, inverses[k]), hn::Set(d, range.low));
    }
    affine_fit<kTo, kTriesAtOnce>(centred, inverses, code_of_mean, fits);
    for (const AffineFit& tried : fits) {
      const VF score = tried.score();
      const auto higher = hn::Gt(score, best_score);
      best_score = hn::IfThenElse(higher, score, best_score);
      best.zq = hn::IfThenElse(higher, tried.zq, best.zq);
      best.q = hn::IfThenElse(higher, tried.q, best.q);
      best.qq = hn::IfThenElse(higher, tried.qq, best.qq);
    }
  }
  const VF inverse = inverse_of(best.scale());
  const VF code_of_mean = best.code_of_mean();
  AffineFit refined;
  affine_fit<kTo, 1>(centred, &inverse, &code_of_mean, &refined);
  return refined;
}

// The scales and minima found for the groups of a tile.
template <Encoding kTo>
struct FoundRanges {
  static constexpr bool kMagnitudes = false;

  alignas(64) float scale[kLanes];
  alignas(64) float minimum[kLanes];
  alignas(64) uint16_t scale_half[kLanes];  // the same numbers as F16
  alignas(64) uint16_t minimum_half[kLanes];
  uint32_t better = 0;  // bit g: group g has a smaller error with these than with the direct ones

  HWY_INLINE void search(const float* tile);
};

template <Encoding kTo>
HWY_INLINE void FoundRanges<kTo>::search(const float* tile) {
  const DF d;
  constexpr float kTop = kRanges<kTo>.top;
  const AffineExtent extent(tile);
  const VF direct = hn::Div(extent.spread, hn::Set(d, kTop));
  const VF direct_inverse = hn::Div(hn::Set(d, 1.0f), direct);
  const VF direct_error =
      affine_error(tile, f16_to_f32(f32_to_f16(direct)), f16_to_f32(f32_to_f16(extent.min)), [&](VF v) {
        const VF scaled = hn::Mul(hn::Sub(v, extent.min), direct_inverse);
        const VI code = truncate(hn::Add(scaled, hn::Set(d, 0.5f)));
        return hn::ConvertTo(d, hn::Min(code, hn::Set(DI(), static_cast<int32_t>(kTop))));
      });

  const AffineFit fit = refined_fit<kTo>(tile, extent);
  const VU16 scale_stored = f32_to_f16(fit.scale());
  const VF found = f16_to_f32(scale_stored);
  const VU16 minimum_stored = f32_to_f16(hn::Sub(extent.mean, hn::Mul(found, fit.code_of_mean())));
  const VF found_minimum = f16_to_f32(minimum_stored);
  const VF inverse = inverse_of(found);
  const VF error = affine_error(tile, found, found_minimum, [&](VF v) {
    return code_between(hn::Mul(hn::Sub(v, found_minimum), inverse), kTop);
  });

  const VF limit = hn::Set(d, 65520.0f);  // what F16 rounds to Inf
  const auto large = hn::Ge(extent.spread, hn::Set(d, kTinyGroup));
  const auto fits_half = hn::And(hn::Lt(direct, limit), hn::Lt(hn::Abs(extent.min), limit));
  const auto less = hn::Lt(error, hn::Mul(direct_error, hn::Set(d, reference::kClearlyLess)));
  const auto positive = hn::Gt(found, hn::Zero(d));
  better = bits_from_mask(hn::And(hn::And(large, fits_half), hn::And(less, positive)));
  hn::Store(found, d, scale);
  hn::Store(found_minimum, d, minimum);
  hn::Store(scale_stored, DU16(), scale_half);
  hn::Store(minimum_stored, DU16(), minimum_half);
}

#endif  // LOBIT_HAS_VECTORS
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
