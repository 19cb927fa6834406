// Q4_0 and Q5_0 (one signed scale), Q4_1 and Q5_1 (scale and minimum).
#include "lobit/kernels/cpu/families.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/q4_q5.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/scaled_affine-inl.h"
#include "lobit/kernels/cpu/scaled_block32-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

constexpr size_t kHalfVectors = kBlockVectors / 2;

// Codes of 4 or 5 bits as a block stores them: nibble j with nibble j + 16, fifth bits in qh.
template <class Block>
constexpr int kTopCode = 15;
template <class Block>
  requires(sizeof(Block::qh) == 4)
constexpr int kTopCode<Block> = 31;

template <class Block>
HWY_INLINE void store_nibbles(const VI* codes, uint8_t* out) {
  VI pairs[kHalfVectors];
  HWY_UNROLL(4)
  for (size_t v = 0; v < kHalfVectors; ++v) {
    VI low = codes[v];
    VI high = codes[v + kHalfVectors];
    if constexpr (kTopCode<Block> == 31) {
      low = hn::And(low, hn::Set(DI(), 15));
      high = hn::And(high, hn::Set(DI(), 15));
    }
    pairs[v] = hn::Or(low, hn::ShiftLeft<4>(high));
  }
  hn::StoreU(pack_bytes<uint8_t>(pairs), hn::FixedTag<uint8_t, 16>(), out + offsetof(Block, qs));
  if constexpr (kTopCode<Block> == 31) {
    uint32_t fifth = 0;
    HWY_UNROLL(8)
    for (size_t v = 0; v < kBlockVectors; ++v) {
      fifth |= bits_from_mask(hn::Gt(codes[v], hn::Set(DI(), 15))) << (v * kLanes);
    }
    std::memcpy(out + offsetof(Block, qh), &fifth, sizeof(fifth));
  }
}

// The codes of values `first` and the kLanes - 1 after it; no vector crosses from low to high nibbles.
template <class Block>
HWY_INLINE VI load_codes(const uint8_t* block, size_t first) {
  const hn::Rebind<uint8_t, DI> d8;
  const VI bytes = hn::PromoteTo(DI(), hn::LoadU(d8, block + offsetof(Block, qs) + first % 16));
  const VI nibbles = first < 16 ? hn::And(bytes, hn::Set(DI(), 15)) : hn::ShiftRight<4>(bytes);
  if constexpr (kTopCode<Block> == 15) {
    return nibbles;
  } else {
    uint32_t fifth;
    std::memcpy(&fifth, block + offsetof(Block, qh), sizeof(fifth));
    const VI here = hn::Set(DI(), static_cast<int32_t>(fifth >> first));
    const VI bit = hn::Shl(hn::Set(DI(), 1), hn::Iota(DI(), 0));
    return hn::Or(nibbles, hn::IfThenElseZero(hn::TestBit(here, bit), hn::Set(DI(), 16)));
  }
}

// Q4_0, Q5_0: the value of largest magnitude is the lowest code, so the scale has the opposite sign.
template <class BlockType, Encoding kTo>
struct Symmetric {
  using Block = BlockType;
  static constexpr size_t kValues = kBlock;
  static constexpr Encoding kEncoding = kTo;
  static constexpr int kZero = (kTopCode<Block> + 1) / 2;

  static HWY_INLINE void store_codes(const VI* codes, uint8_t* out) { store_nibbles<Block>(codes, out); }

  template <Encoding kFrom>
  static HWY_INLINE bool encode(const void* values, size_t index, uint8_t* out) {
    const V4F peaks = group_peaks<kFrom>(values, index);
    const V4F scales = hn::Mul(peaks, hn::Set(D4F(), 1.0f / kZero));  // a power of two
    if (!all_plain(scales, peaks)) return false;
    const Lanes4 peak(peaks);
    const Lanes4 inverse(inverse_scales(scales, peaks));
    const Halves4 d(scales);
    HWY_UNROLL(4)
    for (size_t b = 0; b < kGroupBlocks; ++b, out += sizeof(Block)) {
      const size_t first = index + b * kBlock;
      const auto bits = std::bit_cast<int32_t>(peak.value[b]);
      // Negative when the peak is positive; zeros of either sign count as +0.
      const uint32_t sign = (first_sign<kFrom>(values, first, bits) ^ 1u) | (bits == 0 ? 1u : 0u);
      const auto half = static_cast<uint16_t>(d.value[b] | sign << 15);
      std::memcpy(out + offsetof(Block, d), &half, sizeof(half));
      const VF factor =
          hn::Set(DF(), std::bit_cast<float>(std::bit_cast<uint32_t>(inverse.value[b]) | sign << 31));
      VI codes[kBlockVectors];
      HWY_UNROLL(8)
      for (size_t v = 0; v < kBlockVectors; ++v) {
        const VF scaled = hn::Mul(load_values<kFrom>(values, first + v * kLanes), factor);
        const VI code = truncate(hn::Add(scaled, hn::Set(DF(), kZero + 0.5f)));
        codes[v] = hn::Min(code, hn::Set(DI(), kTopCode<Block>));
      }
      store_codes(codes, out);
    }
    return true;
  }

  template <bool kPastCaches>
  static HWY_INLINE void decode(const uint8_t* block, float* values) {
    const VF d = broadcast_half(block + offsetof(Block, d));
    HWY_UNROLL(8)
    for (size_t j = 0; j < kBlock; j += kLanes) {
      const VI code = hn::Sub(load_codes<Block>(block, j), hn::Set(DI(), kZero));
      store_values<kPastCaches>(hn::Mul(d, hn::ConvertTo(DF(), code)), values + j);
    }
  }
};

// The extremes of the blocks of a group.
struct Ranges {
  V4F min;
  V4F max;
  bool finite;  // otherwise the rest means nothing
};

template <Encoding kFrom>
HWY_INLINE Ranges group_ranges(const void* values, size_t index) {
  VF mins[kGroupBlocks];
  VF maxs[kGroupBlocks];
  VI peak = hn::Zero(DI());
  HWY_UNROLL(4)
  for (size_t b = 0; b < kGroupBlocks; ++b) {
    HWY_UNROLL(8)
    for (size_t v = 0; v < kBlockVectors; ++v) {
      const VF value = load_values<kFrom>(values, index + b * kBlock + v * kLanes);
      mins[b] = v == 0 ? value : hn::Min(mins[b], value);
      maxs[b] = v == 0 ? value : hn::Max(maxs[b], value);
      peak = hn::Max(peak, magnitude_bits(value));
    }
  }
  return {reduce_four(MinOf(), mins), reduce_four(MaxOf(), maxs),
          hn::AllTrue(DI(), hn::Lt(peak, hn::Set(DI(), 0x7F800000)))};
}

// Q4_1, Q5_1.
template <class BlockType, Encoding kTo>
struct Affine {
  using Block = BlockType;
  static constexpr size_t kValues = kBlock;
  static constexpr Encoding kEncoding = kTo;

  template <Encoding kFrom>
  static HWY_INLINE bool encode(const void* values, size_t index, uint8_t* out) {
    const Ranges range = group_ranges<kFrom>(values, index);
    const V4F spreads = hn::Abs(hn::Sub(range.max, range.min));  // +0 for zeros of both signs
    const V4F scales = hn::Div(spreads, hn::Set(D4F(), static_cast<float>(kTopCode<Block>)));
    const auto min_fits = hn::Le(hn::Abs(range.min), hn::Set(D4F(), kMaxScale));
    if (!range.finite || !all_plain(scales, spreads) || !hn::AllTrue(D4F(), min_fits)) return false;
    const Lanes4 min(range.min);
    const Lanes4 inverse(inverse_scales(scales, spreads));
    const Halves4 d(scales);
    const Halves4 m(range.min);
    HWY_UNROLL(4)
    for (size_t b = 0; b < kGroupBlocks; ++b, out += sizeof(Block)) {
      const size_t first = index + b * kBlock;
      std::memcpy(out + offsetof(Block, d), &d.value[b], sizeof(Block::d));
      uint16_t half = m.value[b];
      if (HWY_UNLIKELY(min.value[b] == 0.0f)) {  // the first zero decides the sign
        half = static_cast<uint16_t>(first_sign<kFrom>(values, first, 0) << 15);
      }
      std::memcpy(out + offsetof(Block, m), &half, sizeof(half));
      VI codes[kBlockVectors];
      HWY_UNROLL(8)
      for (size_t v = 0; v < kBlockVectors; ++v) {
        const VF above = hn::Sub(load_values<kFrom>(values, first + v * kLanes), hn::Set(DF(), min.value[b]));
        const VF scaled = hn::Mul(above, hn::Set(DF(), inverse.value[b]));
        codes[v] = hn::Min(truncate(hn::Add(scaled, hn::Set(DF(), 0.5f))), hn::Set(DI(), kTopCode<Block>));
      }
      store_nibbles<Block>(codes, out);
    }
    return true;
  }

  template <bool kPastCaches>
  static HWY_INLINE void decode(const uint8_t* block, float* values) {
    const VF d = broadcast_half(block + offsetof(Block, d));
    const VF m = broadcast_half(block + offsetof(Block, m));
    HWY_UNROLL(8)
    for (size_t j = 0; j < kBlock; j += kLanes) {
      const VF code = hn::ConvertTo(DF(), load_codes<Block>(block, j));
      store_values<kPastCaches>(hn::Add(hn::Mul(d, code), m), values + j);
    }
  }
};

using Q4_0 = Symmetric<BlockQ4_0, Encoding::kQ4_0>;
using Q4_1 = Affine<BlockQ4_1, Encoding::kQ4_1>;
using Q5_0 = Symmetric<BlockQ5_0, Encoding::kQ5_0>;
using Q5_1 = Affine<BlockQ5_1, Encoding::kQ5_1>;

template <class Direct>
struct AffineScaled {
  using Block = typename Direct::Block;
  static constexpr size_t kGroup = kBlock;
  using Found = FoundRanges<Direct::kEncoding>;
  static EncodeFn direct() { return encode_blocks<Direct, Encoding::kF32>; }

  static HWY_INLINE void encode_nearest(const float* x, const Found& found, size_t g, uint8_t* block) {
    std::memcpy(block + offsetof(Block, d), &found.scale_half[g], sizeof(Block::d));
    std::memcpy(block + offsetof(Block, m), &found.minimum_half[g], sizeof(Block::m));
    const VF minimum = hn::Set(DF(), found.minimum[g]);
    const VF inverse = hn::Set(DF(), 1.0f / found.scale[g]);
    VI codes[kBlockVectors];
    HWY_UNROLL(8)
    for (size_t v = 0; v < kBlockVectors; ++v) {
      const VF above = hn::Sub(hn::LoadU(DF(), x + v * kLanes), minimum);
      codes[v] = int_between(hn::Mul(above, inverse), kTopCode<Block>);
    }
    store_nibbles<Block>(codes, block);
  }
};

EncodeFn find_encoder(Encoding from, Encoding to) {
  if (to == Encoding::kQ4_0) return encoder_from<Q4_0>(from);
  if (to == Encoding::kQ4_1) return encoder_from<Q4_1>(from);
  if (to == Encoding::kQ5_0) return encoder_from<Q5_0>(from);
  if (to == Encoding::kQ5_1) return encoder_from<Q5_1>(from);
  return nullptr;
}

DecodeFn find_decoder(Encoding from) {
  if (from == Encoding::kQ4_0) return decode_blocks<Q4_0>;
  if (from == Encoding::kQ4_1) return decode_blocks<Q4_1>;
  if (from == Encoding::kQ5_0) return decode_blocks<Q5_0>;
  if (from == Encoding::kQ5_1) return decode_blocks<Q5_1>;
  return nullptr;
}

EncodeFn find_scaled_encoder(Encoding to) {
  if (to == Encoding::kQ4_0) return encode_scaled<Block32Scaled<Q4_0>>;
  if (to == Encoding::kQ5_0) return encode_scaled<Block32Scaled<Q5_0>>;
  if (to == Encoding::kQ4_1) return encode_scaled<AffineScaled<Q4_1>>;
  if (to == Encoding::kQ5_1) return encode_scaled<AffineScaled<Q5_1>>;
  return nullptr;
}

#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {

LOBIT_EXPORT_ENCODER(q4_q5)
LOBIT_EXPORT_DECODER(q4_q5)
LOBIT_EXPORT_SCALED_ENCODER(q4_q5)

}  // namespace lobit::kernels
#endif  // HWY_ONCE
