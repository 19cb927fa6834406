// Every kernel at every SIMD level against the reference codec: the same bytes, the same counts.
#include "lobit/kernels/codec.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/dtype/half.h"
#include "lobit/kernels/codec_test_support.h"
#include "lobit/kernels/simd.h"

namespace lobit::kernels {
namespace {

using enum Encoding;

constexpr Encoding kSources[] = {kF32, kF16, kBF16};

// The values as they lie in memory in F32, F16 or BF16.
ByteVector stored_as(Encoding source, const Floats& values) {
  ByteVector bytes(bytes_of(source, values.size()));
  for (size_t i = 0; i < values.size(); ++i) {
    if (source == kF32) {
      std::memcpy(&bytes[4 * i], &values[i], 4);
    } else {
      const uint16_t half = source == kF16 ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
      std::memcpy(&bytes[2 * i], &half, 2);
    }
  }
  return bytes;
}

Floats loaded_from(Encoding source, const ByteVector& bytes) {
  const uint32_t size = traits(source).block_bytes;
  Floats values(bytes.size() / size);
  for (size_t i = 0; i < values.size(); ++i) {
    if (source == kF32) {
      std::memcpy(&values[i], &bytes[4 * i], 4);
    } else {
      uint16_t half;
      std::memcpy(&half, &bytes[2 * i], 2);
      values[i] = source == kF16 ? f16_to_f32(half) : bf16_to_f32(half);
    }
  }
  return values;
}

std::string describe(SimdLevel level, Encoding from, Encoding to, size_t count) {
  return std::string(simd_level_name(level)) + " " + std::string(encoding_name(from)) + " -> " +
         std::string(encoding_name(to)) + ", " + std::to_string(count) + " values";
}

void expect_encodes_like_reference(Encoding from, Encoding to, const Floats& values) {
  const ByteVector source = stored_as(from, values);
  const size_t count = values.size();
  ByteVector expected(bytes_of(to, count));
  const EncodeCounts counts = reference::encode(to, loaded_from(from, source).data(), expected.data(), count);
  for (const SimdLevel level : simd_levels()) {
    SCOPED_TRACE(describe(level, from, to, count));
    const AtLevel at(level);
    const EncodeFn fn = encoder(from, to);
    ASSERT_NE(fn, nullptr);
    Guarded in(source);
    Guarded out(expected.size());
    const EncodeCounts got = fn(in.data(), out.data(), count);
    EXPECT_TRUE(out.intact());
    EXPECT_EQ(got.unrepresentable, counts.unrepresentable);
    EXPECT_EQ(got.flushed, counts.flushed);
    const auto [want, have] = std::ranges::mismatch(expected, std::span(out.data(), out.size));
    if (want == expected.end()) continue;
    const auto offset = static_cast<size_t>(want - expected.begin());
    const size_t block = offset / traits(to).block_bytes;
    ADD_FAILURE() << "byte " << offset % traits(to).block_bytes << " of block " << block << " is "
                  << int{*have} << ", not " << int{*want};
  }
}

// For every pair of a source and an encoding with a kernel.
void for_each_encoder(const std::function<void(Encoding from, Encoding to)>& body) {
  for (const EncodingTraits& to : all_encodings()) {
    if (!to.can_encode || to.encoding == kF32) continue;
    for (const Encoding from : kSources) {
      if (from != to.encoding) body(from, to.encoding);
    }
  }
}

TEST(SimdLevel, StartsAtTheBestAndRefusesOthers) {
  ASSERT_EQ(simd_levels().front(), SimdLevel::kScalar);
  EXPECT_EQ(simd_level(), simd_levels().back());
#if defined(__x86_64__)
  EXPECT_FALSE(set_simd_level(SimdLevel::kNeon));
#else
  EXPECT_FALSE(set_simd_level(SimdLevel::kAvx2));
#endif
  EXPECT_EQ(simd_level(), simd_levels().back());
}

TEST(SimdLevel, HasItsOwnFunctions) {
  std::vector<EncodeFn> encoders;
  std::vector<DecodeFn> decoders;
  for (const SimdLevel level : simd_levels()) {
    const AtLevel at(level);
    EXPECT_EQ(simd_level(), level);
    encoders.push_back(encoder(kF32, kQ8_0));
    decoders.push_back(decoder(kQ8_0));
  }
  EXPECT_EQ(simd_level(), simd_levels().back());
  std::ranges::sort(encoders, std::less<>());
  std::ranges::sort(decoders, std::less<>());
  EXPECT_EQ(std::ranges::adjacent_find(encoders), encoders.end());
  EXPECT_EQ(std::ranges::adjacent_find(decoders), decoders.end());
}

TEST(Encoder, ExistsForWhatCanBeEncoded) {
  for (const EncodingTraits& to : all_encodings()) {
    for (const EncodingTraits& from : all_encodings()) {
      const bool source = std::ranges::find(kSources, from.encoding) != std::end(kSources);
      const bool exists = source && to.can_encode && to.encoding != kF32 && from.encoding != to.encoding;
      EXPECT_EQ(encoder(from.encoding, to.encoding) != nullptr, exists) << from.name << " -> " << to.name;
    }
    EXPECT_EQ(decoder(to.encoding) != nullptr, to.can_decode && to.encoding != kF32) << to.name;
  }
}

TEST(Encoder, MatchesReferenceOnEveryDistribution) {
  for_each_encoder([](Encoding from, Encoding to) {
    uint32_t seed = 1;
    for (const Draw next : kDraws) expect_encodes_like_reference(from, to, draw(next, 4096, seed++));
  });
}

TEST(Encoder, MatchesReferenceOnEveryCount) {
  for_each_encoder([](Encoding from, Encoding to) {
    const size_t block = traits(to).block_elements;
    const size_t most = block == 1 ? 150 : 13;
    for (size_t blocks = 0; blocks <= most; ++blocks) {
      expect_encodes_like_reference(from, to, draw(normal, blocks * block, static_cast<uint32_t>(blocks)));
    }
  });
}

// Multiples of half a step, and the floats next to them, in blocks whose scale is a power of two.
TEST(Encoder, MatchesReferenceOnTies) {
  constexpr float kPeaks[] = {1.0f, 2.0f, 7.5f, 8.0f, 15.0f, 15.5f, 16.0f, 31.0f, 127.0f};
  Floats values;
  Random random(7);
  for (const float peak : kPeaks) {
    const auto steps = static_cast<uint32_t>(4 * peak);  // quarters
    for (size_t i = 0; i < 1024; ++i) {
      float v = (static_cast<float>(random() % (2 * steps + 1)) - static_cast<float>(steps)) * 0.25f;
      if (i % 8 == 2) v = v < 0.0f ? -0.5f : 0.5f;  // only below one half can adding a half round up
      if (i % 32 == 0) v = i % 64 == 0 ? peak : -peak;
      if (i % 32 == 1) v = 0.0f;
      const auto bits = std::bit_cast<uint32_t>(v);
      if (i % 3 == 1 && v != 0.0f) v = from_bits(bits - 1);
      if (i % 3 == 2 && std::fabs(v) < peak) v = from_bits(bits + 1);
      values.push_back(v * 0x1p-6f);
    }
  }
  for_each_encoder([&](Encoding from, Encoding to) { expect_encodes_like_reference(from, to, values); });
}

TEST(Encoder, MatchesReferenceWithNanAndInfAtEveryPosition) {
  constexpr uint32_t kSpecials[] = {0x7F800000, 0xFF800000, 0x7FC00000, 0xFF800001, 0x7F7FFFFF, 0x80000001};
  for_each_encoder([&](Encoding from, Encoding to) {
    const size_t block = std::max<size_t>(traits(to).block_elements, 32);
    for (const uint32_t special : kSpecials) {
      Floats values = draw(normal, 3 * block * block, special);
      // Two blocks of three stay plain.
      for (size_t i = 0; i < block; ++i) values[3 * i * block + i] = from_bits(special);
      expect_encodes_like_reference(from, to, values);
    }
  });
}

TEST(Encoder, MatchesReferenceOnEqualValues) {
  constexpr uint32_t kBits[] = {0,          0x80000000, 0x3F800000, 0xBF800000, 0x477FE000,
                                0x477FF000, 0xC77FF000, 0x00000001, 0x7F7FFFFF, 0x03AA2424};
  for_each_encoder([&](Encoding from, Encoding to) {
    for (const uint32_t bits : kBits) {
      expect_encodes_like_reference(from, to, Floats(2560, from_bits(bits)));
    }
  });
}

// The first of several extremes decides the sign of the scale, and the first zero that of a minimum.
TEST(Encoder, MatchesReferenceWhenTheFirstExtremeDecides) {
  Floats values;
  for (size_t first = 0; first < 32; ++first) {
    for (size_t i = 0; i < 64; ++i) {
      const float sign = first % 2 == 0 ? 1.0f : -1.0f;
      if (i < 32) values.push_back(i < first ? 0.25f : (i - first) % 2 == 0 ? sign : -sign);
      if (i >= 32) values.push_back(i - 32 < first ? 0.25f : (i - first) % 2 == 0 ? 0.0f : -0.0f);
    }
  }
  for_each_encoder([&](Encoding from, Encoding to) { expect_encodes_like_reference(from, to, values); });
}

// Each half, the midpoint to the next one, and the floats on both sides of them.
TEST(Encoder, RoundsToHalvesExactly) {
  Floats values;
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const auto h = static_cast<uint16_t>(half);
    for (const uint32_t bits :
         {std::bit_cast<uint32_t>(f16_to_f32(h)), std::bit_cast<uint32_t>(bf16_to_f32(h))}) {
      for (const uint32_t offset :
           {0u, 1u, 0xFFFu, 0x1000u, 0x1001u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFFFFFu}) {
        values.push_back(from_bits(bits + offset));
      }
    }
  }
  for (const Encoding from : kSources) {
    if (from != kF16) expect_encodes_like_reference(from, kF16, values);
    if (from != kBF16) expect_encodes_like_reference(from, kBF16, values);
  }
}

TEST(Encoder, RoundsAnyBitPatternExactly) {
  Random random(99);
  Floats values(size_t{1} << 20);
  for (float& v : values) v = from_bits(static_cast<uint32_t>(random()));
  expect_encodes_like_reference(kF32, kF16, values);
  expect_encodes_like_reference(kF32, kBF16, values);
}

TEST(Encoder, ConvertsHalvesInPlace) {
  ByteVector all(2 * 0x10000);
  for (size_t i = 0; i < 0x10000; ++i) {
    const auto half = static_cast<uint16_t>(i);
    std::memcpy(&all[2 * i], &half, 2);
  }
  for (const SimdLevel level : simd_levels()) {
    const AtLevel at(level);
    for (const auto& [from, to] : {std::pair(kF16, kBF16), std::pair(kBF16, kF16)}) {
      ByteVector expected(all.size());
      const EncodeCounts counts =
          reference::encode(to, loaded_from(from, all).data(), expected.data(), 0x10000);
      ByteVector values = all;
      const EncodeCounts got = encoder(from, to)(values.data(), values.data(), 0x10000);
      EXPECT_EQ(got.unrepresentable, counts.unrepresentable) << describe(level, from, to, 0x10000);
      EXPECT_TRUE(values == expected) << describe(level, from, to, 0x10000);
    }
  }
}

void expect_decodes_like_reference(Encoding from, const ByteVector& blocks, size_t count) {
  Floats expected(count);
  reference::decode(from, blocks.data(), expected.data(), count);
  for (const SimdLevel level : simd_levels()) {
    SCOPED_TRACE(describe(level, from, kF32, count));
    const AtLevel at(level);
    Guarded in(blocks);
    Guarded out(4 * count);
    decoder(from)(in.data(), reinterpret_cast<float*>(out.data()), count);
    EXPECT_TRUE(out.intact());
    const Floats got = loaded_from(kF32, ByteVector(out.data(), out.data() + out.size));
    for (size_t i = 0; i < count; ++i) {
      const bool same = std::bit_cast<uint32_t>(got[i]) == std::bit_cast<uint32_t>(expected[i]);
      // Which NaN a formula gives is not defined; for the plain 16-bit formats it is.
      const bool both_nan = traits(from).is_block() && std::isnan(got[i]) && std::isnan(expected[i]);
      if (same || both_nan) continue;
      ADD_FAILURE() << "value " << i << " is " << got[i] << ", not " << expected[i];
      break;
    }
  }
}

TEST(Decoder, MatchesReferenceOnAnyBytes) {
  Random random(5);
  for (const EncodingTraits& from : all_encodings()) {
    if (!from.can_decode || from.encoding == kF32) continue;
    for (const size_t blocks : {size_t{0}, size_t{1}, size_t{2}, size_t{3}, size_t{5}, size_t{600}}) {
      ByteVector bytes(blocks * from.block_bytes);
      for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
      expect_decodes_like_reference(from.encoding, bytes, blocks * from.block_elements);
    }
  }
}

// Random scales are large more often than not; these are what weights have.
TEST(Decoder, MatchesReferenceOnEncodedWeights) {
  for (const EncodingTraits& from : all_encodings()) {
    if (!from.can_encode || from.encoding == kF32) continue;
    const Floats values = draw(normal, 8192, 11);
    ByteVector bytes(bytes_of(from.encoding, values.size()));
    reference::encode(from.encoding, values.data(), bytes.data(), values.size());
    expect_decodes_like_reference(from.encoding, bytes, values.size());
  }
}

TEST(Decoder, ConvertsAllHalves) {
  ByteVector all(2 * 0x10000);
  for (size_t i = 0; i < 0x10000; ++i) {
    const auto half = static_cast<uint16_t>(i);
    std::memcpy(&all[2 * i], &half, 2);
  }
  expect_decodes_like_reference(kF16, all, 0x10000);
  expect_decodes_like_reference(kBF16, all, 0x10000);
}

DecodeFn decoder_at(SimdLevel level, Encoding from) {
  const AtLevel at(level);
  return decoder(from);
}

// Decoders may treat outputs beyond the caches differently; pieces of 64 KiB are what the tests above saw.
TEST(Decoder, GivesTheSameForLargeOutputs) {
  constexpr size_t kPiece = 16384;
  constexpr size_t kPieces = 520;  // 32.5 MiB
  Floats memory(kPieces * kPiece + 64);
  Floats piece(kPiece);
  const size_t aligned = (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64 / sizeof(float);
  for (const EncodingTraits& from : all_encodings()) {
    if (!from.can_decode || from.encoding == kF32) continue;
    const size_t piece_bytes = bytes_of(from.encoding, kPiece);
    ByteVector blocks(kPieces * piece_bytes);
    for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<uint8_t>((i * 0x9E3779B1u) >> 13);
    size_t offset = 0;  // from a cache line, in floats
    for (const SimdLevel level : simd_levels()) {
      const DecodeFn fn = decoder_at(level, from.encoding);
      if (fn == decoder_at(SimdLevel::kScalar, from.encoding)) continue;  // the reference, too slow for this
      for (const size_t start : {aligned, aligned + ++offset}) {
        float* out = &memory[start];
        out[kPieces * kPiece] = -1.0f;
        fn(blocks.data(), out, kPieces * kPiece);
        EXPECT_EQ(out[kPieces * kPiece], -1.0f);
        bool same = true;
        for (size_t i = 0; same && i < kPieces; i += 7) {
          fn(&blocks[i * piece_bytes], piece.data(), kPiece);
          same = std::memcmp(piece.data(), out + i * kPiece, kPiece * sizeof(float)) == 0;
        }
        EXPECT_TRUE(same) << describe(level, from.encoding, kF32, kPieces * kPiece) << " at "
                          << start - aligned;
      }
    }
  }
}

}  // namespace
}  // namespace lobit::kernels
