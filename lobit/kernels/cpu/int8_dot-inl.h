// Sums of products of unsigned codes and signed 8-bit activations, exact in 32 bits. Included once per
// target.
#if defined(LOBIT_KERNELS_CPU_INT8_DOT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOBIT_KERNELS_CPU_INT8_DOT_INL_H_
#undef LOBIT_KERNELS_CPU_INT8_DOT_INL_H_
#else
#define LOBIT_KERNELS_CPU_INT8_DOT_INL_H_
#endif

#include <type_traits>

#include "lobit/kernels/cpu/decode-inl.h"

// Ice Lake and Zen 4 add four products of bytes to a 32-bit lane in one instruction.
#undef LOBIT_HAS_BYTE_DOT
#if HWY_TARGET == HWY_AVX3_DL
#define LOBIT_HAS_BYTE_DOT 1
#else
#define LOBIT_HAS_BYTE_DOT 0
#endif

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
#if LOBIT_HAS_VECTORS

// `kBytes` codes, or as many as a vector holds.
template <size_t kBytes>
using CodesTag = hn::CappedTag<uint8_t, kBytes>;

// The sum of one block and one row of activations. Every lane of the result is a part of it. With kSigned the
// codes are signed, and where LOBIT_HAS_BYTE_DOT is they count 128 more each.
template <size_t kBytes, bool kSigned>
class ByteDot {
 public:
  using D8 = CodesTag<kBytes>;
  using D32 = hn::Repartition<int32_t, D8>;
  using V8 = hn::Vec<D8>;
  using V32 = hn::Vec<D32>;
  static constexpr size_t kWidth = hn::MaxLanes(D8());

  // The result's lanes have `start` in their sum.
  HWY_INLINE explicit ByteDot(int32_t start) : start_(in_first_lane(start)), sums_(first_sums(start_)) {}
  HWY_INLINE ByteDot() {}  // undefined

  static HWY_INLINE V8 load_activations(const int8_t* activations) {
    return hn::LoadU(D8(), reinterpret_cast<const uint8_t*>(activations));
  }

  // Unsigned codes whose largest, times the number of calls, is at most 128: so that 16 bits hold the sums of
  // pairs where the machine makes those. With LOBIT_HAS_BYTE_DOT any codes and any number.
  HWY_INLINE void add(V8 codes, const int8_t* activations) {
    const V8 a = load_activations(activations);
#if LOBIT_HAS_BYTE_DOT
    if constexpr (kSigned) codes = hn::Xor(codes, hn::Set(D8(), 0x80));
    // As assembly, since Highway's name for the target lets the compiler use AVX-VNNI's form of the
    // instruction, which Ice Lake and Zen 4 lack, and not AVX-512's.
    asm("%{evex%} vpdpbusd %2, %1, %0" : "+v"(sums_.raw) : "v"(codes.raw), "vm"(a.raw));
#elif HWY_ARCH_X86
    if constexpr (kSigned) {
      start_ = hn::Add(start_, add_pairs(signed_products(codes, a)));
    } else {
      sums_ = hn::Add(sums_, pair_products(codes, a));
    }
#else
    const int8x16_t c8 = vreinterpretq_s8_u8(codes.raw);
    const int8x16_t a8 = vreinterpretq_s8_u8(a.raw);
    sums_ = Sums{vpadalq_s16(sums_.raw, vmull_s8(vget_low_s8(c8), vget_low_s8(a8)))};
    sums_ = Sums{vpadalq_s16(sums_.raw, vmull_s8(vget_high_s8(c8), vget_high_s8(a8)))};
#endif
  }

  HWY_INLINE V32 total() const {
#if HWY_ARCH_X86 && !LOBIT_HAS_BYTE_DOT
    if constexpr (kSigned) return start_;
    return hn::Add(start_, add_pairs(sums_));
#else
    return sums_;
#endif
  }

 private:
#if HWY_ARCH_X86 && !LOBIT_HAS_BYTE_DOT
  // The same for codes and activations of both signs; the latter are not -128.
  static HWY_INLINE hn::Vec<hn::Repartition<int16_t, D8>> signed_products(V8 codes, V8 a) {
    const hn::RebindToSigned<D8> di;
    const V8 magnitudes = hn::BitCast(D8(), hn::Abs(hn::BitCast(di, codes)));
    if constexpr (kWidth == 16) return pair_products(magnitudes, V8{_mm_sign_epi8(a.raw, codes.raw)});
#if HWY_TARGET != HWY_SSE4
    if constexpr (kWidth == 32) return pair_products(magnitudes, V8{_mm256_sign_epi8(a.raw, codes.raw)});
#endif
  }
  // 16-bit lanes: the sum of two neighbouring products, saturated.
  static HWY_INLINE hn::Vec<hn::Repartition<int16_t, D8>> pair_products(V8 codes, V8 a) {
    using V16 = hn::Vec<hn::Repartition<int16_t, D8>>;
    if constexpr (kWidth == 16) return V16{_mm_maddubs_epi16(codes.raw, a.raw)};
#if HWY_TARGET != HWY_SSE4
    if constexpr (kWidth == 32) return V16{_mm256_maddubs_epi16(codes.raw, a.raw)};
#endif
#if HWY_TARGET == HWY_AVX3
    if constexpr (kWidth == 64) return V16{_mm512_maddubs_epi16(codes.raw, a.raw)};
#endif
  }
  static HWY_INLINE V32 add_pairs(hn::Vec<hn::Repartition<int16_t, D8>> pairs) {
    const auto ones = hn::Set(hn::Repartition<int16_t, D8>(), 1);
    if constexpr (kWidth == 16) return V32{_mm_madd_epi16(pairs.raw, ones.raw)};
#if HWY_TARGET != HWY_SSE4
    if constexpr (kWidth == 32) return V32{_mm256_madd_epi16(pairs.raw, ones.raw)};
#endif
#if HWY_TARGET == HWY_AVX3
    if constexpr (kWidth == 64) return V32{_mm512_madd_epi16(pairs.raw, ones.raw)};
#endif
  }

  using Sums = hn::Vec<hn::Repartition<int16_t, D8>>;
  static HWY_INLINE Sums first_sums(V32 /*start*/) { return hn::Zero(hn::Repartition<int16_t, D8>()); }
#else
  using Sums = V32;
  static HWY_INLINE Sums first_sums(V32 start) { return start; }
#endif

  static HWY_INLINE V32 in_first_lane(int32_t value) {
#if HWY_ARCH_X86
    const __m128i first = _mm_cvtsi32_si128(value);
    if constexpr (kWidth == 16) return V32{first};
#if HWY_TARGET != HWY_SSE4
    if constexpr (kWidth == 32) return V32{_mm256_zextsi128_si256(first)};
#endif
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
    if constexpr (kWidth == 64) return V32{_mm512_zextsi128_si512(first)};
#endif
#else
    return hn::InsertLane(hn::Zero(D32()), 0, value);
#endif
  }

  V32 start_;
  Sums sums_;
};

// The F16 at `bytes` times `factor` in all lanes of D, a tag of floats: made in a short vector, which costs a
// machine less than a long one.
template <class D>
HWY_INLINE hn::Vec<D> scaled_half(D d, const uint8_t* bytes, float factor) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SSE4
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  const float half = _mm_cvtss_f32(_mm_cvtph_ps(_mm_set1_epi16(static_cast<int16_t>(bits))));
  return hn::Set(d, half * factor);
#else
  return hn::Mul(broadcast_half(bytes), hn::Set(d, factor));
#endif
}

#endif  // LOBIT_HAS_VECTORS
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
