#include "lobit/kernels/codec.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "lobit/dtype/half.h"
#include "lobit/kernels/cpu/families.h"
#include "lobit/kernels/simd.h"

namespace lobit::kernels {
namespace {

using enum Encoding;

// F32 values on the stack between a 16-bit source and the reference encoder; a multiple of every block.
constexpr size_t kTile = 512;

template <Encoding kFrom>
void load_tile(const std::byte* values, float* tile, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, values + 2 * i, sizeof(bits));
    tile[i] = kFrom == kF16 ? f16_to_f32(bits) : bf16_to_f32(bits);
  }
}

template <Encoding kFrom, Encoding kTo>
EncodeCounts encode_by_reference(const void* values, void* blocks, size_t count) {
  const auto* in = static_cast<const std::byte*>(values);
  auto* out = static_cast<std::byte*>(blocks);
  const EncodingTraits& to = traits(kTo);
  std::array<float, kTile> tile;
  EncodeCounts counts;
  for (size_t done = 0; done < count; done += kTile) {
    const size_t n = std::min(kTile, count - done);
    if constexpr (kFrom == kF32) {
      std::memcpy(tile.data(), in + 4 * done, 4 * n);
    } else {
      load_tile<kFrom>(in + 2 * done, tile.data(), n);
    }
    counts += reference::encode(kTo, tile.data(), out + done / to.block_elements * to.block_bytes, n);
  }
  return counts;
}

template <Encoding kFrom>
void decode_by_reference(const void* blocks, float* values, size_t count) {
  reference::decode(kFrom, blocks, values, count);
}

template <Encoding kTo>
EncodeFn reference_encoder_from(Encoding from) {
  if (from == kF32) return encode_by_reference<kF32, kTo>;
  if (from == kF16) return encode_by_reference<kF16, kTo>;
  return encode_by_reference<kBF16, kTo>;
}

EncodeFn reference_encoder(Encoding from, Encoding to) {
  switch (to) {
    case kF16:
      return reference_encoder_from<kF16>(from);
    case kBF16:
      return reference_encoder_from<kBF16>(from);
    case kQ8_0:
      return reference_encoder_from<kQ8_0>(from);
    case kQ4_0:
      return reference_encoder_from<kQ4_0>(from);
    case kQ4_1:
      return reference_encoder_from<kQ4_1>(from);
    case kQ5_0:
      return reference_encoder_from<kQ5_0>(from);
    case kQ5_1:
      return reference_encoder_from<kQ5_1>(from);
    case kQ2_0:
      return reference_encoder_from<kQ2_0>(from);
    case kQ1_0:
      return reference_encoder_from<kQ1_0>(from);
    case kTQ2_0:
      return reference_encoder_from<kTQ2_0>(from);
    case kTQ1_0:
      return reference_encoder_from<kTQ1_0>(from);
    default:
      return nullptr;
  }
}

DecodeFn reference_decoder(Encoding from) {
  constexpr std::array<DecodeFn, static_cast<size_t>(kQ8_K) + 1> kDecoders{
      nullptr,
      decode_by_reference<kF16>,
      decode_by_reference<kBF16>,
      decode_by_reference<kQ8_0>,
      decode_by_reference<kQ4_0>,
      decode_by_reference<kQ4_1>,
      decode_by_reference<kQ5_0>,
      decode_by_reference<kQ5_1>,
      decode_by_reference<kQ2_0>,
      decode_by_reference<kQ1_0>,
      decode_by_reference<kTQ2_0>,
      decode_by_reference<kTQ1_0>,
      decode_by_reference<kQ2_K>,
      decode_by_reference<kQ3_K>,
      decode_by_reference<kQ4_K>,
      decode_by_reference<kQ5_K>,
      decode_by_reference<kQ6_K>,
      decode_by_reference<kQ8_K>,
  };
  const auto index = static_cast<size_t>(from);
  return index < kDecoders.size() ? kDecoders[index] : nullptr;
}

template <Encoding kTo>
EncodeCounts encode_scaled_by_reference(const void* values, void* blocks, size_t count) {
  return reference::encode_scaled(kTo, static_cast<const float*>(values), blocks, count);
}

EncodeFn reference_scaled_encoder(Encoding to) {
  switch (to) {
    case kQ8_0:
      return encode_scaled_by_reference<kQ8_0>;
    case kQ4_0:
      return encode_scaled_by_reference<kQ4_0>;
    case kQ4_1:
      return encode_scaled_by_reference<kQ4_1>;
    case kQ5_0:
      return encode_scaled_by_reference<kQ5_0>;
    case kQ5_1:
      return encode_scaled_by_reference<kQ5_1>;
    case kQ2_0:
      return encode_scaled_by_reference<kQ2_0>;
    case kTQ2_0:
      return encode_scaled_by_reference<kTQ2_0>;
    case kTQ1_0:
      return encode_scaled_by_reference<kTQ1_0>;
    default:
      return nullptr;
  }
}

constexpr std::array kEncoderFamilies{float16_encoder, q8_encoder, q4_q5_encoder,
                                      ternary_encoder, q2_encoder, q1_encoder};
constexpr std::array kScaledFamilies{q8_scaled_encoder, q4_q5_scaled_encoder, ternary_scaled_encoder,
                                     q2_scaled_encoder};
constexpr std::array kDecoderFamilies{float16_decoder, q8_decoder, q4_q5_decoder, ternary_decoder,
                                      q2_decoder,      q1_decoder, kquant_decoder};

}  // namespace

EncodeFn encoder(Encoding from, Encoding to) {
  if (from != kF32 && from != kF16 && from != kBF16) return nullptr;
  if (from == to || to == kF32 || !traits(to).can_encode) return nullptr;
  if (simd_level() != SimdLevel::kScalar) {
    for (const auto family : kEncoderFamilies) {
      if (const EncodeFn fn = family(from, to)) return fn;
    }
  }
  return reference_encoder(from, to);
}

EncodeFn scaled_encoder(Encoding to) {
  if (simd_level() != SimdLevel::kScalar) {
    for (const auto family : kScaledFamilies) {
      if (const EncodeFn fn = family(to)) return fn;
    }
  }
  return reference_scaled_encoder(to);
}

DecodeFn decoder(Encoding from) {
  if (from == kF32 || !traits(from).can_decode) return nullptr;
  if (simd_level() != SimdLevel::kScalar) {
    for (const auto family : kDecoderFamilies) {
      if (const DecodeFn fn = family(from)) return fn;
    }
  }
  return reference_decoder(from);
}

size_t first_invalid_block(Encoding encoding, const void* blocks, size_t block_count) {
  if (encoding != kTQ2_0) return block_count;
  size_t valid = 0;
  if (simd_level() != SimdLevel::kScalar) {
    if (const ValidBlocksFn fn = tq2_0_valid_blocks()) valid = fn(blocks, block_count);
  }
  const auto* rest = static_cast<const std::byte*>(blocks) + valid * traits(kTQ2_0).block_bytes;
  return valid + reference::first_invalid_block(kTQ2_0, rest, block_count - valid);
}

}  // namespace lobit::kernels
