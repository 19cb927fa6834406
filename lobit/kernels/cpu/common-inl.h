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

HWY_INLINE VU16 f32_to_f16(VF value) {
  return hn::BitCast(DU16(), hn::DemoteTo(hn::Rebind<hwy::float16_t, DF>(), value));
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

// The nearest integer, halves away from zero, as roundf does: for |value| < 2^22.
HWY_INLINE VI round_half_away(VF value) {
  // value - trunc(value) is exact, so the comparison with one half is.
  const VI whole = hn::ConvertTo(DI(), value);
  const VF rest = hn::Abs(hn::Sub(value, hn::ConvertTo(DF(), whole)));
  const VI away = hn::Or(hn::BroadcastSignBit(hn::BitCast(DI(), value)), hn::Set(DI(), 1));
  return hn::Add(whole, hn::IfThenElseZero(hn::RebindMask(DI(), hn::Ge(rest, hn::Set(DF(), 0.5f))), away));
}

#endif  // LOBIT_HAS_VECTORS
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
