// The kernels that look for a better scale: the bytes of reference::encode_scaled() at every SIMD level, and
// an error that is never larger than the direct one.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include <gtest/gtest.h>

#include "lobit/dtype/block_codes.h"
#include "lobit/kernels/codec.h"
#include "lobit/kernels/codec_test_support.h"

namespace lobit::kernels {
namespace {

using enum Encoding;

constexpr Encoding kTargets[] = {kQ8_0, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ2_0, kTQ2_0, kTQ1_0};

float near_smallest_scale(Random& random) {  // scales that F16 rounds to subnormals and to zero
  return uniform(random) * 2e-6f;
}
float one_outlier(Random& random) {
  return random() % 200 == 0 ? 9.0f : 0.01f * uniform(random);
}
float heavy_tailed(Random& random) {
  const float divisor = uniform(random);
  return normal(random) / (0.02f + divisor * divisor);
}

std::vector<Draw> all_draws() {
  std::vector<Draw> draws(std::begin(kDraws), std::end(kDraws));
  draws.insert(draws.end(), {near_smallest_scale, one_outlier, heavy_tailed});
  return draws;
}

void expect_same_as_reference(Encoding to, const Floats& values) {
  ByteVector expected(bytes_of(to, values.size()));
  const EncodeCounts counts = reference::encode_scaled(to, values.data(), expected.data(), values.size());
  for (const SimdLevel level : simd_levels()) {
    SCOPED_TRACE(std::string(simd_level_name(level)) + " " + std::string(encoding_name(to)) + ", " +
                 std::to_string(values.size()) + " values");
    const AtLevel at(level);
    ByteVector source(values.size() * sizeof(float));
    if (!values.empty()) std::memcpy(source.data(), values.data(), source.size());
    Guarded in(source);
    Guarded out(expected.size());
    const EncodeCounts got = scaled_encoder(to)(in.data(), out.data(), values.size());
    EXPECT_TRUE(out.intact());
    EXPECT_EQ(got.unrepresentable, counts.unrepresentable);
    EXPECT_EQ(got.flushed, counts.flushed);
    const auto [want, have] = std::ranges::mismatch(expected, std::span(out.data(), out.size));
    if (want == expected.end()) continue;
    const auto offset = static_cast<size_t>(want - expected.begin());
    ADD_FAILURE() << "byte " << offset % traits(to).block_bytes << " of block "
                  << offset / traits(to).block_bytes << " is " << int{*have} << ", not " << int{*want};
  }
}

double squared_error(const float* a, const float* b, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) {
    const double difference = double{a[i]} - b[i];
    sum += difference * difference;
  }
  return sum;
}

double normalized_error(Encoding to, EncodeFn encode, const Floats& values) {
  ByteVector blocks(bytes_of(to, values.size()));
  encode(values.data(), blocks.data(), values.size());
  Floats decoded(values.size());
  reference::decode(to, blocks.data(), decoded.data(), values.size());
  const Floats zeros(values.size());
  return squared_error(values.data(), decoded.data(), values.size()) /
         squared_error(values.data(), zeros.data(), values.size());
}

TEST(ScaledEncoder, ExistsWhereThereAreIntegerCodes) {
  for (const SimdLevel level : simd_levels()) {
    const AtLevel at(level);
    for (const EncodingTraits& to : all_encodings()) {
      const bool searched = code_range(to.encoding) || affine_top_code(to.encoding);
      EXPECT_EQ(scaled_encoder(to.encoding) != nullptr, searched) << to.name;
    }
  }
}

TEST(ScaledEncoder, MatchesReferenceOnEveryDistribution) {
  for (const Encoding to : kTargets) {
    uint32_t seed = 1;
    for (const Draw next : all_draws()) expect_same_as_reference(to, draw(next, 8192, seed++));
  }
}

TEST(ScaledEncoder, MatchesReferenceOnEveryCount) {
  for (const Encoding to : kTargets) {
    for (uint32_t blocks = 0; blocks <= 35; ++blocks) {
      expect_same_as_reference(to, draw(normal, blocks * traits(to).block_elements, blocks));
    }
  }
}

TEST(ScaledEncoder, MatchesReferenceOnEqualValues) {
  constexpr uint32_t kBits[] = {0,          0x80000000, 0x3F800000, 0xBF800000, 0x477FE000,
                                0x477FF000, 0xC77FF000, 0x00000001, 0x7F7FFFFF, 0x03AA2424};
  for (const Encoding to : kTargets) {
    for (const uint32_t bits : kBits) expect_same_as_reference(to, Floats(2560, from_bits(bits)));
  }
}

// Beside plain groups, at every position of a group.
TEST(ScaledEncoder, LeavesGroupsWithNanAndInfToTheDirectRule) {
  constexpr uint32_t kSpecials[] = {0x7F800000, 0xFF800000, 0x7FC00000, 0xFF800001, 0x7F7FFFFF};
  for (const Encoding to : kTargets) {
    const size_t block = traits(to).block_elements;
    for (const uint32_t special : kSpecials) {
      Floats values = draw(normal, 3 * block * block, special);
      for (size_t i = 0; i < block; ++i) values[3 * i * block + i] = from_bits(special);
      expect_same_as_reference(to, values);
      ByteVector direct(bytes_of(to, values.size()));
      ByteVector scaled = direct;
      const EncodeCounts counts = encoder(kF32, to)(values.data(), direct.data(), values.size());
      EXPECT_EQ(scaled_encoder(to)(values.data(), scaled.data(), values.size()).unrepresentable,
                counts.unrepresentable);
      const size_t bytes = traits(to).block_bytes;
      for (size_t i = 0; i < block; ++i) {
        EXPECT_EQ(std::memcmp(&scaled[3 * i * bytes], &direct[3 * i * bytes], bytes), 0);
      }
    }
  }
}

TEST(ScaledEncoder, NeverErrsMoreThanTheDirectRule) {
  for (const Encoding to : kTargets) {
    const size_t block = traits(to).block_elements;
    uint32_t seed = 100;
    for (const Draw next : all_draws()) {
      const Floats values = draw(next, 16384, seed++);
      ByteVector direct(bytes_of(to, values.size()));
      ByteVector scaled = direct;
      encoder(kF32, to)(values.data(), direct.data(), values.size());
      scaled_encoder(to)(values.data(), scaled.data(), values.size());
      Floats before(values.size());
      Floats after(values.size());
      reference::decode(to, direct.data(), before.data(), values.size());
      reference::decode(to, scaled.data(), after.data(), values.size());
      for (size_t i = 0; i < values.size(); i += block) {
        const double was = squared_error(&values[i], &before[i], block);
        if (!std::isfinite(was)) continue;
        EXPECT_LE(squared_error(&values[i], &after[i], block), was) << encoding_name(to) << " group " << i;
      }
    }
  }
}

TEST(ScaledEncoder, StoresTernaryValuesWithoutError) {
  constexpr float kValue = 0x1.8p-5f;
  for (const Encoding to : {kQ2_0, kTQ2_0, kTQ1_0}) {
    for (const unsigned one_in : {2u, 3u, 50u}) {
      Random random(one_in);
      Floats values(4096);
      for (float& v : values) {
        v = random() % one_in != 0 ? 0.0f : random() % 2 == 0 ? kValue : -kValue;
      }
      EXPECT_EQ(normalized_error(to, scaled_encoder(to), values), 0.0) << encoding_name(to) << one_in;
    }
  }
}

// Of bell-shaped weights; the direct rule's are 2.85e-5, 7.4e-3, 6.1e-3, 1.8e-3, 1.43e-3, 0.51, 0.65.
TEST(ScaledEncoder, ReachesItsErrors) {
  const Floats values = draw(normal, size_t{1} << 18, 7);
  const auto error = [&](Encoding to) { return normalized_error(to, scaled_encoder(to), values); };
  EXPECT_LT(error(kQ8_0), 2.25e-5);
  EXPECT_LT(error(kQ4_0), 6.5e-3);
  EXPECT_LT(error(kQ4_1), 4.8e-3);
  EXPECT_LT(error(kQ5_0), 1.6e-3);
  EXPECT_LT(error(kQ5_1), 1.12e-3);
  EXPECT_LT(error(kQ2_0), 0.124);
  EXPECT_LT(error(kTQ2_0), 0.189);
  EXPECT_EQ(error(kTQ1_0), error(kTQ2_0));
}

}  // namespace
}  // namespace lobit::kernels
