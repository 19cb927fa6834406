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
HWY_INLINE void store_low_bytes(D d, V v, uint8_t* out) {
  const hn::Rebind<uint8_t, D> d8;
  hn::StoreU(hn::DemoteTo(d8, v), d8, out);
  static_cast<void>(d);
}

struct TQ2_0Codec {
  using Block = BlockTQ2_0;
  static constexpr Encoding kEncoding = Encoding::kTQ2_0;
  static constexpr size_t kGroup = 256;

  template <Encoding kFrom>
  static HWY_INLINE void encode(const Pattern<kFrom>* x, Pattern<kFrom> threshold, uint16_t scale,
                                uint8_t* block) {
    const hn::ScalableTag<Pattern<kFrom>> d;
    const auto limit = hn::Set(d, threshold);
    for (size_t m = 0; m < 64; m += hn::Lanes(d)) {
      const Pattern<kFrom>* first = x + m / 32 * 128 + m % 32;
      auto fields = hn::Set(d, 0x55);  // four codes of 0
      fields = hn::Add(fields, hn::ShiftLeft<6>(trits(d, first + 96, limit)));
      fields = hn::Add(fields, hn::ShiftLeft<4>(trits(d, first + 64, limit)));
      fields = hn::Add(fields, hn::ShiftLeft<2>(trits(d, first + 32, limit)));
      fields = hn::Add(fields, trits(d, first, limit));
      store_low_bytes(d, fields, block + offsetof(Block, qs) + m);
    }
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

  template <Encoding kFrom>
  static HWY_INLINE void encode(const Pattern<kFrom>* x, Pattern<kFrom> threshold, uint16_t scale,
                                uint8_t* block) {
    using Lane = Pattern<kFrom>;
    uint8_t* qs = block + offsetof(Block, qs);
    encode_bytes<5>(hn::CappedTag<Lane, 32>(), x, threshold, 32, qs);
    encode_bytes<5>(hn::CappedTag<Lane, 16>(), x + 160, threshold, 16, qs + 32);
    encode_bytes<4>(hn::CappedTag<Lane, 4>(), x + 240, threshold, 4, block + offsetof(Block, qh));
    std::memcpy(block + offsetof(Block, d), &scale, sizeof(scale));
  }
};

void decode_tq2_0(const void* blocks, float* values, size_t count) {
  const auto* block = static_cast<const uint8_t*>(blocks);
  for (size_t i = 0; i < count; i += 256, block += sizeof(BlockTQ2_0), values += 256) {
    const TernaryValues table(block + offsetof(BlockTQ2_0, d));
    const uint8_t* qs = block + offsetof(BlockTQ2_0, qs);
    for (size_t m = 0; m < 64; m += kLanes) {
      float* first = values + m / 32 * 128 + m % 32;
      const VU fields = load_bytes(qs + m);
      hn::StoreU(table.at(fields), DF(), first);
      hn::StoreU(table.at(hn::ShiftRight<2>(fields)), DF(), first + 32);
      hn::StoreU(table.at(hn::ShiftRight<4>(fields)), DF(), first + 64);
      hn::StoreU(table.at(hn::ShiftRight<6>(fields)), DF(), first + 96);
    }
  }
}

// The fraction of each byte, as the upper half of 16-bit lanes: times a power of three, modulo 1, it is what
// is left after so many digits; three times that, the next digit stands above it.
template <size_t kDigits, class D16>
HWY_INLINE void decode_digits(D16 d, const uint8_t* bytes, const TernaryValues& table, float* values,
                              size_t stride) {
  const hn::Rebind<uint8_t, D16> d8;
  constexpr uint16_t kPowers[5] = {1, 3, 9, 27, 81};
  const auto fraction = hn::ShiftLeft<8>(hn::PromoteTo(d, hn::LoadU(d8, bytes)));
  for (size_t n = 0; n < kDigits; ++n) {
    const auto rest = hn::Mul(fraction, hn::Set(d, kPowers[n]));
    table.store(d, hn::MulHigh(rest, hn::Set(d, 3)), values + n * stride);
  }
}

void decode_tq1_0(const void* blocks, float* values, size_t count) {
  const hn::CappedTag<uint16_t, 32> d32;
  const hn::CappedTag<uint16_t, 16> d16;
  const hn::CappedTag<uint16_t, 4> d4;
  const auto* block = static_cast<const uint8_t*>(blocks);
  for (size_t i = 0; i < count; i += 256, block += sizeof(BlockTQ1_0), values += 256) {
    const TernaryValues table(block + offsetof(BlockTQ1_0, d));
    const uint8_t* qs = block + offsetof(BlockTQ1_0, qs);
    for (size_t m = 0; m < 32; m += hn::Lanes(d32)) decode_digits<5>(d32, qs + m, table, values + m, 32);
    for (size_t m = 0; m < 16; m += hn::Lanes(d16)) {
      decode_digits<5>(d16, qs + 32 + m, table, values + 160 + m, 16);
    }
    decode_digits<4>(d4, block + offsetof(BlockTQ1_0, qh), table, values + 240, 4);
  }
}

EncodeFn find_encoder(Encoding from, Encoding to) {
  const EncodeFn tq2_0 = find_ternary_encoder<TQ2_0Codec>(from, to);
  return tq2_0 != nullptr ? tq2_0 : find_ternary_encoder<TQ1_0Codec>(from, to);
}

DecodeFn find_decoder(Encoding from) {
  if (from == Encoding::kTQ2_0) return decode_tq2_0;
  if (from == Encoding::kTQ1_0) return decode_tq1_0;
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

EncodeFn ternary_encoder(Encoding from, Encoding to) {
  return HWY_DYNAMIC_DISPATCH(find_encoder)(from, to);
}

DecodeFn ternary_decoder(Encoding from) {
  return HWY_DYNAMIC_DISPATCH(find_decoder)(from);
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE
