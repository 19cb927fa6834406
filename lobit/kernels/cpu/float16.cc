// F16 and BF16: value conversions, one element a group.
#include <algorithm>

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

// The bits of the smallest F32 that rounds to Inf in F16 (65520) and in BF16.
template <Encoding kTo>
constexpr int32_t kFirstOverflow = kTo == Encoding::kF16 ? 0x477FF000 : 0x7F7F8000;

// -1 in lanes whose finite value becomes Inf.
template <Encoding kTo>
HWY_INLINE VI overflows(VF value) {
  const VI magnitude = hn::And(hn::BitCast(DI(), value), hn::Set(DI(), 0x7FFFFFFF));
  const auto large = hn::Gt(magnitude, hn::Set(DI(), kFirstOverflow<kTo> - 1));
  const auto finite = hn::Gt(hn::Set(DI(), 0x7F800000), magnitude);
  return hn::VecFromMask(DI(), hn::And(large, finite));
}

// Whole vectors from `first` to `last`; the number of values that overflowed, which fits an int32.
template <Encoding kFrom, Encoding kTo>
HWY_INLINE int32_t encode_vectors(const void* values, uint16_t* halves, size_t first, size_t last) {
  VI overflowed = hn::Zero(DI());
  for (size_t i = first; i < last; i += kLanes) {
    const VF value = load_values<kFrom>(values, i);
    if constexpr (kFrom != Encoding::kF16) overflowed = hn::Sub(overflowed, overflows<kTo>(value));
    hn::StoreU(kTo == Encoding::kF16 ? f32_to_f16(value) : f32_to_bf16(value), DU16(), halves + i);
  }
  return hn::GetLane(hn::SumOfLanes(DI(), overflowed));
}

template <Encoding kFrom, Encoding kTo>
EncodeCounts encode(const void* values, void* blocks, size_t count) {
  constexpr size_t kPart = size_t{1} << 20;  // so that counts fit
  auto* out = static_cast<uint16_t*>(blocks);
  EncodeCounts counts;
  const size_t whole = count - count % kLanes;
  for (size_t i = 0; i < whole; i += kPart) {
    const int32_t overflowed = encode_vectors<kFrom, kTo>(values, out, i, std::min(i + kPart, whole));
    counts.unrepresentable += static_cast<uint64_t>(overflowed);
  }
  for (size_t i = whole; i < count; ++i) {
    const float value = load_value<kFrom>(values, i);
    counts += reference::encode(kTo, &value, out + i, 1);
  }
  return counts;
}

template <Encoding kFrom>
HWY_INLINE void decode_scalars(const void* blocks, float* values, size_t first, size_t last) {
  auto* out = reinterpret_cast<std::byte*>(values);  // which need not be aligned
  for (size_t i = first; i < last; ++i) {
    const float value = load_value<kFrom>(blocks, i);
    std::memcpy(out + i * sizeof(value), &value, sizeof(value));
  }
}

template <Encoding kFrom, bool kPastCaches>
HWY_INLINE void decode_vectors(const void* blocks, float* values, size_t first, size_t last) {
  for (size_t i = first; i < last; i += kLanes) {
    store_values<kPastCaches>(load_values<kFrom>(blocks, i), values + i);
  }
}

template <Encoding kFrom>
void decode(const void* blocks, float* values, size_t count) {
  // Large outputs start with the few values that lead to an aligned vector.
  const size_t misaligned = reinterpret_cast<uintptr_t>(values) % sizeof(VF) / sizeof(float);
  const size_t head = count >= kLargeOutput && misaligned != 0 ? kLanes - misaligned : 0;
  decode_scalars<kFrom>(blocks, values, 0, head);
  const size_t whole = count - (count - head) % kLanes;
  if (writes_past_caches(values + head, count)) {
    decode_vectors<kFrom, true>(blocks, values, head, whole);
    hwy::FlushStream();
  } else {
    decode_vectors<kFrom, false>(blocks, values, head, whole);
  }
  decode_scalars<kFrom>(blocks, values, whole, count);
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

#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {

LOBIT_EXPORT_ENCODER(float16)
LOBIT_EXPORT_DECODER(float16)

}  // namespace lobit::kernels
#endif  // HWY_ONCE
