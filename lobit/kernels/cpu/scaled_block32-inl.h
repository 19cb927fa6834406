// What the frame of scaled-inl.h needs for the encodings of 32 values and one scale (Q8_0, Q4_0, Q5_0).
// Included once per target.
#if defined(LOBIT_KERNELS_CPU_SCALED_BLOCK32_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOBIT_KERNELS_CPU_SCALED_BLOCK32_INL_H_
#undef LOBIT_KERNELS_CPU_SCALED_BLOCK32_INL_H_
#else
#define LOBIT_KERNELS_CPU_SCALED_BLOCK32_INL_H_
#endif

#include "lobit/kernels/cpu/block32-inl.h"
#include "lobit/kernels/cpu/scaled-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
#if LOBIT_HAS_VECTORS

// The codec of encode_scaled() beside the codec `Direct` of encode_blocks(), which has
//   kZero: the stored code of zero
//   static void store_codes(const VI* codes, uint8_t* block): of 32 codes, kZero higher than they count
template <class Direct>
struct Block32Scaled {
  using Block = typename Direct::Block;
  static constexpr size_t kGroup = kBlock;
  using Found = FoundScales<Direct::kEncoding, kGroup>;
  static EncodeFn direct() { return encode_blocks<Direct, Encoding::kF32>; }

  static HWY_INLINE void encode_nearest(const float* x, const Found& found, size_t g, uint8_t* block) {
    std::memcpy(block + offsetof(Block, d), &found.half[g], sizeof(Block::d));
    const VF inverse = hn::Set(DF(), 1.0f / found.scale[g]);
    VI codes[kBlockVectors];
    HWY_UNROLL(8)
    for (size_t v = 0; v < kBlockVectors; ++v) {
      const VF scaled = hn::Mul(hn::LoadU(DF(), x + v * kLanes), inverse);
      codes[v] = nearest_int<Direct::kEncoding, Direct::kZero>(scaled);
    }
    Direct::store_codes(codes, block);
  }
};

#endif  // LOBIT_HAS_VECTORS
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
