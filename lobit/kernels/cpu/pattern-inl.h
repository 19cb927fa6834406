// The values of a source as bit patterns, which the low-bit encoders compare as integers. Included once per
// target.
#if defined(LOBIT_KERNELS_CPU_PATTERN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOBIT_KERNELS_CPU_PATTERN_INL_H_
#undef LOBIT_KERNELS_CPU_PATTERN_INL_H_
#else
#define LOBIT_KERNELS_CPU_PATTERN_INL_H_
#endif

#include <cstring>
#include <limits>
#include <type_traits>

#include "lobit/kernels/cpu/common-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
#if LOBIT_HAS_VECTORS

// The bit pattern of a source value as a signed integer; positive values are ordered like their patterns.
template <Encoding kFrom>
using Pattern = std::conditional_t<kFrom == Encoding::kF32, int32_t, int16_t>;

template <Encoding kFrom>
inline constexpr Pattern<kFrom> kLargestPattern = std::numeric_limits<Pattern<kFrom>>::max();

// One bit per lane, lane 0 lowest.
template <class D, class M>
HWY_INLINE uint64_t mask_bits(D d, M mask) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  static_cast<void>(d);
  return mask.raw;
#else
  uint8_t bytes[8];
  hn::StoreMaskBits(d, mask, bytes);
  // Reading back as many bytes as were stored lets the compiler keep them in a register.
  std::conditional_t<hn::MaxLanes(D()) <= 8, uint8_t, uint16_t> bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return bits;
#endif
}

// For the rare group whose bytes are not what the vector code computes.
template <Encoding kFrom, Encoding kTo, size_t kGroup>
HWY_NOINLINE EncodeCounts encode_group_by_reference(const Pattern<kFrom>* values, void* block) {
  float group[kGroup];
  for (size_t i = 0; i < kGroup; ++i) group[i] = load_value<kFrom>(values, i);
  return reference::encode(kTo, group, block, kGroup);
}

#endif  // LOBIT_HAS_VECTORS
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
