// The planar kernels at every SIMD level against the reference, and the reference against arithmetic of its
// own kind: double precision and one bit at a time.
#include "lobit/kernels/planar.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/dtype/value_format.h"
#include "lobit/kernels/simd.h"

namespace lobit::kernels {
namespace {

using enum Encoding;
using Floats = std::vector<float>;
using ByteVector = std::vector<std::byte>;

constexpr Encoding kPlanar[] = {kQ8_0, kQ4_0, kQ2_0, kQ1_0, kTQ2_0};
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Runs the body at every level, and once more at the level before.
template <typename Body>
void at_every_level(Body body) {
  const SimdLevel before = simd_level();
  for (const SimdLevel level : simd_levels()) {
    SCOPED_TRACE(std::string(simd_level_name(level)));
    ASSERT_TRUE(set_simd_level(level));
    body();
  }
  ASSERT_TRUE(set_simd_level(before));
}

std::string describe(Encoding encoding, size_t count, size_t group) {
  return std::string(encoding_name(encoding)) + ", " + std::to_string(count) + " values in groups of " +
         std::to_string(group);
}

size_t code_bytes(Encoding encoding, size_t count) {
  return (count * planar_bits(encoding) + 7) / 8;
}

Floats weights(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  Floats values(count);
  for (float& v : values) {
    int sum = -4 * 32768;
    for (int i = 0; i < 4; ++i) sum += static_cast<int>(random() % 65536);
    v = static_cast<float>(sum) * 0x1p-21f;
  }
  return values;
}

// Codes, one a value, and scale of a group as the rules say, in double precision where that is exact enough
// to decide: the peers' own order of roundings is F32 for the scale, its reciprocal and the product.
struct Expected {
  float scale = 0;
  std::vector<int> codes;
};

Expected expected_group(Encoding encoding, const Floats& x) {
  Expected e;
  double largest = 0;
  double sum = 0;
  for (const float v : x) {
    if (std::fabs(static_cast<double>(v)) > std::fabs(largest)) largest = v;
    sum += std::fabs(static_cast<double>(v));
  }
  const double scale = encoding == kQ8_0   ? std::fabs(largest) / 127
                       : encoding == kQ4_0 ? largest / -8
                       : encoding == kQ1_0 ? sum / static_cast<double>(x.size())
                                           : std::fabs(largest);
  e.scale = static_cast<float>(scale);
  const auto reciprocal = static_cast<float>(1.0 / static_cast<double>(e.scale));
  for (const float v : x) {
    const auto scaled = static_cast<double>(static_cast<float>(static_cast<double>(v) * reciprocal));
    const double away = std::trunc(scaled + (scaled < 0 ? -0.5 : 0.5));
    int code = v >= 0 ? 1 : 0;
    if (encoding == kQ8_0) code = static_cast<int>(away) & 0xFF;
    if (encoding == kQ4_0) {
      code = std::min(15, static_cast<int>(std::floor(static_cast<float>(scaled + 8.5))));
    }
    if (encoding == kQ2_0 || encoding == kTQ2_0) code = static_cast<int>(away) + 1;
    e.codes.push_back(code);
  }
  return e;
}

ByteVector packed(Encoding encoding, const std::vector<int>& codes) {
  const uint32_t bits = planar_bits(encoding);
  ByteVector bytes(code_bytes(encoding, codes.size()));
  for (size_t bit = 0; bit < codes.size() * bits; ++bit) {
    const auto set = static_cast<unsigned>(codes[bit / bits]) >> (bit % bits) & 1u;
    bytes[bit / 8] |= static_cast<std::byte>(set << (bit % 8));
  }
  return bytes;
}

TEST(Planar, EqualsIndependentArithmeticForEveryLength) {
  for (const Encoding encoding : kPlanar) {
    for (size_t count = 1; count <= 257; ++count) {
      const Floats x = weights(count, static_cast<uint32_t>(count));
      for (const size_t group : {size_t{32}, size_t{64}, size_t{128}, count}) {
        std::vector<int> codes;
        Floats scales;
        for (size_t first = 0; first < count; first += group) {
          const auto begin = x.begin() + static_cast<ptrdiff_t>(first);
          const Expected e = expected_group(
              encoding, Floats(begin, begin + static_cast<ptrdiff_t>(std::min(group, count - first))));
          codes.insert(codes.end(), e.codes.begin(), e.codes.end());
          scales.push_back(e.scale);
        }
        const ByteVector want = packed(encoding, codes);
        at_every_level([&] {
          ByteVector got(want.size(), std::byte{0xEE});
          Floats got_scales(scales.size(), kNan);
          const EncodeCounts counts =
              encode_planar_groups(encoding, x.data(), got.data(), got_scales.data(), count, group);
          EXPECT_EQ(got_scales, scales) << describe(encoding, count, group);
          EXPECT_EQ(got, want) << describe(encoding, count, group);
          EXPECT_EQ(counts.unrepresentable + counts.flushed, 0u);
          Floats back(count, kNan);
          decode_planar_groups(encoding, got.data(), got_scales.data(), back.data(), count, group);
          for (size_t i = 0; i < count; ++i) {
            const int bias = encoding == kQ4_0 ? 8 : encoding == kQ8_0 ? 0 : 1;
            int q = (encoding == kQ8_0 ? static_cast<int8_t>(codes[i]) : codes[i]) - bias;
            if (encoding == kQ1_0) q = 2 * codes[i] - 1;
            ASSERT_EQ(back[i], static_cast<float>(q) * scales[i / group]) << describe(encoding, count, group);
          }
        });
      }
    }
  }
}

// Every kernel against the reference.
void expect_like_reference(Encoding encoding, const Floats& x) {
  PlanarExtent whole;
  reference::measure_planar(encoding, x.data(), x.size(), whole);
  const float scale = direct_planar_scale(encoding, whole);
  ByteVector codes(code_bytes(encoding, x.size()));
  const EncodeCounts counts = reference::encode_planar(encoding, x.data(), codes.data(), x.size(), scale);
  Floats values(x.size());
  reference::decode_planar(encoding, codes.data(), values.data(), x.size(), scale);
  at_every_level([&] {
    SCOPED_TRACE(describe(encoding, x.size(), x.size()));
    // NaN scales do not occur: an Inf or NaN among the values gives +Inf.
    EXPECT_EQ(planar_scale_direct(encoding, x.data(), x.size()), scale);
    ByteVector got(codes.size() + 1, std::byte{0xEE});
    const EncodeCounts got_counts = encode_planar(encoding, x.data(), got.data(), x.size(), scale);
    EXPECT_EQ(got_counts.unrepresentable, counts.unrepresentable);
    EXPECT_EQ(got_counts.flushed, counts.flushed);
    EXPECT_EQ(got.back(), std::byte{0xEE}) << "wrote behind the codes";
    got.pop_back();
    EXPECT_EQ(got, codes);
    Floats back(x.size() + 1, 7.0f);
    decode_planar(encoding, codes.data(), back.data(), x.size(), scale);
    EXPECT_EQ(back.back(), 7.0f) << "wrote behind the values";
    back.pop_back();
    for (size_t i = 0; i < x.size(); ++i) {
      if (std::isnan(values[i])) {
        EXPECT_TRUE(std::isnan(back[i]));
      } else {
        ASSERT_EQ(back[i], values[i]) << i;
      }
    }
  });
}

TEST(Planar, MatchesReferenceOnUnusualGroups) {
  const Floats usual = weights(77, 5);
  const auto with = [&](float value) {
    Floats x = usual;
    x[40] = value;
    return x;
  };
  const auto times = [&](float factor) {
    Floats x = usual;
    for (float& v : x) v *= factor;
    return x;
  };
  const Floats signs{-0.5f, 0.5f, 0.25f, -0.0f, 0.0f};
  Floats late(90, 0.125f);
  late[70] = 1.0f;
  late[71] = -1.0f;
  const Floats groups[] = {usual,         with(kNan),          with(kInf),        with(-kInf),
                           with(3.4e38f), with(-1e30f),        times(1e-36f),     times(1e-38f),
                           times(1e-44f), Floats(65, 0.0f),    Floats(33, -0.0f), signs,
                           late,          Floats(40, 3.4e38f), Floats(1, -2.5f)};
  for (const Encoding encoding : kPlanar) {
    for (const Floats& x : groups) expect_like_reference(encoding, x);
  }
}

TEST(Planar, MatchesReferenceOnTies) {
  for (const Encoding encoding : kPlanar) {
    std::mt19937 random(3);
    for (const float peak : {1.0f, 8.0f, -8.0f, 127.0f}) {
      Floats x{peak};
      for (int i = 0; i < 500; ++i) {
        const auto quarters = static_cast<float>(static_cast<int>(random() % 1017) - 508) * 0.25f;
        const float v = quarters * std::fabs(peak) / 127.0f;
        x.push_back(i % 3 == 0 ? v : std::nextafterf(v, i % 3 == 1 ? kInf : -kInf));
      }
      expect_like_reference(encoding, x);
    }
  }
}

TEST(Planar, ScalesDoNotDependOnPieces) {
  const Floats x = weights(1000, 11);
  for (const Encoding encoding : kPlanar) {
    const float whole = planar_scale_direct(encoding, x.data(), x.size());
    at_every_level([&] {
      for (const size_t piece : {size_t{1}, size_t{7}, size_t{16}, size_t{40}, size_t{999}}) {
        PlanarExtent extent;
        for (size_t first = 0; first < x.size(); first += piece) {
          measure_planar(encoding, x.data() + first, std::min(piece, x.size() - first), extent);
        }
        EXPECT_EQ(direct_planar_scale(encoding, extent), whole) << encoding_name(encoding) << " by " << piece;
        EXPECT_EQ(extent.count, x.size());
      }
    });
  }
}

TEST(Planar, ClipsWhatAScaleIsTooSmallFor) {
  const Floats x(40, 100.0f);
  Floats y = x;
  for (float& v : y) v = -v;
  at_every_level([&] {
    for (const Encoding encoding : kPlanar) {
      ByteVector codes(code_bytes(encoding, x.size()));
      Floats back(x.size());
      encode_planar(encoding, x.data(), codes.data(), x.size(), 1e-30f);
      decode_planar(encoding, codes.data(), back.data(), x.size(), 1.0f);
      const float most = encoding == kQ8_0   ? 127.0f
                         : encoding == kQ4_0 ? 7.0f
                         : encoding == kQ2_0 ? 2.0f
                                             : 1.0f;
      EXPECT_EQ(back, Floats(x.size(), most)) << encoding_name(encoding);
      encode_planar(encoding, y.data(), codes.data(), y.size(), 1e-30f);
      decode_planar(encoding, codes.data(), back.data(), y.size(), 1.0f);
      const float least = encoding == kQ8_0 ? -127.0f : encoding == kQ4_0 ? -8.0f : -1.0f;
      EXPECT_EQ(back, Floats(x.size(), least)) << encoding_name(encoding);
    }
  });
}

TEST(Planar, RequantizingWhatWasQuantizedChangesNothing) {
  for (const Encoding encoding : kPlanar) {
    for (uint32_t seed = 0; seed < 300; ++seed) {
      const size_t count = 1 + seed % 97;
      const Floats x = weights(count, seed);
      const size_t group = seed % 2 == 0 ? 32 : count;
      ByteVector codes(code_bytes(encoding, count));
      ByteVector again(codes.size());
      Floats scales((count - 1) / group + 1);
      Floats scales_again(scales.size());
      Floats back(count);
      encode_planar_groups(encoding, x.data(), codes.data(), scales.data(), count, group);
      decode_planar_groups(encoding, codes.data(), scales.data(), back.data(), count, group);
      encode_planar_groups(encoding, back.data(), again.data(), scales_again.data(), count, group);
      EXPECT_EQ(again, codes) << describe(encoding, count, group);
      EXPECT_EQ(scales_again, scales) << describe(encoding, count, group);
    }
  }
}

TEST(Planar, FindsTheCodeThatMeansNothing) {
  ByteVector codes(100, std::byte{0b10011000});  // -1, +1, 0, +1
  EXPECT_EQ(first_invalid_planar(kTQ2_0, codes.data(), 400), 400u);
  codes[50] = std::byte{0b00110000};
  EXPECT_EQ(first_invalid_planar(kTQ2_0, codes.data(), 400), 202u);
  EXPECT_EQ(first_invalid_planar(kTQ2_0, codes.data(), 202), 202u);
  EXPECT_EQ(first_invalid_planar(kQ2_0, codes.data(), 400), 400u);
}

}  // namespace
}  // namespace lobit::kernels
