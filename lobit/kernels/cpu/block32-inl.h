// The frame of the encoders and decoders whose block is 32 values (Q8_0, Q4_0, Q4_1, Q5_0, Q5_1). Four blocks
// are encoded together, so that their scales, reciprocals and F16 scales come from one vector of four lanes.
// A group of four with a block that is not plain (NaN, Inf, scale out of range, too small) goes to the
// reference codec as a whole. Included once per target.
#if defined(LOBIT_KERNELS_CPU_BLOCK32_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOBIT_KERNELS_CPU_BLOCK32_INL_H_
#undef LOBIT_KERNELS_CPU_BLOCK32_INL_H_
#else
#define LOBIT_KERNELS_CPU_BLOCK32_INL_H_
#endif

#include <bit>
#include <cstring>

#include "lobit/dtype/block.h"
#include "lobit/kernels/cpu/decode-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
#if LOBIT_HAS_VECTORS

inline constexpr size_t kBlock = 32;
inline constexpr size_t kGroupBlocks = 4;
inline constexpr size_t kGroup = kBlock * kGroupBlocks;
inline constexpr size_t kBlockVectors = kBlock / kLanes;
inline constexpr float kMaxScale = 65504.0f;  // the largest finite F16

// One lane per block of a group.
using D4F = hn::FixedTag<float, kGroupBlocks>;
using D4I = hn::FixedTag<int32_t, kGroupBlocks>;
using V4F = hn::Vec<D4F>;
using V4I = hn::Vec<D4I>;

struct MaxOf {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::Max(a, b);
  }
};
struct MinOf {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::Min(a, b);
  }
};

// Combines the lanes of `v` down to four.
template <class Op, class V>
HWY_INLINE auto fold_to_four(Op op, V v) {
  using D = hn::DFromV<V>;
  if constexpr (HWY_LANES(float) == 4 || sizeof(V) == 16) {
    return v;
  } else {
    const hn::Half<D> half;
    return fold_to_four(op, op(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}

// Lane b of the result combines all lanes of v[b].
template <class Op, class V>
HWY_INLINE auto reduce_four(Op op, const V* v) {
  const auto v0 = fold_to_four(op, v[0]);
  const auto v1 = fold_to_four(op, v[1]);
  const auto v2 = fold_to_four(op, v[2]);
  const auto v3 = fold_to_four(op, v[3]);
  using D = hn::DFromV<decltype(v0)>;
  const D d;
  const auto v01 = op(hn::InterleaveLower(d, v0, v1), hn::InterleaveUpper(d, v0, v1));
  const auto v23 = op(hn::InterleaveLower(d, v2, v3), hn::InterleaveUpper(d, v2, v3));
  return op(hn::ConcatLowerLower(d, v23, v01), hn::ConcatUpperUpper(d, v23, v01));
}

// Bit patterns of |value|: as integers NaN > Inf > every number.
HWY_INLINE VI magnitude_bits(VF value) {
  return hn::And(hn::BitCast(DI(), value), hn::Set(DI(), 0x7FFFFFFF));
}

// The largest |value| of each block; NaN or Inf where the block has one.
template <Encoding kFrom>
HWY_INLINE V4F group_peaks(const void* values, size_t index) {
  VI peaks[kGroupBlocks];
  HWY_UNROLL(4)
  for (size_t b = 0; b < kGroupBlocks; ++b) {
    const size_t first = index + b * kBlock;
    peaks[b] = magnitude_bits(load_values<kFrom>(values, first));
    HWY_UNROLL(8)
    for (size_t v = 1; v < kBlockVectors; ++v) {
      peaks[b] = hn::Max(peaks[b], magnitude_bits(load_values<kFrom>(values, first + v * kLanes)));
    }
  }
  return hn::BitCast(D4F(), reduce_four(MaxOf(), peaks));
}

// 1 / scale, and 0 for blocks without extent.
HWY_INLINE V4F inverse_scales(V4F scale, V4F extent) {
  const V4F inverse = hn::Div(hn::Set(D4F(), 1.0f), scale);
  return hn::IfThenZeroElse(hn::Eq(extent, hn::Zero(D4F())), inverse);
}

// Whether the blocks' codes and scales are what the vector code computes.
HWY_INLINE bool all_plain(V4F scale, V4F extent) {
  const auto large = hn::Ge(extent, hn::Set(D4F(), kTinyGroup));
  const auto fits = hn::Le(scale, hn::Set(D4F(), kMaxScale));
  const auto zero = hn::Eq(extent, hn::Zero(D4F()));
  return hn::AllTrue(D4F(), hn::Or(zero, hn::And(large, fits)));
}

// The sign bit, 0 or 1, of the first value of a block whose magnitude has the bits `magnitude`. There is one.
// No branches: signs are as good as random.
template <Encoding kFrom>
HWY_INLINE uint32_t first_sign(const void* values, size_t index, int32_t magnitude) {
  uint32_t equal = 0;
  uint32_t negative = 0;
  HWY_UNROLL(8)
  for (size_t v = 0; v < kBlockVectors; ++v) {
    const VF value = load_values<kFrom>(values, index + v * kLanes);
    const auto same = hn::Eq(magnitude_bits(value), hn::Set(DI(), magnitude));
    equal |= bits_from_mask(same) << (v * kLanes);
    negative |= bits_from_mask(hn::Lt(hn::BitCast(DI(), value), hn::Zero(DI()))) << (v * kLanes);
  }
  return negative >> std::countr_zero(equal) & 1u;
}

// Four lanes as scalars, one per block.
struct Lanes4 {
  float value[kGroupBlocks];
  explicit HWY_INLINE Lanes4(V4F v) { hn::StoreU(v, D4F(), value); }
};

// The same as F16.
struct Halves4 {
  uint16_t value[kGroupBlocks];
  explicit HWY_INLINE Halves4(V4F v) {
    hn::StoreU(f32_to_f16(v), hn::FixedTag<uint16_t, kGroupBlocks>(), value);
  }
};

// `count` values, a group or less, with the reference codec.
template <Encoding kFrom, Encoding kTo>
HWY_NOINLINE EncodeCounts encode_group_by_reference(const void* values, size_t index, void* blocks,
                                                    size_t count) {
  float tile[kGroup];
  for (size_t i = 0; i < count; ++i) tile[i] = load_value<kFrom>(values, index + i);
  return reference::encode(kTo, tile, blocks, count);
}

// EncodeFn of `Codec`, which has
//   Block, kEncoding
//   template <Encoding kFrom> static bool encode(const void* values, size_t index, uint8_t* out)
// for a group; false, with anything in `out`, when it is not plain.
template <class Codec, Encoding kFrom>
EncodeCounts encode_blocks(const void* values, void* blocks, size_t count) {
  auto* out = static_cast<uint8_t*>(blocks);
  constexpr size_t kBytes = sizeof(typename Codec::Block);
  EncodeCounts counts;
  size_t i = 0;
  for (; i + kGroup <= count; i += kGroup, out += kGroupBlocks * kBytes) {
    if (HWY_UNLIKELY(!Codec::template encode<kFrom>(values, i, out))) {
      counts += encode_group_by_reference<kFrom, Codec::kEncoding>(values, i, out, kGroup);
    }
  }
  if (i < count) counts += encode_group_by_reference<kFrom, Codec::kEncoding>(values, i, out, count - i);
  return counts;
}

template <class Codec>
EncodeFn encoder_from(Encoding from) {
  if (from == Encoding::kF32) return encode_blocks<Codec, Encoding::kF32>;
  if (from == Encoding::kF16) return encode_blocks<Codec, Encoding::kF16>;
  if (from == Encoding::kBF16) return encode_blocks<Codec, Encoding::kBF16>;
  return nullptr;
}

#endif  // LOBIT_HAS_VECTORS
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
