// What the codec kernels of every Highway target share: 16-bit floats to and from F32 vectors, bit by bit as
// lobit/dtype/half.h defines them, and the exact roundings of the block encoders. Included once per target.
//
// Encoders use Mul and Add, never MulAdd: the bytes must not depend on the machine. Highway 1.0.3 converts
// F16 wrongly on SSE4 and truncates BF16, hence the code here. Its AVX3_DL target also lets the compiler use
// AVX-VNNI, which Zen 4 and Ice Lake lack; write no plain loops over int8 products in these files.
#if defined(LOBIT_KERNELS_CPU_COMMON_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOBIT_KERNELS_CPU_COMMON_INL_H_
#undef LOBIT_KERNELS_CPU_COMMON_INL_H_
#else
#define LOBIT_KERNELS_CPU_COMMON_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "lobit/dtype/encoding.h"
#include "lobit/dtype/half.h"
#include "lobit/kernels/codec.h"

// Whether the target being compiled has vectors. Where not, the lookups of a family return nullptr.
#undef LOBIT_HAS_VECTORS
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
#define LOBIT_HAS_VECTORS 0
#else
#define LOBIT_HAS_VECTORS 1
#endif

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
#if LOBIT_HAS_VECTORS

namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using DI = hn::ScalableTag<int32_t>;
using DU = hn::ScalableTag<uint32_t>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;
using VU = hn::Vec<DU>;
using DU16 = hn::Rebind<uint16_t, DF>;  // half a vector: as many lanes as DF
using VU16 = hn::Vec<DU16>;

inline constexpr size_t kLanes = HWY_LANES(float);  // 4, 8 or 16

HWY_INLINE VF bf16_to_f32(VU16 bits) {
  return hn::BitCast(DF(), hn::ShiftLeft<16>(hn::PromoteTo(DU(), bits)));
}

#if HWY_TARGET == HWY_SSE4

HWY_INLINE VF f16_to_f32(VU16 bits) {
  const DI di;
  const VI half = hn::BitCast(di, hn::PromoteTo(DU(), bits));
  const VI magnitude = hn::And(half, hn::Set(di, 0x7FFF));
  const VI sign = hn::ShiftLeft<16>(hn::Xor(half, magnitude));
  const VI shifted = hn::ShiftLeft<13>(magnitude);
  const VI normal = hn::Add(shifted, hn::Set(di, 112 << 23));  // exponent bias 15 -> 127
  // 2^-14 * (1 + mantissa / 1024) - 2^-14 is exact and touches no subnormal F32.
  const VI with_one = hn::Add(shifted, hn::Set(di, 113 << 23));
  const VF subnormal = hn::Sub(hn::BitCast(DF(), with_one), hn::Set(DF(), 0x1p-14f));
  const VI quiet = hn::IfThenElseZero(hn::Gt(magnitude, hn::Set(di, 0x7C00)), hn::Set(di, 0x00400000));
  const VI special = hn::Or(hn::Add(normal, hn::Set(di, 112 << 23)), quiet);
  VI result = hn::IfThenElse(hn::Gt(magnitude, hn::Set(di, 0x03FF)), normal, hn::BitCast(di, subnormal));
  result = hn::IfThenElse(hn::Gt(magnitude, hn::Set(di, 0x7BFF)), special, result);
  return hn::BitCast(DF(), hn::Or(result, sign));
}

HWY_INLINE VU16 f32_to_f16(VF value) {
  const DI di;
  const VI bits = hn::BitCast(di, value);
  const VI magnitude = hn::And(bits, hn::Set(di, 0x7FFFFFFF));
  const VI sign = hn::BitCast(di, hn::ShiftRight<16>(hn::BitCast(DU(), hn::Xor(bits, magnitude))));
  const VI odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(di, 1));
  const VI rebased = hn::Add(magnitude, hn::Set(di, 0x0FFF - (112 << 23)));  // exponent bias 127 -> 15
  const VI normal = hn::ShiftRight<13>(hn::Add(rebased, odd));
  // Below 2^-14: the sum with 0.5, whose last bit is 2^-24, is rounded to the subnormal half.
  const VF with_half = hn::Add(hn::BitCast(DF(), magnitude), hn::Set(DF(), 0.5f));
  const VI subnormal = hn::Sub(hn::BitCast(di, with_half), hn::Set(di, 0x3F000000));
  const VI payload = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(di, 0x01FF));
  const VI nan = hn::Or(payload, hn::Set(di, 0x7E00));
  VI result = hn::IfThenElse(hn::Gt(hn::Set(di, 0x38800000), magnitude), subnormal, normal);
  result = hn::IfThenElse(hn::Gt(magnitude, hn::Set(di, 0x477FEFFF)), hn::Set(di, 0x7C00), result);
  result = hn::IfThenElse(hn::Gt(magnitude, hn::Set(di, 0x7F800000)), nan, result);
  return hn::DemoteTo(DU16(), hn::Or(result, sign));
}

#else  // the machine converts F16 itself, NaN and subnormals as in half.h

HWY_INLINE VF f16_to_f32(VU16 bits) {
  return hn::PromoteTo(DF(), hn::BitCast(hn::Rebind<hwy::float16_t, DF>(), bits));
}

// For whole vectors and for the few scales of a group.
template <class V>
HWY_INLINE hn::Vec<hn::Rebind<uint16_t, hn::DFromV<V>>> f32_to_f16(V value) {
  const hn::Rebind<hwy::float16_t, hn::DFromV<V>> dh;
  return hn::BitCast(hn::RebindToUnsigned<decltype(dh)>(), hn::DemoteTo(dh, value));
}

#endif

HWY_INLINE VU16 f32_to_bf16(VF value) {
  const DI di;
  const VI bits = hn::BitCast(di, value);
  const VU upper = hn::ShiftRight<16>(hn::BitCast(DU(), bits));
  const VI odd = hn::BitCast(di, hn::And(upper, hn::Set(DU(), 1)));
  const VI rounded = hn::Add(bits, hn::Add(odd, hn::Set(di, 0x7FFF)));
  const VI quiet = hn::Or(bits, hn::Set(di, 0x00400000));
  const VI magnitude = hn::And(bits, hn::Set(di, 0x7FFFFFFF));
  const VI result = hn::IfThenElse(hn::Gt(magnitude, hn::Set(di, 0x7F800000)), quiet, rounded);
  // The arithmetic shift keeps the value in int16, so that the saturating pack is a plain one.
  return hn::BitCast(DU16(), hn::DemoteTo(hn::Rebind<int16_t, DF>(), hn::ShiftRight<16>(result)));
}

// kLanes values from element `index` of an array of F32, F16 or BF16.
template <Encoding kFrom>
HWY_INLINE VF load_values(const void* values, size_t index) {
  if constexpr (kFrom == Encoding::kF32) {
    return hn::LoadU(DF(), static_cast<const float*>(values) + index);
  } else {
    const VU16 bits = hn::LoadU(DU16(), static_cast<const uint16_t*>(values) + index);
    return kFrom == Encoding::kF16 ? f16_to_f32(bits) : bf16_to_f32(bits);
  }
}

// One value, for what lies beyond the last whole vector.
template <Encoding kFrom>
HWY_INLINE float load_value(const void* values, size_t index) {
  if constexpr (kFrom == Encoding::kF32) {
    float value;
    std::memcpy(&value, static_cast<const char*>(values) + 4 * index, sizeof(value));
    return value;
  } else {
    uint16_t bits;
    std::memcpy(&bits, static_cast<const char*>(values) + 2 * index, sizeof(bits));
    return kFrom == Encoding::kF16 ? lobit::f16_to_f32(bits) : lobit::bf16_to_f32(bits);
  }
}

// Values of a decoder's output that is larger than a core's share of the caches: stored past them, no line is
// read before it is written.
inline constexpr size_t kLargeOutput = size_t{8} << 20;

// Whether a decoder stores past the caches. Such stores need aligned vectors.
HWY_INLINE bool writes_past_caches(const float* values, size_t count) {
  return count >= kLargeOutput && reinterpret_cast<uintptr_t>(values) % sizeof(VF) == 0;
}

// Stores kLanes values of a decoder.
template <bool kPastCaches>
HWY_INLINE void store_values(VF v, float* values) {
  if constexpr (kPastCaches) {
    hn::Stream(v, DF(), values);
  } else {
    hn::StoreU(v, DF(), values);
  }
}

// Toward zero, for values that fit. Highway's ConvertTo spends instructions on those that do not.
HWY_INLINE VI truncate(VF value) {
#if HWY_TARGET == HWY_SSE4
  return VI{_mm_cvttps_epi32(value.raw)};
#elif HWY_TARGET == HWY_AVX2
  return VI{_mm256_cvttps_epi32(value.raw)};
#elif HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  return VI{_mm512_cvttps_epi32(value.raw)};
#else
  return hn::ConvertTo(DI(), value);
#endif
}

// The nearest integer, halves away from zero, as roundf does: for |value| < 2^22.
HWY_INLINE VI round_half_away(VF value) {
  // The float below 0.5: with 0.5 itself the float below 0.5 would round up.
  const VF almost_half = hn::Set(DF(), 0x1.fffffep-2f);
  return truncate(hn::Add(value, hn::Or(hn::And(value, hn::SignBit(DF())), almost_half)));
}

// kLanes bits, lane 0 lowest.
template <class M>
HWY_INLINE uint32_t bits_from_mask(M mask) {
#if HWY_TARGET == HWY_SSE4
  return static_cast<uint32_t>(_mm_movemask_ps(hn::VecFromMask(DF(), hn::RebindMask(DF(), mask)).raw));
#elif HWY_TARGET == HWY_AVX2
  return static_cast<uint32_t>(_mm256_movemask_ps(hn::VecFromMask(DF(), hn::RebindMask(DF(), mask)).raw));
#elif HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  return mask.raw;
#else
  uint8_t bytes[8] = {};
  hn::StoreMaskBits(DF(), hn::RebindMask(DF(), mask), bytes);
  return bytes[0];
#endif
}

// 16 lanes as bytes in order, from 16 / kLanes vectors. T is int8_t or uint8_t; the lanes fit it.
template <typename T>
HWY_INLINE hn::Vec<hn::FixedTag<T, 16>> pack_bytes(const VI* lanes) {
  const hn::FixedTag<T, 16> d16;
#if HWY_TARGET == HWY_SSE4
  const __m128i low = _mm_packs_epi32(lanes[0].raw, lanes[1].raw);
  const __m128i high = _mm_packs_epi32(lanes[2].raw, lanes[3].raw);
  return hn::Vec<decltype(d16)>{std::is_signed_v<T> ? _mm_packs_epi16(low, high)
                                                    : _mm_packus_epi16(low, high)};
#elif HWY_TARGET == HWY_AVX2
  const __m256i words = _mm256_packs_epi32(lanes[0].raw, lanes[1].raw);  // quarters 0, 2 | 1, 3
  const __m128i low = _mm256_castsi256_si128(words);
  const __m128i high = _mm256_extracti128_si256(words, 1);
  const __m128i mixed = std::is_signed_v<T> ? _mm_packs_epi16(low, high) : _mm_packus_epi16(low, high);
  return hn::Vec<decltype(d16)>{_mm_shuffle_epi32(mixed, _MM_SHUFFLE(3, 1, 2, 0))};
#elif HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  return hn::Vec<decltype(d16)>{_mm512_cvtepi32_epi8(lanes[0].raw)};
#else
  const hn::FixedTag<int16_t, 4> d4;
  const hn::FixedTag<int16_t, 8> d8;
  const auto low = hn::Combine(d8, hn::DemoteTo(d4, lanes[1]), hn::DemoteTo(d4, lanes[0]));
  const auto high = hn::Combine(d8, hn::DemoteTo(d4, lanes[3]), hn::DemoteTo(d4, lanes[2]));
  const hn::FixedTag<T, 8> b8;
  return hn::Combine(d16, hn::DemoteTo(b8, high), hn::DemoteTo(b8, low));
#endif
}

#else   // the lookups of every family
namespace {
[[maybe_unused]] EncodeFn find_encoder(Encoding, Encoding) {
  return nullptr;
}
[[maybe_unused]] DecodeFn find_decoder(Encoding) {
  return nullptr;
}
}  // namespace
#endif  // LOBIT_HAS_VECTORS
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
