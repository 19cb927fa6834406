// Q8_0.
#include "lobit/kernels/cpu/families.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/q8.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/scaled_block32-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

struct Q8_0 {
  using Block = BlockQ8_0;
  static constexpr size_t kValues = kBlock;
  static constexpr Encoding kEncoding = Encoding::kQ8_0;
  static constexpr int kZero = 0;

  static HWY_INLINE void store_codes(const VI* codes, uint8_t* block) {
    const hn::FixedTag<int8_t, 16> d8;
    auto* qs = reinterpret_cast<int8_t*>(block + offsetof(Block, qs));
    hn::StoreU(pack_bytes<int8_t>(codes), d8, qs);
    hn::StoreU(pack_bytes<int8_t>(codes + kBlockVectors / 2), d8, qs + 16);
  }

  template <Encoding kFrom>
  static HWY_INLINE bool encode(const void* values, size_t index, uint8_t* out) {
    const V4F peaks = group_peaks<kFrom>(values, index);
    const V4F scales = hn::Div(peaks, hn::Set(D4F(), 127.0f));
    if (!all_plain(scales, peaks)) return false;
    const Lanes4 inverse(inverse_scales(scales, peaks));
    const Halves4 d(scales);
    HWY_UNROLL(4)
    for (size_t b = 0; b < kGroupBlocks; ++b, out += sizeof(Block)) {
      std::memcpy(out + offsetof(Block, d), &d.value[b], sizeof(Block::d));
      VI codes[kBlockVectors];
      HWY_UNROLL(8)
      for (size_t v = 0; v < kBlockVectors; ++v) {
        const VF value = load_values<kFrom>(values, index + b * kBlock + v * kLanes);
        codes[v] = round_half_away(hn::Mul(value, hn::Set(DF(), inverse.value[b])));
      }
      store_codes(codes, out);
    }
    return true;
  }

  template <bool kPastCaches>
  static HWY_INLINE void decode(const uint8_t* block, float* values) {
    const VF d = broadcast_half(block + offsetof(Block, d));
    const auto* qs = reinterpret_cast<const int8_t*>(block + offsetof(Block, qs));
    HWY_UNROLL(8)
    for (size_t j = 0; j < kBlock; j += kLanes) {
      const VI codes = hn::PromoteTo(DI(), hn::LoadU(hn::Rebind<int8_t, DI>(), qs + j));
      store_values<kPastCaches>(hn::Mul(d, hn::ConvertTo(DF(), codes)), values + j);
    }
  }
};

EncodeFn find_encoder(Encoding from, Encoding to) {
  return to == Encoding::kQ8_0 ? encoder_from<Q8_0>(from) : nullptr;
}

DecodeFn find_decoder(Encoding from) {
  return from == Encoding::kQ8_0 ? decode_blocks<Q8_0> : nullptr;
}

EncodeFn find_scaled_encoder(Encoding to) {
  return to == Encoding::kQ8_0 ? encode_scaled<Block32Scaled<Q8_0>> : nullptr;
}

#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {

LOBIT_EXPORT_ENCODER(q8)
LOBIT_EXPORT_DECODER(q8)
LOBIT_EXPORT_SCALED_ENCODER(q8)

}  // namespace lobit::kernels
#endif  // HWY_ONCE
