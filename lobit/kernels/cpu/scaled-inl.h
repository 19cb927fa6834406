// The frame of the encoders that look for a better scale than the direct one: reference_scaled.cc, with
// kLanes groups side by side, one in each lane. Sums then run over a group in order, as the reference's do,
// and no vector is ever summed across its lanes. Included once per target.
#if defined(LOBIT_KERNELS_CPU_SCALED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOBIT_KERNELS_CPU_SCALED_INL_H_
#undef LOBIT_KERNELS_CPU_SCALED_INL_H_
#else
#define LOBIT_KERNELS_CPU_SCALED_INL_H_
#endif

#include <algorithm>
#include <utility>

#include "lobit/dtype/reference.h"
#include "lobit/dtype/scale_search_internal.h"
#include "lobit/kernels/cpu/common-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
#if LOBIT_HAS_VECTORS

template <Encoding kTo>
inline constexpr auto kSearch = reference::kScaleSearch<kTo>;

// How many inverse scales are tried in one pass over the values: what the registers hold.
inline constexpr size_t kTriesAtOnce = kLanes == 16 ? 4 : 2;

HWY_INLINE VF inverse_of(VF scale) {
  return hn::IfThenZeroElse(hn::Eq(scale, hn::Zero(DF())), hn::Div(hn::Set(DF(), 1.0f), scale));
}

// Where values over the scale may lie beyond the codes' range.
struct Beyond {
  bool low = true;
  bool high = true;
};

// With a multiple of 1 / peak no value over the scale is larger than the multiple.
template <Encoding kTo>
constexpr Beyond beyond_with(float multiple) {
  constexpr auto kRange = kSearch<kTo>;
  if (kRange.unit == reference::SearchUnit::kRms) return {};
  const float most = (multiple < 0 ? -multiple : multiple) * 1.0001f;  // the product's roundings, amply
  return {.low = most >= 0.5f - kRange.low, .high = most >= kRange.high + 0.5f};
}

// Values over the scale, brought into the codes' range; the sum with kRounder has the code in its last bits.
template <Encoding kTo, Beyond kBeyond = Beyond{}>
HWY_INLINE VF clamp_and_round(VF scaled) {
  if constexpr (kBeyond.low) scaled = hn::Max(scaled, hn::Set(DF(), kSearch<kTo>.low));
  if constexpr (kBeyond.high) scaled = hn::Min(scaled, hn::Set(DF(), kSearch<kTo>.high));
  return hn::Add(scaled, hn::Set(DF(), reference::kRounder));
}

// The codes of values over the scale. Of ternary encodings all values here are magnitudes.
template <Encoding kTo, Beyond kBeyond = Beyond{}>
HWY_INLINE VF nearest_code(VF scaled) {
  if constexpr (kSearch<kTo>.is_ternary()) {
    return hn::IfThenElseZero(hn::Ge(scaled, hn::Set(DF(), 0.5f)), hn::Set(DF(), 1.0f));
  }
  return hn::Sub(clamp_and_round<kTo, kBeyond>(scaled), hn::Set(DF(), reference::kRounder));
}

inline constexpr int kRounderBits = 0x4B400000;  // of kRounder

// The same as integers, `kBias` higher.
template <Encoding kTo, int kBias>
HWY_INLINE VI nearest_int(VF scaled) {
  return hn::Sub(hn::BitCast(DI(), clamp_and_round<kTo>(scaled)), hn::Set(DI(), kRounderBits - kBias));
}

template <Encoding kTo>
HWY_INLINE VF direct_code(VF scaled) {
  constexpr auto kRange = kSearch<kTo>;
  if constexpr (kRange.is_ternary()) return nearest_code<kTo>(scaled);
  if constexpr (kRange.divisor > 0) return hn::ConvertTo(DF(), round_half_away(scaled));
  const VI stored = truncate(hn::Add(scaled, hn::Set(DF(), 0.5f - kRange.low)));
  const VI top = hn::Set(DI(), static_cast<int32_t>(kRange.high - kRange.low));
  return hn::Add(hn::ConvertTo(DF(), hn::Min(stored, top)), hn::Set(DF(), kRange.low));
}

// Four values from `index` on of every fourth one of as many groups as D has lanes.
template <class D>
HWY_INLINE hn::Vec<D> load_quads(D d, const float* const* groups, size_t index) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return hn::LoadU(d, groups[0] + index);
  } else {
    const hn::Half<D> half;
    const auto upper = load_quads(half, groups + hn::MaxLanes(half), index);
    return hn::Combine(d, upper, load_quads(half, groups, index));
  }
}

// Value j of group g, or its magnitude -> tile[j * kLanes + g].
template <bool kMagnitudes, size_t kGroup>
HWY_INLINE void transpose(const float* const* groups, float* tile) {
  const hn::Repartition<double, DF> d64;
  const auto store = [&](auto pair, size_t j) {
    const VF v = hn::BitCast(DF(), pair);
    hn::Store(kMagnitudes ? hn::Abs(v) : v, DF(), tile + j * kLanes);
  };
  for (size_t j = 0; j < kGroup; j += 4) {
    const VF a = load_quads(DF(), groups, j);
    const VF b = load_quads(DF(), groups + 1, j);
    const VF c = load_quads(DF(), groups + 2, j);
    const VF d = load_quads(DF(), groups + 3, j);
    const auto ab01 = hn::BitCast(d64, hn::InterleaveLower(DF(), a, b));
    const auto ab23 = hn::BitCast(d64, hn::InterleaveUpper(DF(), a, b));
    const auto cd01 = hn::BitCast(d64, hn::InterleaveLower(DF(), c, d));
    const auto cd23 = hn::BitCast(d64, hn::InterleaveUpper(DF(), c, d));
    store(hn::InterleaveLower(d64, ab01, cd01), j);
    store(hn::InterleaveUpper(d64, ab01, cd01), j + 1);
    store(hn::InterleaveLower(d64, ab23, cd23), j + 2);
    store(hn::InterleaveUpper(d64, ab23, cd23), j + 3);
  }
}

// The constructors are written out because g++ compiles implicit ones without the target's instructions.
struct Fit {
  VF xq;
  VF qq;

  HWY_INLINE Fit() : xq(hn::Zero(DF())), qq(hn::Zero(DF())) {}
  HWY_INLINE VF codes() const { return hn::Max(qq, hn::Set(DF(), 1.0f)); }
  HWY_INLINE VF scale() const { return hn::Div(xq, codes()); }
  HWY_INLINE VF score() const { return hn::Div(hn::Mul(xq, xq), codes()); }
};

// Adds a value of each group to the fit for one inverse.
template <Encoding kTo, Beyond kBeyond>
HWY_INLINE void add_to_fit(VF v, VF inverse, Fit& fit) {
  const VF q = nearest_code<kTo, kBeyond>(hn::Mul(v, inverse));
  fit.xq = hn::Add(fit.xq, hn::Mul(v, q));
  fit.qq = hn::Add(fit.qq, kSearch<kTo>.is_ternary() ? q : hn::Mul(q, q));
}

// The fit of one inverse for all groups of the tile.
template <Encoding kTo, size_t kGroup>
HWY_INLINE Fit fit_of(const float* tile, VF inverse) {
  Fit fit;
  for (size_t j = 0; j < kGroup; ++j) {
    add_to_fit<kTo, Beyond{}>(hn::Load(DF(), tile + j * kLanes), inverse, fit);
  }
  return fit;
}

// The best of the tried multiples, as many at once as kTriesAtOnce says.
struct BestFit {
  Fit fit;
  VF score;

  HWY_INLINE BestFit() : score(hn::Zero(DF())) {}
  HWY_INLINE void consider(const Fit& tried) {
    const VF tried_score = tried.score();
    const auto higher = hn::Gt(tried_score, score);
    score = hn::IfThenElse(higher, tried_score, score);
    fit.xq = hn::IfThenElse(higher, tried.xq, fit.xq);
    fit.qq = hn::IfThenElse(higher, tried.qq, fit.qq);
  }
};

template <Encoding kTo, size_t kGroup, size_t kFirst, size_t... kTry>
HWY_INLINE void try_multiples(const float* tile, VF unit, BestFit& best, std::index_sequence<kTry...>) {
  constexpr auto& kMultiples = kSearch<kTo>.multiples;
  const VF inverses[] = {hn::Mul(hn::Set(DF(), kMultiples[kFirst + kTry]), unit)...};
  Fit fits[sizeof...(kTry)];
  for (size_t j = 0; j < kGroup; ++j) {
    const VF v = hn::Load(DF(), tile + j * kLanes);
    (add_to_fit<kTo, beyond_with<kTo>(kMultiples[kFirst + kTry])>(v, inverses[kTry], fits[kTry]), ...);
  }
  (best.consider(fits[kTry]), ...);
  if constexpr (kFirst + sizeof...(kTry) < kMultiples.size()) {
    try_multiples<kTo, kGroup, kFirst + sizeof...(kTry)>(tile, unit, best, std::index_sequence<kTry...>());
  }
}

// The squared errors with `scale` beside the codes that `code` gives for value * inverse.
template <size_t kGroup, typename Code>
HWY_INLINE VF squared_error(const float* tile, VF scale, VF inverse, Code code) {
  VF sum = hn::Zero(DF());
  for (size_t j = 0; j < kGroup; ++j) {
    const VF v = hn::Load(DF(), tile + j * kLanes);
    const VF error = hn::Sub(v, hn::Mul(scale, code(hn::Mul(v, inverse))));
    sum = hn::Add(sum, hn::Mul(error, error));
  }
  return sum;
}

struct Extent {
  VF peak;  // with its sign where the search goes by that
  VF squares;

  HWY_INLINE Extent() : peak(hn::Zero(DF())), squares(hn::Zero(DF())) {}
};

template <Encoding kTo, size_t kGroup>
HWY_INLINE Extent extent_of(const float* tile) {
  Extent e;
  for (size_t j = 0; j < kGroup; ++j) {
    const VF v = hn::Load(DF(), tile + j * kLanes);
    if constexpr (kSearch<kTo>.unit == reference::SearchUnit::kSignedPeak) {
      e.peak = hn::IfThenElse(hn::Gt(hn::Abs(v), hn::Abs(e.peak)), v, e.peak);
    } else {
      e.peak = hn::Max(e.peak, hn::Abs(v));
    }
    if constexpr (kSearch<kTo>.unit == reference::SearchUnit::kRms) {
      e.squares = hn::Add(e.squares, hn::Mul(v, v));
    }
  }
  return e;
}

template <Encoding kTo, size_t kGroup>
HWY_INLINE VF search_unit(const Extent& e) {
  const VF one = hn::Set(DF(), 1.0f);
  if constexpr (kSearch<kTo>.unit != reference::SearchUnit::kRms) return hn::Div(one, e.peak);
  return hn::Div(one, hn::Sqrt(hn::Mul(e.squares, hn::Set(DF(), 1.0f / kGroup))));
}

// The scales found for the groups of a tile.
template <Encoding kTo, size_t kGroup>
struct FoundScales {
  static constexpr bool kMagnitudes = kSearch<kTo>.is_ternary();

  alignas(64) float scale[kLanes];
  alignas(64) uint16_t half[kLanes];  // the same numbers as F16
  uint32_t better = 0;  // bit g: group g has a smaller error with its scale than with the direct one

  HWY_INLINE void search(const float* tile);
};

template <Encoding kTo, size_t kGroup>
HWY_INLINE void FoundScales<kTo, kGroup>::search(const float* tile) {
  const DF d;
  const Extent extent = extent_of<kTo, kGroup>(tile);
  const VF direct = hn::Div(extent.peak, hn::Set(d, kSearch<kTo>.divisor));
  const VF direct_stored = f16_to_f32(f32_to_f16(direct));
  const VF direct_error = squared_error<kGroup>(tile, direct_stored, hn::Div(hn::Set(d, 1.0f), direct),
                                                [](VF v) { return direct_code<kTo>(v); });
  const VF unit = search_unit<kTo, kGroup>(extent);
  BestFit best;
  try_multiples<kTo, kGroup, 0>(tile, unit, best, std::make_index_sequence<kTriesAtOnce>());
  const Fit refined = fit_of<kTo, kGroup>(tile, inverse_of(best.fit.scale()));
  const VU16 stored = f32_to_f16(refined.scale());
  const VF found = f16_to_f32(stored);
  const VF error =
      squared_error<kGroup>(tile, found, inverse_of(found), [](VF v) { return nearest_code<kTo>(v); });

  const auto large = hn::Ge(hn::Abs(extent.peak), hn::Set(d, kTinyGroup));
  const auto fits_half = hn::Lt(hn::Abs(direct), hn::Set(d, 65520.0f));
  const auto less = hn::Lt(error, hn::Mul(direct_error, hn::Set(d, reference::kClearlyLess)));
  const auto nonzero = hn::Ne(found, hn::Zero(d));
  better = bits_from_mask(hn::And(hn::And(large, fits_half), hn::And(less, nonzero)));
  hn::Store(found, d, scale);
  hn::Store(stored, DU16(), half);
}

// EncodeFn of `Codec`, which has
//   Block, kGroup
//   Found: FoundScales, or what else looks at a tile
//   static EncodeFn direct(): the direct encoder
//   static void encode_nearest(const float* x, const Found& found, size_t g, uint8_t* block)
// for one group, which was group g of the tile, with the codes nearest to what was found.
template <class Codec>
EncodeCounts encode_scaled(const void* values, void* blocks, size_t count) {
  constexpr size_t kGroup = Codec::kGroup;
  constexpr size_t kBytes = sizeof(typename Codec::Block);
  const EncodeFn direct = Codec::direct();
  const auto* x = static_cast<const float*>(values);
  auto* out = static_cast<uint8_t*>(blocks);
  alignas(64) float tile[kGroup * kLanes];
  typename Codec::Found found;
  EncodeCounts counts;
  for (size_t left = count / kGroup; left > 0;) {
    const size_t groups = std::min(left, kLanes);
    const float* rows[kLanes];
    for (size_t g = 0; g < kLanes; ++g) rows[g] = x + std::min(g, groups - 1) * kGroup;
    transpose<Codec::Found::kMagnitudes, kGroup>(rows, tile);
    found.search(tile);
    counts += direct(x, out, groups * kGroup);
    for (size_t g = 0; g < groups; ++g) {
      if ((found.better >> g & 1u) == 0) continue;
      Codec::encode_nearest(rows[g], found, g, out + g * kBytes);
    }
    x += groups * kGroup;
    out += groups * kBytes;
    left -= groups;
  }
  return counts;
}

#else   // the lookup of every family
namespace {
[[maybe_unused]] EncodeFn find_scaled_encoder(Encoding) {
  return nullptr;
}
}  // namespace
#endif  // LOBIT_HAS_VECTORS
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
