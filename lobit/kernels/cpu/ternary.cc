// TQ2_0 and TQ1_0: 256 ternary values under one F16 scale.
#include <cstddef>

#include "lobit/kernels/cpu/families.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/ternary.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/lookup-inl.h"
#include "lobit/kernels/cpu/ternary-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

// Lanes of 0..255 -> bytes.
template <class D, class V>
HWY_INLINE void store_low_bytes(D /*d*/, V v, uint8_t* out) {
  const hn::Rebind<uint8_t, D> d8;
  hn::StoreU(hn::DemoteTo(d8, v), d8, out);
}

struct TQ2_0Codec {
  using Block = BlockTQ2_0;
  static constexpr Encoding kEncoding = Encoding::kTQ2_0;
  static constexpr size_t kGroup = 256;

  template <Encoding kFrom>
  static HWY_INLINE void encode(const Pattern<kFrom>* x, Pattern<kFrom> threshold, uint16_t scale,
                                uint8_t* block) {
    uint8_t* qs = block + offsetof(Block, qs);
#if LOBIT_HAS_MASK_REGISTERS
    const Thresholds<kFrom> thresholds(threshold);
    HWY_UNROLL(2)
    for (size_t half = 0; half < 2; ++half, x += 128, qs += 32) {
      __m256i fields = _mm256_set1_epi8(0x55);  // four codes of 0
      fields = add_weighted(fields, thresholds, x, 1);
      fields = add_weighted(fields, thresholds, x + 32, 4);
      fields = add_weighted(fields, thresholds, x + 64, 16);
      fields = add_weighted(fields, thresholds, x + 96, 64);
      _mm256_storeu_si256(reinterpret_cast<__m256i_u*>(qs), fields);
    }
#else
    const hn::ScalableTag<Pattern<kFrom>> d;
    const auto limit = hn::Set(d, threshold);
    for (size_t m = 0; m < 64; m += hn::Lanes(d)) {
      const Pattern<kFrom>* first = x + m / 32 * 128 + m % 32;
      auto fields = hn::Set(d, 0x55);
      fields = hn::Add(fields, hn::ShiftLeft<6>(trits(d, first + 96, limit)));
      fields = hn::Add(fields, hn::ShiftLeft<4>(trits(d, first + 64, limit)));
      fields = hn::Add(fields, hn::ShiftLeft<2>(trits(d, first + 32, limit)));
      fields = hn::Add(fields, trits(d, first, limit));
      store_low_bytes(d, fields, qs + m);
    }
#endif
    std::memcpy(block + offsetof(Block, d), &scale, sizeof(scale));
  }
};

struct TQ1_0Codec {
  using Block = BlockTQ1_0;
  static constexpr Encoding kEncoding = Encoding::kTQ1_0;
  static constexpr size_t kGroup = 256;

  // ceil(digits * 256 / 243) for digits 0..242.
  template <class D, class V>
  static HWY_INLINE V byte_of_digits(D d, V digits) {
    const hn::RebindToUnsigned<D> du;
    const auto biased = hn::BitCast(du, hn::Add(hn::ShiftLeft<8>(digits), hn::Set(d, 239)));
    if constexpr (sizeof(hn::TFromD<D>) == 2) {
      return hn::BitCast(d, hn::ShiftRight<5>(hn::MulHigh(biased, hn::Set(du, 8631))));
    } else {
      return hn::BitCast(d, hn::ShiftRight<21>(hn::Mul(biased, hn::Set(du, 8631))));
    }
  }

  // Bytes of kDigits values each, `stride` apart.
  template <size_t kDigits, class D>
  static HWY_INLINE void encode_bytes(D d, const hn::TFromD<D>* x, hn::TFromD<D> threshold, size_t stride,
                                      uint8_t* out) {
    const auto limit = hn::Set(d, threshold);
    for (size_t m = 0; m < stride; m += hn::Lanes(d)) {
      auto digits = hn::Zero(d);
      for (size_t n = 0; n < kDigits; ++n) {
        digits = hn::Add(hn::Add(digits, digits), hn::Add(digits, trits(d, x + m + n * stride, limit)));
      }
      if constexpr (kDigits == 4) digits = hn::Add(hn::Add(digits, digits), digits);
      constexpr hn::TFromD<D> kZeros = kDigits == 5 ? 121 : 120;  // all codes 1, which mean 0
      store_low_bytes(d, byte_of_digits(d, hn::Add(digits, hn::Set(d, kZeros))), out + m);
    }
  }

#if LOBIT_HAS_MASK_REGISTERS
  // The bytes of 32, 16 and 4 sums of digits.
  static HWY_INLINE __m256i bytes_of_digits(__m256i digits) {
    const hn::Full512<uint16_t> d;
    return _mm512_cvtepi16_epi8(byte_of_digits(d, hn::Vec<decltype(d)>{_mm512_cvtepu8_epi16(digits)}).raw);
  }

  template <Encoding kFrom>
  static HWY_INLINE void encode_codes(const Pattern<kFrom>* x, Pattern<kFrom> threshold, uint8_t* block) {
    const Thresholds<kFrom> thresholds(threshold);
    constexpr char kWeights[5] = {81, 27, 9, 3, 1};
    __m256i main = _mm256_set1_epi8(121);  // five codes of 0
    __m128i rest = _mm_set1_epi8(121);
    HWY_UNROLL(5)
    for (size_t n = 0; n < 5; ++n) {
      main = add_weighted(main, thresholds, x + 32 * n, kWeights[n]);
      rest = add_weighted(rest, thresholds, x + 160 + 16 * n, kWeights[n]);
    }
    // Digit n of the last four bytes has its weight in word n.
    const __m128i weights = _mm_setr_epi32(0x51515151, 0x1B1B1B1B, 0x09090909, 0x03030303);
    __m128i last = _mm_maskz_mov_epi8(thresholds.plus16(x + 240), weights);
    last = _mm_mask_sub_epi8(last, thresholds.minus16(x + 240), last, weights);
    last = _mm_add_epi8(last, _mm_shuffle_epi32(last, _MM_SHUFFLE(1, 0, 3, 2)));
    last = _mm_add_epi8(last, _mm_shuffle_epi32(last, _MM_SHUFFLE(2, 3, 0, 1)));
    last = _mm_add_epi8(last, _mm_set1_epi8(120));
    const __m256i tail = bytes_of_digits(_mm256_set_m128i(last, rest));
    _mm256_storeu_si256(reinterpret_cast<__m256i_u*>(block + offsetof(Block, qs)), bytes_of_digits(main));
    _mm_storeu_si128(reinterpret_cast<__m128i_u*>(block + offsetof(Block, qs) + 32),
                     _mm256_castsi256_si128(tail));
    const int qh = _mm256_extract_epi32(tail, 4);
    std::memcpy(block + offsetof(Block, qh), &qh, sizeof(qh));
  }
#else
  template <Encoding kFrom>
  static HWY_INLINE void encode_codes(const Pattern<kFrom>* x, Pattern<kFrom> threshold, uint8_t* block) {
    using Lane = Pattern<kFrom>;
    uint8_t* qs = block + offsetof(Block, qs);
    encode_bytes<5>(hn::CappedTag<Lane, 32>(), x, threshold, 32, qs);
    encode_bytes<5>(hn::CappedTag<Lane, 16>(), x + 160, threshold, 16, qs + 32);
    encode_bytes<4>(hn::CappedTag<Lane, 4>(), x + 240, threshold, 4, block + offsetof(Block, qh));
  }
#endif

  template <Encoding kFrom>
  static HWY_INLINE void encode(const Pattern<kFrom>* x, Pattern<kFrom> threshold, uint16_t scale,
                                uint8_t* block) {
    encode_codes<kFrom>(x, threshold, block);
    std::memcpy(block + offsetof(Block, d), &scale, sizeof(scale));
  }
};

struct TQ2_0Decoder {
  using Block = BlockTQ2_0;
  static constexpr size_t kValues = 256;

  template <bool kPastCaches>
  static HWY_INLINE void decode(const uint8_t* block, float* values) {
    const TernaryValues table(block + offsetof(Block, d));
    for (size_t m = 0; m < 64; m += kLanes) {
      float* first = values + m / 32 * 128 + m % 32;
      const VU fields = load_bytes(block + offsetof(Block, qs) + m);
      store_values<kPastCaches>(table.at(fields), first);
      store_values<kPastCaches>(table.at(hn::ShiftRight<2>(fields)), first + 32);
      store_values<kPastCaches>(table.at(hn::ShiftRight<4>(fields)), first + 64);
      store_values<kPastCaches>(table.at(hn::ShiftRight<6>(fields)), first + 96);
    }
  }
};

struct TQ1_0Decoder {
  using Block = BlockTQ1_0;
  static constexpr size_t kValues = 256;

  // A byte is a fraction, here in the upper half of a 16-bit lane. Times a power of three, modulo 1, it is
  // what is left after so many digits; times three again, the next digit stands above it.
  template <bool kPastCaches, size_t kDigits, size_t kStride>
  static HWY_INLINE void decode_digits(const uint8_t* bytes, const TernaryValues& table, float* values) {
    using D = hn::CappedTag<uint16_t, kStride>;
    const D d;
    constexpr uint16_t kPowers[5] = {1, 3, 9, 27, 81};
    for (size_t m = 0; m < kStride; m += hn::Lanes(d)) {
      const auto fraction =
          hn::ShiftLeft<8>(hn::PromoteTo(d, hn::LoadU(hn::Rebind<uint8_t, D>(), bytes + m)));
      for (size_t n = 0; n < kDigits; ++n) {
        const auto rest = hn::Mul(fraction, hn::Set(d, kPowers[n]));
        table.store<kPastCaches>(d, hn::MulHigh(rest, hn::Set(d, 3)), values + m + n * kStride);
      }
    }
  }

  template <bool kPastCaches>
  static HWY_INLINE void decode(const uint8_t* block, float* values) {
    const TernaryValues table(block + offsetof(Block, d));
    const uint8_t* qs = block + offsetof(Block, qs);
    decode_digits<kPastCaches, 5, 32>(qs, table, values);
    decode_digits<kPastCaches, 5, 16>(qs + 32, table, values + 160);
    decode_digits<kPastCaches, 4, 4>(block + offsetof(Block, qh), table, values + 240);
  }
};

// Looks at sixteen blocks at a time.
size_t valid_blocks(const void* blocks, size_t block_count) {
  constexpr size_t kBatch = 16;
  const hn::CappedTag<uint8_t, 64> d;
  const auto* block = static_cast<const uint8_t*>(blocks);
  for (size_t first = 0; first + kBatch <= block_count; first += kBatch) {
    auto both_bits = hn::Zero(d);  // bit 2n of each byte: both bits of field n are set
    for (size_t b = 0; b < kBatch; ++b, block += sizeof(BlockTQ2_0)) {
      for (size_t i = 0; i < 64; i += hn::Lanes(d)) {
        const auto fields = hn::LoadU(d, block + offsetof(BlockTQ2_0, qs) + i);
        const hn::Repartition<uint16_t, decltype(d)> d16;
        // The bit that crosses from one byte to the next lands on an odd one.
        const auto upper = hn::BitCast(d, hn::ShiftRight<1>(hn::BitCast(d16, fields)));
        both_bits = hn::Or(both_bits, hn::And(fields, upper));
      }
    }
    if (!hn::AllTrue(d, hn::Eq(hn::And(both_bits, hn::Set(d, 0x55)), hn::Zero(d)))) return first;
  }
  return block_count / kBatch * kBatch;
}

ValidBlocksFn find_valid_blocks() {
  return valid_blocks;
}

// The codes follow from a threshold as the direct ones do, with another scale in the place of the peak.
template <class Direct>
struct TernaryScaled {
  using Block = typename Direct::Block;
  static constexpr size_t kGroup = Direct::kGroup;
  using Found = FoundScales<Direct::kEncoding, kGroup>;
  static EncodeFn direct() { return encode_ternary<Direct, Encoding::kF32>; }

  static HWY_INLINE void encode_nearest(const float* x, const Found& found, size_t g, uint8_t* block) {
    const int32_t threshold = hn::GetLane(threshold_of(hn::Set(DF(), found.scale[g])));
    Direct::template encode<Encoding::kF32>(reinterpret_cast<const int32_t*>(x), threshold, found.half[g],
                                            block);
  }
};

EncodeFn find_encoder(Encoding from, Encoding to) {
  const EncodeFn tq2_0 = find_ternary_encoder<TQ2_0Codec>(from, to);
  return tq2_0 != nullptr ? tq2_0 : find_ternary_encoder<TQ1_0Codec>(from, to);
}

DecodeFn find_decoder(Encoding from) {
  if (from == Encoding::kTQ2_0) return decode_blocks<TQ2_0Decoder>;
  if (from == Encoding::kTQ1_0) return decode_blocks<TQ1_0Decoder>;
  return nullptr;
}

EncodeFn find_scaled_encoder(Encoding to) {
  if (to == Encoding::kTQ2_0) return encode_scaled<TernaryScaled<TQ2_0Codec>>;
  if (to == Encoding::kTQ1_0) return encode_scaled<TernaryScaled<TQ1_0Codec>>;
  return nullptr;
}

#else
ValidBlocksFn find_valid_blocks() {
  return nullptr;
}
#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {

HWY_EXPORT(find_valid_blocks);

LOBIT_EXPORT_ENCODER(ternary)
LOBIT_EXPORT_DECODER(ternary)
LOBIT_EXPORT_SCALED_ENCODER(ternary)

ValidBlocksFn tq2_0_valid_blocks() {
  return HWY_DYNAMIC_DISPATCH(find_valid_blocks)();
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE
