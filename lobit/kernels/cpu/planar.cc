// The planar formats: codes of one plane, scales of another. Values are taken 32 at a time, which fill whole
// bytes in every format; the rest goes through a buffer of 32.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "lobit/dtype/value_format.h"
#include "lobit/kernels/cpu/planar_functions.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/planar.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/common-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

constexpr size_t kStep = 32;
constexpr size_t kStepVectors = kStep / kLanes;
constexpr size_t kHalfVectors = kStepVectors / 2;

using Bytes16 = hn::FixedTag<uint8_t, 16>;
using VBytes16 = hn::Vec<Bytes16>;

HWY_INLINE VF clip(VF value, float low, float high) {
  return hn::Min(hn::Max(value, hn::Set(DF(), low)), hn::Set(DF(), high));
}

// The largest magnitude of the values, or what `extent` has; of I4 with the sign of the first such value.
template <bool kSigned>
void measure_peak(const float* values, size_t count, PlanarExtent& extent) {
  const DI di;
  const DU du;
  constexpr uint32_t kMagnitude = 0x7FFFFFFF;
  // As signed integers positive numbers rise with their magnitude, as unsigned ones negative numbers do and
  // are above the others.
  VI positive[2] = {hn::Zero(di), hn::Zero(di)};
  VU negative[2] = {hn::Zero(du), hn::Zero(du)};
  const auto add = [&](VF value, size_t which) {
    const VI bits = hn::BitCast(di, value);
    if constexpr (kSigned) {
      positive[which] = hn::Max(positive[which], bits);
      negative[which] = hn::Max(negative[which], hn::BitCast(du, bits));
    } else {
      positive[which] = hn::Max(positive[which], hn::And(bits, hn::Set(di, kMagnitude)));
    }
  };
  size_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    add(hn::LoadU(DF(), values + i), 0);
    add(hn::LoadU(DF(), values + i + kLanes), 1);
  }
  if (i < count) {
    alignas(64) float rest[2 * kLanes] = {};
    std::memcpy(rest, reinterpret_cast<const char*>(values) + 4 * i, 4 * (count - i));
    add(hn::Load(DF(), rest), 0);
    add(hn::Load(DF(), rest + kLanes), 1);
  }
  extent.count += count;
  const auto plus = static_cast<uint32_t>(hn::GetLane(hn::MaxOfLanes(di, hn::Max(positive[0], positive[1]))));
  uint32_t peak = plus;
  if constexpr (kSigned) {
    const uint32_t bits = hn::GetLane(hn::MaxOfLanes(du, hn::Max(negative[0], negative[1])));
    const uint32_t minus = bits > kMagnitude ? bits & kMagnitude : 0;
    if (minus > plus) peak = bits;
    if (minus == plus && plus > (extent.peak & kMagnitude)) {  // both signs: the first decides
      PlanarExtent first;
      reference::measure_planar(Encoding::kQ4_0, values, count, first);
      peak = first.peak;
    }
  }
  if ((peak & kMagnitude) > (extent.peak & kMagnitude)) extent.peak = peak;
}

using DD = hn::ScalableTag<double>;
constexpr size_t kSums = PlanarExtent::kSums;
constexpr size_t kDoubles = kLanes / 2;
constexpr size_t kSumVectors = kSums / kDoubles;

// PlanarExtent::sums as vectors.
struct Sums {
  hn::Vec<DD> v[kSumVectors];

  // Adds kSums magnitudes.
  HWY_INLINE void add(const float* values) {
    const hn::Half<DF> dh;
    HWY_UNROLL(8)
    for (size_t i = 0; i < kSumVectors; ++i) {
      v[i] = hn::Add(v[i], hn::PromoteTo(DD(), hn::Abs(hn::LoadU(dh, values + i * kDoubles))));
    }
  }
};

// Value i goes into sum i % kSums.
void measure_sum(const float* values, size_t count, PlanarExtent& extent) {
  const size_t phase = extent.count % kSums;
  size_t i = std::min(count, (kSums - phase) % kSums);
  reference::measure_planar(Encoding::kQ1_0, values, i, extent);
  if (count - i >= kSums) {
    Sums sums;
    for (size_t v = 0; v < kSumVectors; ++v) sums.v[v] = hn::LoadU(DD(), &extent.sums[v * kDoubles]);
    const size_t first = i;
    for (; i + kSums <= count; i += kSums) sums.add(values + i);
    for (size_t v = 0; v < kSumVectors; ++v) hn::StoreU(sums.v[v], DD(), &extent.sums[v * kDoubles]);
    extent.count += i - first;
  }
  reference::measure_planar(Encoding::kQ1_0, values + i, count - i, extent);
}

// The scale of a whole group of I1 whose count is a multiple of kSums, without a detour through memory.
HWY_INLINE float mean_of_group(const float* values, size_t count) {
  Sums sums;
  for (auto& v : sums.v) v = hn::Zero(DD());
  for (size_t i = 0; i < count; i += kSums) sums.add(values + i);
  for (size_t half = kSumVectors / 2; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) sums.v[i] = hn::Add(sums.v[i], sums.v[i + half]);
  }
  double lanes[kDoubles];
  hn::StoreU(sums.v[0], DD(), lanes);
  for (size_t half = kDoubles / 2; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return planar_mean(lanes[0], count);
}

// 16 codes in order -> kStep / 2 values.
HWY_INLINE void store_codes(VBytes16 codes, float bias, VF scale, float* values) {
  alignas(16) uint8_t bytes[16];
  hn::Store(codes, Bytes16(), bytes);
  HWY_UNROLL(4)
  for (size_t v = 0; v < kHalfVectors; ++v) {
    const VI wide = hn::PromoteTo(DI(), hn::Load(hn::Rebind<uint8_t, DI>(), bytes + v * kLanes));
    const VF centred = hn::Sub(hn::ConvertTo(DF(), wide), hn::Set(DF(), bias));
    hn::StoreU(hn::Mul(centred, scale), DF(), values + v * kLanes);
  }
}

// One value to one byte.
struct I8 {
  static constexpr Encoding kEncoding = Encoding::kQ8_0;
  static constexpr size_t kBits = 8;
  static HWY_INLINE VI code(VF scaled) { return round_half_away(clip(scaled, -127.0f, 127.0f)); }
  static HWY_INLINE void store(const VI* codes, uint8_t* out) {
    const hn::FixedTag<int8_t, 16> d;
    auto* bytes = reinterpret_cast<int8_t*>(out);
    hn::StoreU(pack_bytes<int8_t>(codes), d, bytes);
    hn::StoreU(pack_bytes<int8_t>(codes + kHalfVectors), d, bytes + 16);
  }
  static HWY_INLINE void decode(const uint8_t* codes, VF scale, float* values) {
    const auto* in = reinterpret_cast<const int8_t*>(codes);
    HWY_UNROLL(8)
    for (size_t i = 0; i < kStep; i += kLanes) {
      const VI wide = hn::PromoteTo(DI(), hn::LoadU(hn::Rebind<int8_t, DI>(), in + i));
      hn::StoreU(hn::Mul(hn::ConvertTo(DF(), wide), scale), DF(), values + i);
    }
  }
};

// Two values to a byte, the first in the low half.
struct I4 {
  static constexpr Encoding kEncoding = Encoding::kQ4_0;
  static constexpr size_t kBits = 4;
  static HWY_INLINE VI code(VF scaled) {
    return truncate(clip(hn::Add(scaled, hn::Set(DF(), 8.5f)), 0.0f, 15.0f));
  }
  static HWY_INLINE void store(const VI* codes, uint8_t* out) {
    const hn::FixedTag<uint16_t, 8> d;
    HWY_UNROLL(2)
    for (size_t half = 0; half < 2; ++half) {
      const auto pairs = hn::BitCast(d, pack_bytes<uint8_t>(codes + half * kHalfVectors));
      const auto joined = hn::And(hn::Or(pairs, hn::ShiftRight<4>(pairs)), hn::Set(d, 0xFF));
      const auto low =
          hn::DemoteTo(hn::FixedTag<uint8_t, 8>(), hn::BitCast(hn::FixedTag<int16_t, 8>(), joined));
      hn::StoreU(low, hn::FixedTag<uint8_t, 8>(), out + 8 * half);
    }
  }
  static HWY_INLINE void decode(const uint8_t* codes, VF scale, float* values) {
    const hn::FixedTag<uint16_t, 8> d;
    HWY_UNROLL(2)
    for (size_t half = 0; half < 2; ++half) {
      const auto bytes = hn::PromoteTo(d, hn::LoadU(hn::FixedTag<uint8_t, 8>(), codes + 8 * half));
      const auto apart = hn::And(hn::Or(bytes, hn::ShiftLeft<4>(bytes)), hn::Set(d, 0x0F0F));
      store_codes(hn::BitCast(Bytes16(), apart), 8.0f, scale, values + 16 * half);
    }
  }
};

// Four values to a byte, the first in the lowest bits; kMost is the largest code's value.
template <Encoding kOf, int kMost>
struct TwoBits {
  static constexpr Encoding kEncoding = kOf;
  static constexpr size_t kBits = 2;
  static HWY_INLINE VI code(VF scaled) {
    return hn::Add(round_half_away(clip(scaled, -1.0f, kMost)), hn::Set(DI(), 1));
  }
  static HWY_INLINE void store(const VI* codes, uint8_t* out) {
    const hn::FixedTag<uint32_t, 4> d;
    HWY_UNROLL(2)
    for (size_t half = 0; half < 2; ++half) {
      const auto fours = hn::BitCast(d, pack_bytes<uint8_t>(codes + half * kHalfVectors));
      const auto pairs = hn::Or(fours, hn::ShiftRight<6>(fours));
      const auto joined = hn::And(hn::Or(pairs, hn::ShiftRight<12>(pairs)), hn::Set(d, 0xFF));
      const auto low =
          hn::DemoteTo(hn::FixedTag<uint8_t, 4>(), hn::BitCast(hn::FixedTag<int32_t, 4>(), joined));
      hn::StoreU(low, hn::FixedTag<uint8_t, 4>(), out + 4 * half);
    }
  }
  static HWY_INLINE void decode(const uint8_t* codes, VF scale, float* values) {
    const hn::FixedTag<uint32_t, 4> d;
    HWY_UNROLL(2)
    for (size_t half = 0; half < 2; ++half) {
      const auto bytes = hn::PromoteTo(d, hn::LoadU(hn::FixedTag<uint8_t, 4>(), codes + 4 * half));
      const auto pairs = hn::Or(bytes, hn::ShiftLeft<6>(bytes));
      const auto apart = hn::And(hn::Or(pairs, hn::ShiftLeft<12>(pairs)), hn::Set(d, 0x03030303));
      store_codes(hn::BitCast(Bytes16(), apart), 1.0f, scale, values + 16 * half);
    }
  }
};

// Eight signs to a byte.
struct I1 {
  static constexpr Encoding kEncoding = Encoding::kQ1_0;
  static constexpr size_t kBits = 1;
  static HWY_INLINE void decode(const uint8_t* codes, VF scale, float* values) {
    alignas(64) static constexpr uint32_t kBit[16] = {1,   2,   4,    8,    16,   32,   64,    128,
                                                      256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
    const VF minus = hn::Neg(scale);
    HWY_UNROLL(2)
    for (size_t half = 0; half < 2; ++half) {
      uint16_t word;
      std::memcpy(&word, codes + 2 * half, sizeof(word));
      const VU bits = hn::Set(DU(), word);
      for (size_t k = 0; k < 16; k += kLanes) {
        const auto positive = hn::RebindMask(DF(), hn::TestBit(bits, hn::Load(DU(), kBit + k)));
        hn::StoreU(hn::IfThenElse(positive, scale, minus), DF(), values + 16 * half + k);
      }
    }
  }
};

// kStep values -> their codes.
template <class Codec>
HWY_INLINE void encode_step(const float* values, VF reciprocal, uint8_t* out) {
  if constexpr (Codec::kBits == 1) {
    uint32_t bits = 0;
    HWY_UNROLL(8)
    for (size_t i = 0; i < kStep; i += kLanes) {
      bits |= bits_from_mask(hn::Ge(hn::LoadU(DF(), values + i), hn::Zero(DF()))) << i;
    }
    std::memcpy(out, &bits, sizeof(bits));
  } else {
    VI codes[kStepVectors];
    HWY_UNROLL(8)
    for (size_t v = 0; v < kStepVectors; ++v) {
      codes[v] = Codec::code(hn::Mul(hn::LoadU(DF(), values + v * kLanes), reciprocal));
    }
    Codec::store(codes, out);
  }
}

// `count` < kStep values. What the last byte has beyond them is 0.
template <class Codec>
HWY_INLINE void encode_rest(const float* values, size_t count, VF reciprocal, uint8_t* out) {
  alignas(64) float padded[kStep] = {};
  uint8_t bytes[kStep * Codec::kBits / 8];
  std::memcpy(padded, reinterpret_cast<const char*>(values), 4 * count);
  encode_step<Codec>(padded, reciprocal, bytes);
  const size_t bits = count * Codec::kBits;
  std::memcpy(out, bytes, (bits + 7) / 8);
  if (bits % 8 != 0) out[bits / 8] = static_cast<uint8_t>(out[bits / 8] & ((1u << bits % 8) - 1));
}

bool any_value(const float* values, size_t count) {
  PlanarExtent extent;
  measure_peak<false>(values, count, extent);
  return extent.peak != 0;
}

template <class Codec>
HWY_INLINE EncodeCounts encode_group(const float* values, std::byte* codes, size_t count, float scale) {
  EncodeCounts counts;
  float reciprocal = 1.0f / scale;
  if (HWY_UNLIKELY(!std::isfinite(scale))) {
    return reference::encode_planar(Codec::kEncoding, values, codes, count, scale);
  }
  if (HWY_UNLIKELY(!std::isfinite(reciprocal))) {
    reciprocal = 0.0f;
    if (Codec::kBits != 1 && any_value(values, count)) counts.flushed = 1;
  }
  const VF factor = hn::Set(DF(), reciprocal);
  auto* out = reinterpret_cast<uint8_t*>(codes);
  size_t i = 0;
  for (; i + kStep <= count; i += kStep, out += kStep * Codec::kBits / 8) {
    encode_step<Codec>(values + i, factor, out);
  }
  if (i < count) encode_rest<Codec>(values + i, count - i, factor, out);
  return counts;
}

template <class Codec>
HWY_INLINE void decode_group(const std::byte* codes, float* values, size_t count, float scale) {
  const VF factor = hn::Set(DF(), scale);
  const auto* in = reinterpret_cast<const uint8_t*>(codes);
  size_t i = 0;
  for (; i + kStep <= count; i += kStep, in += kStep * Codec::kBits / 8) {
    Codec::decode(in, factor, values + i);
  }
  if (i == count) return;
  uint8_t bytes[kStep * Codec::kBits / 8] = {};
  alignas(64) float padded[kStep];
  std::memcpy(bytes, in, ((count - i) * Codec::kBits + 7) / 8);
  Codec::decode(bytes, factor, padded);
  std::memcpy(reinterpret_cast<char*>(values) + 4 * i, padded, 4 * (count - i));
}

template <class Codec>
void measure(const float* values, size_t count, PlanarExtent& extent) {
  if constexpr (Codec::kBits == 1) {
    measure_sum(values, count, extent);
  } else {
    measure_peak<Codec::kBits == 4>(values, count, extent);
  }
}

template <class Codec>
EncodeCounts encode(const float* values, std::byte* codes, size_t count, float scale) {
  return encode_group<Codec>(values, codes, count, scale);
}

template <class Codec>
void decode(const std::byte* codes, float* values, size_t count, float scale) {
  decode_group<Codec>(codes, values, count, scale);
}

template <class Codec>
HWY_INLINE float group_scale(const float* values, size_t count) {
  if (Codec::kBits == 1 && count % kSums == 0) return mean_of_group(values, count);
  PlanarExtent extent;
  measure<Codec>(values, count, extent);
  return direct_planar_scale(Codec::kEncoding, extent);
}

template <class Codec>
EncodeCounts encode_groups(const float* values, std::byte* codes, float* scales, size_t count, size_t group) {
  EncodeCounts counts;
  auto* to = reinterpret_cast<std::byte*>(scales);
  for (size_t first = 0; first < count; first += group, to += sizeof(float)) {
    const size_t n = std::min(group, count - first);
    const float scale = group_scale<Codec>(values + first, n);
    std::memcpy(to, &scale, sizeof(scale));
    counts += encode_group<Codec>(values + first, codes + first * Codec::kBits / 8, n, scale);
  }
  return counts;
}

template <class Codec>
void decode_groups(const std::byte* codes, const float* scales, float* values, size_t count, size_t group) {
  const auto* from = reinterpret_cast<const std::byte*>(scales);
  for (size_t first = 0; first < count; first += group, from += sizeof(float)) {
    float scale;
    std::memcpy(&scale, from, sizeof(scale));
    decode_group<Codec>(codes + first * Codec::kBits / 8, values + first, std::min(group, count - first),
                        scale);
  }
}

template <class Codec>
const PlanarFunctions* functions() {
  static constexpr PlanarFunctions kFunctions{measure<Codec>, encode<Codec>, decode<Codec>,
                                              encode_groups<Codec>, decode_groups<Codec>};
  return &kFunctions;
}

const PlanarFunctions* find_planar(Encoding encoding) {
  switch (encoding) {
    case Encoding::kQ8_0:
      return functions<I8>();
    case Encoding::kQ4_0:
      return functions<I4>();
    case Encoding::kQ2_0:
      return functions<TwoBits<Encoding::kQ2_0, 2>>();
    case Encoding::kTQ2_0:
      return functions<TwoBits<Encoding::kTQ2_0, 1>>();
    default:
      return functions<I1>();
  }
}

#else
const PlanarFunctions* find_planar(Encoding) {
  return nullptr;
}
#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {

HWY_EXPORT(find_planar);
const PlanarFunctions* planar_functions(Encoding encoding) {
  return HWY_DYNAMIC_DISPATCH(find_planar)(encoding);
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE
