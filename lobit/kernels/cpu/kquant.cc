// The K-quants and Q8_K, which lobit only reads. The order of products and differences is the reference's.
#include <cstddef>

#include "lobit/dtype/block.h"
#include "lobit/kernels/cpu/families.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/kquant.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/decode-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

constexpr size_t kBlock = 256;

// kLanes bytes, each in a lane.
HWY_INLINE VI load_bytes(const uint8_t* bytes) {
  return hn::PromoteTo(DI(), hn::LoadU(hn::Rebind<uint8_t, DI>(), bytes));
}

HWY_INLINE VI low_bits(VI v, int32_t mask) {
  return hn::And(v, hn::Set(DI(), mask));
}

// Integer scales of a block -> floats[kCount] = d * integer.
template <size_t kCount, typename T>
HWY_INLINE void expand_scales(VF d, const T* integers, float* floats) {
  using D = hn::CappedTag<float, kCount>;
  const D df;
  const hn::RebindToSigned<D> di;
  const auto factor = hn::Set(df, hn::GetLane(d));
  for (size_t i = 0; i < kCount; i += hn::Lanes(df)) {
    const auto bytes = hn::LoadU(hn::Rebind<T, D>(), integers + i);
    hn::StoreU(hn::Mul(factor, hn::ConvertTo(df, hn::PromoteTo(di, bytes))), df, floats + i);
  }
}

template <bool kPastCaches>
HWY_INLINE void store_scaled(VI codes, float scale, float* values) {
  store_values<kPastCaches>(hn::Mul(hn::Set(DF(), scale), hn::ConvertTo(DF(), codes)), values);
}

template <bool kPastCaches>
HWY_INLINE void store_affine(VI codes, float scale, float minimum, float* values) {
  const VF product = hn::Mul(hn::Set(DF(), scale), hn::ConvertTo(DF(), codes));
  store_values<kPastCaches>(hn::Sub(product, hn::Set(DF(), minimum)), values);
}

template <bool kPastCaches>
HWY_INLINE void decode_block(const BlockQ2_K*, const uint8_t* block, float* w) {
  uint8_t scale_bits[16];
  uint8_t minimum_bits[16];
  for (size_t g = 0; g < 16; ++g) {
    const uint8_t both = block[offsetof(BlockQ2_K, scales) + g];
    scale_bits[g] = both & 15;
    minimum_bits[g] = both >> 4;
  }
  float scales[16];
  float minima[16];
  expand_scales<16>(broadcast_half(block + offsetof(BlockQ2_K, d)), scale_bits, scales);
  expand_scales<16>(broadcast_half(block + offsetof(BlockQ2_K, dmin)), minimum_bits, minima);
  for (size_t m = 0; m < 64; m += kLanes) {
    const VI fields = load_bytes(block + offsetof(BlockQ2_K, qs) + m);
    const size_t first = m / 32 * 128 + m % 32;
    for (size_t n = 0; n < 4; ++n) {
      const size_t i = first + 32 * n;
      const VI codes = low_bits(hn::ShiftRightSame(fields, static_cast<int>(2 * n)), 3);
      store_affine<kPastCaches>(codes, scales[i / 16], minima[i / 16], w + i);
    }
  }
}

// The low four bits of scale g are nibble g / 8 of byte g % 8, the upper two are bits 2 * (g / 4) of byte 8 +
// g % 4.
HWY_INLINE void unpack_q3_k_scales(const uint8_t* packed, int8_t* scales) {
  uint64_t low;
  uint32_t high;
  std::memcpy(&low, packed, sizeof(low));
  std::memcpy(&high, packed + 8, sizeof(high));
  constexpr uint64_t kNibbles = 0x0F0F0F0F0F0F0F0F;
  const auto upper = [high](int shift) { return uint64_t{(high >> shift & 0x03030303u) << 4}; };
  const uint64_t bits[2] = {(low & kNibbles) | upper(0) | upper(2) << 32,
                            (low >> 4 & kNibbles) | upper(4) | upper(6) << 32};
  std::memcpy(scales, bits, sizeof(bits));
  for (size_t g = 0; g < 16; ++g) scales[g] = static_cast<int8_t>(scales[g] - 32);
}

template <bool kPastCaches>
HWY_INLINE void decode_block(const BlockQ3_K*, const uint8_t* block, float* w) {
  int8_t scale_bits[16];
  float scales[16];
  unpack_q3_k_scales(block + offsetof(BlockQ3_K, scales), scale_bits);
  expand_scales<16>(broadcast_half(block + offsetof(BlockQ3_K, d)), scale_bits, scales);
  for (size_t m = 0; m < 64; m += kLanes) {
    const VI fields = load_bytes(block + offsetof(BlockQ3_K, qs) + m);
    const VI third = load_bytes(block + offsetof(BlockQ3_K, hmask) + m % 32);
    const size_t first = m / 32 * 128 + m % 32;
    for (size_t n = 0; n < 4; ++n) {
      const size_t i = first + 32 * n;
      const VI two = low_bits(hn::ShiftRightSame(fields, static_cast<int>(2 * n)), 3);
      const VI four = hn::ShiftLeft<2>(low_bits(hn::ShiftRightSame(third, static_cast<int>(i / 32)), 1));
      store_scaled<kPastCaches>(hn::Sub(hn::Or(two, four), hn::Set(DI(), 4)), scales[i / 16], w + i);
    }
  }
}

// Q4_K and Q5_K: eight scales and eight minima of six bits in 12 bytes. The first four of each are the low
// bits of bytes 0-3 and 4-7; the others have four bits in bytes 8-11 and the upper two at the top of those
// bytes.
HWY_INLINE void unpack_six_bits(const uint8_t* packed, uint8_t* scales, uint8_t* minima) {
  uint32_t words[3];
  std::memcpy(words, packed, sizeof(words));
  const auto upper = [](uint32_t word) { return (word >> 6 & 0x03030303u) << 4; };
  const uint32_t scale_words[2] = {words[0] & 0x3F3F3F3Fu, (words[2] & 0x0F0F0F0Fu) | upper(words[0])};
  const uint32_t minimum_words[2] = {words[1] & 0x3F3F3F3Fu, (words[2] >> 4 & 0x0F0F0F0Fu) | upper(words[1])};
  std::memcpy(scales, scale_words, sizeof(scale_words));
  std::memcpy(minima, minimum_words, sizeof(minimum_words));
}

template <class Block, bool kPastCaches>
HWY_INLINE void decode_four_or_five_bits(const uint8_t* block, float* w) {
  uint8_t scale_bits[8];
  uint8_t minimum_bits[8];
  float scales[8];
  float minima[8];
  unpack_six_bits(block + offsetof(Block, scales), scale_bits, minimum_bits);
  expand_scales<8>(broadcast_half(block + offsetof(Block, d)), scale_bits, scales);
  expand_scales<8>(broadcast_half(block + offsetof(Block, dmin)), minimum_bits, minima);
  for (size_t m = 0; m < 32; m += kLanes) {
    VI fifth = hn::Zero(DI());
    if constexpr (requires { &Block::qh; }) fifth = load_bytes(block + offsetof(Block, qh) + m);
    for (size_t g = 0; g < 8; g += 2) {
      const VI both = load_bytes(block + offsetof(Block, qs) + 16 * g + m);
      VI low = low_bits(both, 15);
      VI high = hn::ShiftRight<4>(both);
      if constexpr (requires { &Block::qh; }) {
        const VI bits = hn::ShiftRightSame(fifth, static_cast<int>(g));
        low = hn::Or(low, hn::ShiftLeft<4>(low_bits(bits, 1)));
        high = hn::Or(high, hn::ShiftLeft<3>(low_bits(bits, 2)));
      }
      store_affine<kPastCaches>(low, scales[g], minima[g], w + 32 * g + m);
      store_affine<kPastCaches>(high, scales[g + 1], minima[g + 1], w + 32 * g + 32 + m);
    }
  }
}

template <bool kPastCaches>
HWY_INLINE void decode_block(const BlockQ4_K*, const uint8_t* block, float* w) {
  decode_four_or_five_bits<BlockQ4_K, kPastCaches>(block, w);
}

template <bool kPastCaches>
HWY_INLINE void decode_block(const BlockQ5_K*, const uint8_t* block, float* w) {
  decode_four_or_five_bits<BlockQ5_K, kPastCaches>(block, w);
}

template <bool kPastCaches>
HWY_INLINE void decode_block(const BlockQ6_K*, const uint8_t* block, float* w) {
  float scales[16];
  int8_t scale_bits[16];
  std::memcpy(scale_bits, block + offsetof(BlockQ6_K, scales), sizeof(scale_bits));
  expand_scales<16>(broadcast_half(block + offsetof(BlockQ6_K, d)), scale_bits, scales);
  const VI zero_code = hn::Set(DI(), 32);
  for (size_t m = 0; m < 64; m += kLanes) {
    const uint8_t* ql = block + offsetof(BlockQ6_K, ql) + m / 32 * 64 + m % 32;
    const VI a = load_bytes(ql);
    const VI b = load_bytes(ql + 32);
    const VI upper = load_bytes(block + offsetof(BlockQ6_K, qh) + m);
    const VI upper_two = hn::Set(DI(), 48);
    const VI codes[4] = {hn::Or(low_bits(a, 15), hn::And(hn::ShiftLeft<4>(upper), upper_two)),
                         hn::Or(low_bits(b, 15), hn::And(hn::ShiftLeft<2>(upper), upper_two)),
                         hn::Or(hn::ShiftRight<4>(a), hn::And(upper, upper_two)),
                         hn::Or(hn::ShiftRight<4>(b), hn::And(hn::ShiftRight<2>(upper), upper_two))};
    const size_t first = m / 32 * 128 + m % 32;
    for (size_t n = 0; n < 4; ++n) {
      const size_t i = first + 32 * n;
      store_scaled<kPastCaches>(hn::Sub(codes[n], zero_code), scales[i / 16], w + i);
    }
  }
}

template <bool kPastCaches>
HWY_INLINE void decode_block(const BlockQ8_K*, const uint8_t* block, float* w) {
  const float d = load_value<Encoding::kF32>(block + offsetof(BlockQ8_K, d), 0);
  const auto* qs = reinterpret_cast<const int8_t*>(block + offsetof(BlockQ8_K, qs));
  for (size_t i = 0; i < kBlock; i += kLanes) {
    store_scaled<kPastCaches>(hn::PromoteTo(DI(), hn::LoadU(hn::Rebind<int8_t, DI>(), qs + i)), d, w + i);
  }
}

template <class B>
struct Decoder {
  using Block = B;
  static constexpr size_t kValues = kBlock;

  // The pointer to a block chooses among the functions above.
  template <bool kPastCaches>
  static HWY_INLINE void decode(const uint8_t* block, float* values) {
    decode_block<kPastCaches>(static_cast<const Block*>(nullptr), block, values);
  }
};

DecodeFn find_decoder(Encoding from) {
  switch (from) {
    case Encoding::kQ2_K:
      return decode_blocks<Decoder<BlockQ2_K>>;
    case Encoding::kQ3_K:
      return decode_blocks<Decoder<BlockQ3_K>>;
    case Encoding::kQ4_K:
      return decode_blocks<Decoder<BlockQ4_K>>;
    case Encoding::kQ5_K:
      return decode_blocks<Decoder<BlockQ5_K>>;
    case Encoding::kQ6_K:
      return decode_blocks<Decoder<BlockQ6_K>>;
    case Encoding::kQ8_K:
      return decode_blocks<Decoder<BlockQ8_K>>;
    default:
      return nullptr;
  }
}

#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {

LOBIT_EXPORT_DECODER(kquant)

}  // namespace lobit::kernels
#endif  // HWY_ONCE
