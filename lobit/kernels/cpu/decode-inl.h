// The frame of the block decoders. Included once per target.
#if defined(LOBIT_KERNELS_CPU_DECODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOBIT_KERNELS_CPU_DECODE_INL_H_
#undef LOBIT_KERNELS_CPU_DECODE_INL_H_
#else
#define LOBIT_KERNELS_CPU_DECODE_INL_H_
#endif

#include <cstring>

#include <hwy/cache_control.h>

#include "lobit/kernels/cpu/common-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
#if LOBIT_HAS_VECTORS

// The F16 at `bytes` in all lanes as F32.
HWY_INLINE VF broadcast_half(const uint8_t* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return f16_to_f32(hn::Set(DU16(), bits));
}

template <class Decoder, bool kPastCaches>
HWY_INLINE void decode_all(const uint8_t* in, float* values, size_t count) {
  for (size_t i = 0; i < count; i += Decoder::kValues, in += sizeof(typename Decoder::Block)) {
    Decoder::template decode<kPastCaches>(in, values + i);
  }
}

// DecodeFn of `Decoder`, which has
//   Block, kValues
//   template <bool kPastCaches> static void decode(const uint8_t* block, float* values)
template <class Decoder>
void decode_blocks(const void* blocks, float* values, size_t count) {
  const auto* in = static_cast<const uint8_t*>(blocks);
  if (writes_past_caches(values, count)) {
    decode_all<Decoder, true>(in, values, count);
    hwy::FlushStream();
  } else {
    decode_all<Decoder, false>(in, values, count);
  }
}

#endif  // LOBIT_HAS_VECTORS
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
