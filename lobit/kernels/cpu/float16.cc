// F16 and BF16: value conversions, one element a group.
#include "lobit/kernels/cpu/families.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/float16.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/common-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

// All bits in lanes whose finite value rounds to an infinite F16.
HWY_INLINE VI overflows_f16(VF value) {
  const VI magnitude = hn::And(hn::BitCast(DI(), value), hn::Set(DI(), 0x7FFFFFFF));
  const auto large = hn::Gt(magnitude, hn::Set(DI(), 0x477FEFFF));  // >= 65520
  const auto finite = hn::Gt(hn::Set(DI(), 0x7F800000), magnitude);
  return hn::VecFromMask(DI(), hn::And(large, finite));
}

// The same for BF16: above the largest finite BF16 by half a unit or more.
HWY_INLINE VI overflows_bf16(VF value) {
  const VI magnitude = hn::And(hn::BitCast(DI(), value), hn::Set(DI(), 0x7FFFFFFF));
  const auto large = hn::Gt(magnitude, hn::Set(DI(), 0x7F7F7FFF));
  const auto finite = hn::Gt(hn::Set(DI(), 0x7F800000), magnitude);
  return hn::VecFromMask(DI(), hn::And(large, finite));
}

template <Encoding kFrom, Encoding kTo>
EncodeCounts encode(const void* values, void* blocks, size_t count) {
  auto* out = static_cast<uint16_t*>(blocks);
  // At most 2^31 iterations before a lane of `overflowed` wraps: 2^33 values and more per call.
  VI overflowed = hn::Zero(DI());
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const VF value = load_values<kFrom>(values, i);
    if constexpr (kTo == Encoding::kF16) {
      overflowed = hn::Sub(overflowed, overflows_f16(value));
      hn::StoreU(f32_to_f16(value), DU16(), out + i);
    } else {
      if constexpr (kFrom == Encoding::kF32) overflowed = hn::Sub(overflowed, overflows_bf16(value));
      hn::StoreU(f32_to_bf16(value), DU16(), out + i);
    }
  }
  EncodeCounts counts{static_cast<uint64_t>(hn::GetLane(hn::SumOfLanes(DI(), overflowed))), 0};
  for (; i < count; ++i) {
    const float value = load_value<kFrom>(values, i);
    counts += reference::encode(kTo, &value, out + i, 1);
  }
  return counts;
}

template <Encoding kFrom>
void decode(const void* blocks, float* values, size_t count) {
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(load_values<kFrom>(blocks, i), DF(), values + i);
  for (; i < count; ++i) {
    const float value = load_value<kFrom>(blocks, i);
    std::memcpy(values + i, &value, sizeof(value));
  }
}

EncodeFn find_encoder(Encoding from, Encoding to) {
  using enum Encoding;
  if (from == kF32 && to == kF16) return encode<kF32, kF16>;
  if (from == kF32 && to == kBF16) return encode<kF32, kBF16>;
  if (from == kF16 && to == kBF16) return encode<kF16, kBF16>;
  if (from == kBF16 && to == kF16) return encode<kBF16, kF16>;
  return nullptr;
}

DecodeFn find_decoder(Encoding from) {
  if (from == Encoding::kF16) return decode<Encoding::kF16>;
  if (from == Encoding::kBF16) return decode<Encoding::kBF16>;
  return nullptr;
}

#else
EncodeFn find_encoder(Encoding, Encoding) {
  return nullptr;
}
DecodeFn find_decoder(Encoding) {
  return nullptr;
}
#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {

HWY_EXPORT(find_encoder);
HWY_EXPORT(find_decoder);

EncodeFn float16_encoder(Encoding from, Encoding to) {
  return HWY_DYNAMIC_DISPATCH(find_encoder)(from, to);
}

DecodeFn float16_decoder(Encoding from) {
  return HWY_DYNAMIC_DISPATCH(find_decoder)(from);
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE
