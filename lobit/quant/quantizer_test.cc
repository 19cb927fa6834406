// The methods against each other, against a dense scan and against the errors that they promise.
#include "lobit/quant/quantizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "lobit/dtype/block_codes.h"
#include "lobit/dtype/half.h"
#include "lobit/kernels/codec_test_support.h"
#include "lobit/quant/scale_solver.h"

namespace lobit {
namespace {

using enum Encoding;
using enum QuantizeMethod;
using kernels::ByteVector;
using kernels::Draw;
using kernels::Floats;
using kernels::Random;

constexpr Encoding kTargets[] = {kQ8_0, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ2_0, kTQ2_0, kTQ1_0};

float constant(Random&) {
  return -0.3f;
}
float one_outlier(Random& random) {
  return random() % 200 == 0 ? 9.0f : 0.01f * kernels::uniform(random);
}
// Student's t with five degrees of freedom: a bell over the root of a mean of squares.
float student_t5(Random& random) {
  float squares = 0;
  for (int i = 0; i < 5; ++i) {
    const float v = kernels::normal(random) * 35.0f;
    squares += v * v;
  }
  return kernels::normal(random) / std::sqrt(squares / 5);
}
constexpr Draw kDistributions[] = {kernels::normal, kernels::ternary, constant, one_outlier, student_t5};

ByteVector encoded(Encoding to, QuantizeMethod method, const Floats& values) {
  ByteVector blocks(kernels::bytes_of(to, values.size()));
  quantizer(to, method)(values.data(), blocks.data(), values.size());
  return blocks;
}

Floats stored(Encoding to, QuantizeMethod method, const Floats& values) {
  Floats decoded(values.size());
  reference::decode(to, encoded(to, method, values).data(), decoded.data(), values.size());
  return decoded;
}

double squared_error(const float* a, const float* b, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) {
    const double difference = double{a[i]} - b[i];
    sum += difference * difference;
  }
  return sum;
}

double normalized_error(Encoding to, QuantizeMethod method, const Floats& values) {
  const Floats zeros(values.size());
  return squared_error(values.data(), stored(to, method, values).data(), values.size()) /
         squared_error(values.data(), zeros.data(), values.size());
}

TEST(Quantizer, NoMethodErrsMoreThanTheCheaperOne) {
  for (const Encoding to : kTargets) {
    const size_t block = traits(to).block_elements;
    uint32_t seed = 5;
    for (const Draw next : kDistributions) {
      const Floats values = kernels::draw(next, (17 * seed % 41 + 1) * block, seed);
      ++seed;
      const Floats direct = stored(to, kDirect, values);
      const Floats scaled = stored(to, kScaled, values);
      const Floats exact = stored(to, kExact, values);
      for (size_t i = 0; i < values.size(); i += block) {
        const double after_scaled = squared_error(&values[i], &scaled[i], block);
        EXPECT_LE(after_scaled, squared_error(&values[i], &direct[i], block)) << encoding_name(to) << i;
        EXPECT_LE(squared_error(&values[i], &exact[i], block), after_scaled) << encoding_name(to) << i;
      }
    }
  }
}

// The least squared error over every F16 scale whose inverse gives the peak a code between the limits.
double least_error(const float* x, size_t count, CodeRange range, double lowest_code) {
  float peak = 0;
  for (size_t i = 0; i < count; ++i) peak = std::max(peak, std::fabs(x[i]));
  double least = INFINITY;
  for (uint32_t half = 1; half < 0x7C00; ++half) {
    const double magnitude = f16_to_f32(static_cast<uint16_t>(half));
    if (peak / magnitude < lowest_code || peak / magnitude > 8 * range.high + 8) continue;
    for (const double scale : {magnitude, -magnitude}) {
      double error = 0;
      for (size_t i = 0; i < count; ++i) {
        const double code = std::clamp(std::round(x[i] / scale), double(range.low), double(range.high));
        error += (x[i] - scale * code) * (x[i] - scale * code);
      }
      least = std::min(least, error);
    }
  }
  return least;
}

// Of Q8_0 only the scales that give the peak at least the code 100 are compared, and there rounding the scale
// to F16 can turn the order of two assignments that are nearly as good.
TEST(ExactQuantizer, FindsTheBestOfAllF16Scales) {
  for (const Encoding to : {kQ8_0, kQ4_0, kQ5_0, kQ2_0, kTQ2_0}) {
    const size_t block = traits(to).block_elements;
    for (const Draw next : {Draw{kernels::normal}, Draw{student_t5}, Draw{one_outlier}}) {
      const size_t groups = to == kTQ2_0 ? 2 : 6;
      const Floats values = kernels::draw(next, groups * block, 11);
      const Floats exact = stored(to, kExact, values);
      for (size_t i = 0; i < values.size(); i += block) {
        const double error = squared_error(&values[i], &exact[i], block);
        const double least = least_error(&values[i], block, *code_range(to), to == kQ8_0 ? 100 : 0.25);
        EXPECT_LE(error, least * (to == kQ8_0 ? 1.001 : 1 + 1e-12))
            << encoding_name(to) << " group " << i / block;
      }
    }
  }
}

TEST(ExactScale, IsTheBestOfADenseScanWithoutRounding) {
  std::vector<uint64_t> workspace(workspace_size(12, {-8, 7}));
  for (uint32_t seed = 0; seed < 50; ++seed) {
    const Floats x = kernels::draw(kernels::normal, 12, seed);
    const double d = exact_scale(x, {-8, 7}, {0, INFINITY}, workspace);
    const auto error = [&](double scale) {
      double sum = 0;
      for (const float v : x) {
        const double code = std::clamp(std::round(v / scale), -8.0, 7.0);
        sum += (v - scale * code) * (v - scale * code);
      }
      return sum;
    };
    double least = INFINITY;
    for (int i = 1; i <= 20000; ++i) least = std::min({least, error(i * 5e-6), error(i * -5e-6)});
    EXPECT_LE(error(d), least);
    EXPECT_GT(error(d), 0.95 * least);
  }
}

TEST(ExactScale, OfZerosIsZero) {
  const Floats zeros(8);
  std::vector<uint64_t> workspace(workspace_size(8, {-1, 2}));
  std::vector<uint32_t> magnitudes(8);
  EXPECT_EQ(exact_scale(zeros, {-1, 2}, {0, INFINITY}, workspace), 0.0);
  EXPECT_EQ(exact_ternary_scale(zeros, magnitudes), 0.0);
}

// Whatever scale and codes a block has, its values come back.
TEST(ExactQuantizer, KeepsValuesThatItCanRepresent) {
  Random random(21);
  for (const Encoding to : kTargets) {
    if (affine_top_code(to)) continue;
    const size_t block = traits(to).block_elements;
    const CodeRange range = *code_range(to);
    for (int round = 0; round < 200; ++round) {
      const auto scale = static_cast<uint16_t>(0x1000 + random() % 0x4000);
      const int most = 1 + static_cast<int>(random() % static_cast<unsigned>(range.high));
      std::vector<int8_t> codes(block);
      for (int8_t& code : codes) {
        const int any = static_cast<int>(random() % static_cast<unsigned>(most + 1 - range.low)) + range.low;
        code = static_cast<int8_t>(std::clamp(any, std::max(range.low, -most), most));
      }
      ByteVector bytes(traits(to).block_bytes);
      store_block(to, scale, codes.data(), bytes.data());
      Floats values(block);
      reference::decode(to, bytes.data(), values.data(), block);
      EXPECT_EQ(stored(to, kExact, values), values) << encoding_name(to) << " scale " << scale;
    }
  }
}

TEST(ExactQuantizer, KeepsValuesThatAMinimumCanRepresent) {
  Random random(22);
  for (const Encoding to : {kQ4_1, kQ5_1}) {
    for (unsigned round = 0; round < 200; ++round) {
      // The minimum is between a 64th and 512 times the scale, so that F32 rounds no value.
      const auto scale = static_cast<uint16_t>(0x1C00 + random() % 0x3000);
      const auto minimum = static_cast<uint16_t>(random() % 2 * 0x8000 + scale - 0x1800 + random() % 0x3C00);
      const auto top = static_cast<unsigned>(*affine_top_code(to));
      const auto low = static_cast<unsigned>(random() % top);
      std::array<uint8_t, 32> codes;
      for (uint8_t& code : codes) code = static_cast<uint8_t>(low + random() % (top - low + 1));
      ByteVector bytes(traits(to).block_bytes);
      store_affine_block(to, scale, minimum, codes.data(), bytes.data());
      Floats values(codes.size());
      reference::decode(to, bytes.data(), values.data(), values.size());
      EXPECT_EQ(stored(to, kExact, values), values) << encoding_name(to) << " scale " << scale;
    }
  }
}

// The least squared error of a scan over scales and minima without rounding.
double least_affine_error(const float* x, double top) {
  const auto [min, max] = std::minmax_element(x, x + 32);
  const double spread = double{*max} - *min;
  double least = INFINITY;
  for (double span = top - 5; span <= top + 2; span += 0.03125) {
    for (double low = -1.5; low <= 3; low += 0.03125) {
      const double d = spread / span;
      double error = 0;
      for (size_t i = 0; i < 32; ++i) {
        const double above = (double{x[i]} - *min) / d + low;
        const double off = above - std::clamp(std::round(above), 0.0, top);
        error += off * off * d * d;
      }
      least = std::min(least, error);
    }
  }
  return least;
}

// The scan fits no minimum to the codes, so that the solver may even be ahead of it.
TEST(ExactQuantizer, IsAsGoodAsADenseScanOfScalesAndMinima) {
  for (const Encoding to : {kQ4_1, kQ5_1}) {
    for (const Draw next : {Draw{kernels::normal}, Draw{student_t5}, Draw{kernels::uniform}}) {
      const Floats values = kernels::draw(next, size_t{24} * 32, 12);
      const Floats exact = stored(to, kExact, values);
      double scanned = 0;
      for (size_t i = 0; i < values.size(); i += 32) {
        scanned += least_affine_error(&values[i], *affine_top_code(to));
      }
      EXPECT_LE(squared_error(values.data(), exact.data(), values.size()), scanned) << encoding_name(to);
    }
  }
}

TEST(ExactQuantizer, GivesTheSameBytesAtEverySimdLevel) {
  for (const Encoding to : kTargets) {
    for (const Draw next : kDistributions) {
      const Floats values = kernels::draw(next, 2048, 8);
      const ByteVector expected = encoded(to, kExact, values);
      for (const SimdLevel level : simd_levels()) {
        const kernels::AtLevel at(level);
        EXPECT_EQ(encoded(to, kExact, values), expected) << simd_level_name(level) << encoding_name(to);
      }
    }
  }
}

TEST(ExactQuantizer, LeavesWhatIsCountedToTheDirectRule) {
  for (const Encoding to : kTargets) {
    for (const float special : {NAN, INFINITY, -3.4e38f, 1e-37f}) {
      Floats values(4 * traits(to).block_elements, special == 1e-37f ? 0.0f : 0.5f);
      values[values.size() / 2] = special;
      ByteVector direct(kernels::bytes_of(to, values.size()));
      ByteVector exact = direct;
      const EncodeCounts before = quantizer(to, kDirect)(values.data(), direct.data(), values.size());
      const EncodeCounts after = quantizer(to, kExact)(values.data(), exact.data(), values.size());
      EXPECT_EQ(before.unrepresentable + before.flushed, 1u);
      EXPECT_EQ(after.unrepresentable, before.unrepresentable);
      EXPECT_EQ(after.flushed, before.flushed);
      const size_t bytes = traits(to).block_bytes;
      EXPECT_EQ(std::memcmp(&exact[2 * bytes], &direct[2 * bytes], bytes), 0) << encoding_name(to) << special;
    }
  }
}

struct Bound {
  Encoding to;
  double scaled;
  double exact;
};

// Errors over energy; the direct rule's are in the comments.
TEST(Quantizer, ReachesItsErrorsOnBellShapedWeights) {
  const Floats values = kernels::draw(kernels::normal, size_t{1} << 17, 7);
  constexpr Bound kBounds[] = {{kQ8_0, 2.25e-5, 2.2e-5},   // 2.8e-5
                               {kQ4_0, 6.52e-3, 6.5e-3},   // 7.3e-3
                               {kQ4_1, 4.8e-3, 4.7e-3},    // 6.1e-3
                               {kQ5_0, 1.61e-3, 1.6e-3},   // 1.8e-3
                               {kQ5_1, 1.12e-3, 1.09e-3},  // 1.43e-3
                               {kQ2_0, 0.124, 0.123},      // 0.51
                               {kTQ2_0, 0.189, 0.188}};    // 0.65
  for (const Bound& bound : kBounds) {
    EXPECT_LT(normalized_error(bound.to, kScaled, values), bound.scaled) << encoding_name(bound.to);
    EXPECT_LT(normalized_error(bound.to, kExact, values), bound.exact) << encoding_name(bound.to);
  }
}

TEST(Quantizer, ReachesItsErrorsOnHeavyTails) {
  const Floats values = kernels::draw(student_t5, size_t{1} << 17, 7);
  constexpr Bound kBounds[] = {{kQ8_0, 3.9e-5, 3.8e-5},    // 4.6e-5
                               {kQ4_0, 0.01064, 0.0106},   // 0.0117
                               {kQ4_1, 6.45e-3, 6.3e-3},   // 8.1e-3
                               {kQ5_0, 2.7e-3, 2.68e-3},   // 2.9e-3
                               {kQ5_1, 1.52e-3, 1.48e-3},  // 1.9e-3
                               {kQ2_0, 0.165, 0.164},      // 0.55
                               {kTQ2_0, 0.27, 0.269}};     // 0.73
  for (const Bound& bound : kBounds) {
    EXPECT_LT(normalized_error(bound.to, kScaled, values), bound.scaled) << encoding_name(bound.to);
    EXPECT_LT(normalized_error(bound.to, kExact, values), bound.exact) << encoding_name(bound.to);
  }
}

}  // namespace
}  // namespace lobit
