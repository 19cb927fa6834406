// Q2_0: 64 values of two bits each, in order, under one F16 scale. The encoder uses three of the four codes.
#include <cstddef>

#include "lobit/kernels/cpu/families.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/q2.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/lookup-inl.h"
#include "lobit/kernels/cpu/ternary-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

struct Q2_0Codec {
  using Block = BlockQ2_0;
  static constexpr Encoding kEncoding = Encoding::kQ2_0;
  static constexpr size_t kGroup = 64;

  // Bit i tells whether value i becomes +1, or -1.
  template <Encoding kFrom>
  struct Signs {
    uint64_t plus = 0;
    uint64_t minus = 0;

    HWY_INLINE Signs(const Pattern<kFrom>* x, Pattern<kFrom> threshold) {
      const hn::ScalableTag<Pattern<kFrom>> d;
      const auto limit = hn::Set(d, threshold);
      const auto sign = hn::Set(d, std::numeric_limits<Pattern<kFrom>>::min());
      for (size_t i = 0; i < kGroup; i += hn::Lanes(d)) {
        const auto v = hn::LoadU(d, x + i);
        plus |= mask_bits(d, hn::Gt(v, limit)) << i;
        minus |= mask_bits(d, hn::Gt(hn::Xor(v, sign), limit)) << i;
      }
    }
  };

  // Stores the low and the high bit of every code. A carry-less square puts a zero between any two bits, so
  // two of them interleave the 64 low and the 64 high bits.
  static HWY_INLINE void store(uint64_t low_bits, uint64_t high_bits, uint16_t scale, uint8_t* block) {
    const hn::FixedTag<uint64_t, 2> d;
    const auto low = hn::Set(d, low_bits);
    const auto high = hn::Set(d, high_bits);
    const auto codes = hn::Or(hn::CLMulLower(low, low), hn::ShiftLeft<1>(hn::CLMulLower(high, high)));
    const hn::FixedTag<uint8_t, 16> d8;
    hn::StoreU(hn::BitCast(d8, codes), d8, block + offsetof(Block, qs));
    std::memcpy(block + offsetof(Block, d), &scale, sizeof(scale));
  }

  // Code 2 is the high bit alone, code 1 the low bit alone.
  template <Encoding kFrom>
  static HWY_INLINE void encode(const Pattern<kFrom>* x, Pattern<kFrom> threshold, uint16_t scale,
                                uint8_t* block) {
    const Signs<kFrom> signs(x, threshold);
    store(~(signs.plus | signs.minus), signs.plus, scale, block);
  }
};

struct Q2_0Scaled {
  using Block = BlockQ2_0;
  static constexpr Encoding kEncoding = Encoding::kQ2_0;
  static constexpr size_t kGroup = Q2_0Codec::kGroup;
  using Found = FoundScales<kEncoding, kGroup>;
  static EncodeFn direct() { return encode_ternary<Q2_0Codec, Encoding::kF32>; }

  static HWY_INLINE void encode_nearest(const float* x, const Found& found, size_t g, uint8_t* block) {
    const VF inverse = hn::Set(DF(), 1.0f / found.scale[g]);
    const VI one = hn::Set(DI(), 1);
    const VI two = hn::Set(DI(), 2);
    uint64_t low = 0;
    uint64_t high = 0;
    for (size_t i = 0; i < kGroup; i += kLanes) {
      const VI codes = nearest_int<kEncoding, 1>(hn::Mul(hn::LoadU(DF(), x + i), inverse));
      low |= uint64_t{bits_from_mask(hn::TestBit(codes, one))} << i;
      high |= uint64_t{bits_from_mask(hn::TestBit(codes, two))} << i;
    }
    Q2_0Codec::store(low, high, found.half[g], block);
  }
};

struct Q2_0Decoder {
  using Block = BlockQ2_0;
  static constexpr size_t kValues = 64;

  // The 16 values of four bytes. Lane j of 16 has its code 2 * j bits up in the word.
  template <bool kPastCaches>
  static HWY_INLINE void decode_word(const uint8_t* bytes, const TernaryValues& table, float* values) {
#if LOBIT_HAS_PERMUTEVAR
    uint32_t word;
    std::memcpy(&word, bytes, sizeof(word));
    const VU shifts = hn::Iota(DU(), 0);
    for (size_t j = 0; j < 16; j += kLanes) {
      const VU codes = hn::Set(DU(), word >> (2 * j)) >> hn::Add(shifts, shifts);
      store_values<kPastCaches>(table.at(codes), values + j);
    }
#else
    // Without variable shifts: a product moves each code to bit 6 of its lane.
    const hn::FixedTag<uint32_t, 4> d;
    alignas(16) static constexpr uint32_t kFactors[4] = {64, 16, 4, 1};
    const auto factors = hn::Load(d, kFactors);
    for (size_t j = 0; j < 4; ++j) {
      const auto codes = hn::ShiftRight<6>(hn::Mul(hn::Set(d, bytes[j]), factors));
      store_values<kPastCaches>(table.at(codes), values + 4 * j);
    }
#endif
  }

  template <bool kPastCaches>
  static HWY_INLINE void decode(const uint8_t* block, float* values) {
    const TernaryValues table(block + offsetof(Block, d));
    const uint8_t* qs = block + offsetof(Block, qs);
    for (size_t j = 0; j < 16; j += 4) decode_word<kPastCaches>(qs + j, table, values + 4 * j);
  }
};

EncodeFn find_encoder(Encoding from, Encoding to) {
  return find_ternary_encoder<Q2_0Codec>(from, to);
}

DecodeFn find_decoder(Encoding from) {
  return from == Encoding::kQ2_0 ? decode_blocks<Q2_0Decoder> : nullptr;
}

EncodeFn find_scaled_encoder(Encoding to) {
  return to == Encoding::kQ2_0 ? encode_scaled<Q2_0Scaled> : nullptr;
}

#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {

LOBIT_EXPORT_ENCODER(q2)
LOBIT_EXPORT_DECODER(q2)
LOBIT_EXPORT_SCALED_ENCODER(q2)

}  // namespace lobit::kernels
#endif  // HWY_ONCE
