// The values of 2-bit codes under one F16 scale: scale * (code - 1), as the decoders of Q2_0, TQ2_0 and TQ1_0
// need them. Included once per target.
#if defined(LOBIT_KERNELS_CPU_LOOKUP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOBIT_KERNELS_CPU_LOOKUP_INL_H_
#undef LOBIT_KERNELS_CPU_LOOKUP_INL_H_
#else
#define LOBIT_KERNELS_CPU_LOOKUP_INL_H_
#endif

#include "lobit/kernels/cpu/decode-inl.h"

// AVX and later look up four floats by the low two bits of each lane in one instruction.
#undef LOBIT_HAS_PERMUTEVAR
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
#define LOBIT_HAS_PERMUTEVAR 1
#else
#define LOBIT_HAS_PERMUTEVAR 0
#endif

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
#if LOBIT_HAS_VECTORS

class TernaryValues {
 public:
  // `scale` points to the two bytes of an F16.
  HWY_INLINE explicit TernaryValues(const uint8_t* scale) {
    const VF d = broadcast_half(scale);
#if LOBIT_HAS_PERMUTEVAR
    alignas(64) static constexpr float kFactors[16] = {-1, 0, 1, 2, -1, 0, 1, 2, -1, 0, 1, 2, -1, 0, 1, 2};
    table_ = hn::Mul(d, hn::Load(DF(), kFactors));
#else
    table_ = d;
#endif
  }

  // Codes are the low two bits of each lane.
  template <class V>
  HWY_INLINE hn::Vec<hn::Rebind<float, hn::DFromV<V>>> at(V codes) const {
    const hn::Rebind<float, hn::DFromV<V>> df;
#if LOBIT_HAS_PERMUTEVAR
    if constexpr (sizeof(codes.raw) == 16) {
      return decltype(hn::Zero(df)){_mm_permutevar_ps(lower_quarter(), codes.raw)};
    } else if constexpr (sizeof(codes.raw) == 32) {
      return decltype(hn::Zero(df)){_mm256_permutevar_ps(lower_half(), codes.raw)};
    } else {
      return decltype(hn::Zero(df)){permute_all(codes.raw)};
    }
#else
    const hn::RebindToSigned<decltype(df)> di;
    const auto code = hn::BitCast(di, hn::And(codes, hn::Set(hn::DFromV<V>(), 3)));
    const auto value = hn::Sub(hn::ConvertTo(df, code), hn::Set(df, 1.0f));
    return hn::Mul(value, hn::Set(df, hn::GetLane(table_)));
#endif
  }

  // The values of 16-bit lanes of codes.
  template <bool kPastCaches, class D16, class V = hn::Vec<D16>>
  HWY_INLINE void store(D16 /*d*/, V codes, float* values) const {
    constexpr size_t kCodes = hn::MaxLanes(D16());
    if constexpr (kCodes > kLanes) {
      const hn::Half<D16> half;
      store<kPastCaches>(half, hn::LowerHalf(half, codes), values);
      store<kPastCaches>(half, hn::UpperHalf(half, codes), values + kCodes / 2);
    } else if constexpr (kCodes == kLanes) {
      store_values<kPastCaches>(at(hn::PromoteTo(DU(), codes)), values);
    } else {  // too few for a vector to store past the caches
      hn::StoreU(at(hn::PromoteTo(hn::Rebind<uint32_t, D16>(), codes)), hn::Rebind<float, D16>(), values);
    }
  }

 private:
#if LOBIT_HAS_PERMUTEVAR
#if HWY_TARGET == HWY_AVX2
  HWY_INLINE __m256 lower_half() const { return table_.raw; }
#else
  HWY_INLINE __m256 lower_half() const { return _mm512_castps512_ps256(table_.raw); }
  HWY_INLINE __m512 permute_all(__m512i codes) const { return _mm512_permutevar_ps(table_.raw, codes); }
#endif
  HWY_INLINE __m128 lower_quarter() const { return _mm256_castps256_ps128(lower_half()); }
#endif

  VF table_;  // without permutes, the scale in every lane
};

// kLanes bytes, each in a lane.
HWY_INLINE VU load_bytes(const uint8_t* bytes) {
  return hn::PromoteTo(DU(), hn::LoadU(hn::Rebind<uint8_t, DU>(), bytes));
}

#endif  // LOBIT_HAS_VECTORS
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
