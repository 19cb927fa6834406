#include "lobit/kernels/elementwise.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/dtype/half.h"
#include "lobit/kernels/philox.h"
#include "lobit/kernels/reference_elementwise.h"
#include "lobit/kernels/simd.h"

namespace lobit::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kGuard = -77.25f;  // no operation gives it here

class EverySimdLevelComputes : public testing::TestWithParam<SimdLevel> {
 protected:
  void SetUp() override { ASSERT_TRUE(set_simd_level(GetParam())); }
  void TearDown() override { set_simd_level(simd_levels().back()); }
};

INSTANTIATE_TEST_SUITE_P(Elementwise, EverySimdLevelComputes,
                         testing::ValuesIn(simd_levels().begin(), simd_levels().end()),
                         [](const auto& level) { return std::string(simd_level_name(level.param)); });

// Any bits at all, with one in four of a size that functions do not send to their limits.
std::vector<float> any_values(size_t n, uint32_t seed) {
  const std::vector<float> special{0.0f,      -0.0f,      1.0f,      -1.0f,           kInf,   -kInf, kNan,
                                   0x1p-149f, -0x1p-149f, 0x1p-126f, 0x1.fffffep127f, 0.625f, 89.0f, -104.0f,
                                   88.72284f};
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) {
    const PhiloxBlock bits = philox4x32({static_cast<uint32_t>(i), seed, 0, 0}, {3, 4});
    values[i] = std::bit_cast<float>(bits[0]);
    if (bits[1] % 4 == 0) values[i] = static_cast<float>(static_cast<int32_t>(bits[0])) * 0x1p-27f;
    if (bits[1] % 8 == 1) values[i] = special[bits[2] % special.size()];
  }
  return values;
}

std::vector<uint16_t> any_halves(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint16_t> halves(count);
  for (uint16_t& half : halves) half = static_cast<uint16_t>(random());
  return halves;
}

bool same(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

// The first index at which `out` is not expected(i) within [0, count), or is not the guard around it.
template <typename Expected>
std::string difference(const std::vector<float>& out, size_t first, size_t count, const Expected& expected) {
  for (size_t i = 0; i < out.size(); ++i) {
    const bool inside = i >= first && i < first + count;
    const float wanted = inside ? expected(i - first) : kGuard;
    if (!same(out[i], wanted)) {
      return "value " + std::to_string(i - first) + " of " + std::to_string(count) + ": expected " +
             std::to_string(wanted) + ", found " + std::to_string(out[i]);
    }
  }
  return "";
}

constexpr size_t kLengths[] = {0, 1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 129, 1000};

TEST_P(EverySimdLevelComputes, UnaryOperationsToTheLastBit) {
  const std::vector<float> in = any_values(1200, 1);
  for (size_t op = 0; op < kUnaryOps; ++op) {
    const UnaryFn kernel = unary_kernel(static_cast<UnaryOp>(op));
    for (const size_t count : kLengths) {
      for (const Store store : {Store::kCached, Store::kPastCaches}) {
        const size_t shift = 1 + count % 17;  // to any alignment
        std::vector<float> out(count + 40, kGuard);
        kernel(in.data() + shift, out.data() + shift, count, store);
        const auto expected = [&](size_t i) {
          return reference::unary(static_cast<UnaryOp>(op), in[i + shift]);
        };
        ASSERT_EQ(difference(out, shift, count, expected), "") << "operation " << op;
      }
    }
  }
}

// Packs of vectors without a value out of the ordinary, and with a single one, take different ways.
TEST_P(EverySimdLevelComputes, UnaryOperationsOfOrdinaryValuesToTheLastBit) {
  constexpr size_t kCount = 4096;
  constexpr size_t kLongestPack = 64;
  std::vector<float> in(kCount);
  for (size_t i = 0; i < kCount; ++i) {
    const PhiloxBlock bits = philox4x32({static_cast<uint32_t>(i), 0, 0, 0}, {7, 8});
    in[i] = static_cast<float>(static_cast<int32_t>(bits[0])) * 0x1p-28f;  // below 8
    if (i >= kCount / 2 && i % kLongestPack == bits[1] % kLongestPack) in[i] = i % 2 == 0 ? kNan : -kInf;
  }
  for (size_t op = 0; op < kUnaryOps; ++op) {
    std::vector<float> values = in;
    if (static_cast<UnaryOp>(op) == UnaryOp::kLog) {
      for (size_t i = 0; i < kCount / 2; ++i) values[i] = std::max(std::fabs(values[i]), 0x1p-126f);
    }
    std::vector<float> out(kCount);
    unary_kernel(static_cast<UnaryOp>(op))(values.data(), out.data(), kCount, Store::kCached);
    const auto expected = [&](size_t i) { return reference::unary(static_cast<UnaryOp>(op), values[i]); };
    ASSERT_EQ(difference(out, 0, kCount, expected), "") << "operation " << op;
  }
}

TEST_P(EverySimdLevelComputes, BinaryOperationsOfRunsAndOfOneValue) {
  const std::vector<float> a = any_values(1200, 2);
  const std::vector<float> b = any_values(1200, 3);
  for (size_t op = 0; op < kBinaryOps; ++op) {
    const BinaryFn kernel = binary_kernel(static_cast<BinaryOp>(op));
    for (const size_t count : kLengths) {
      for (const int repeats : {0, 1, 2, 3}) {
        const bool left = (repeats & 1) != 0;
        const bool right = (repeats & 2) != 0;
        std::vector<float> out(count + 40, kGuard);
        const size_t shift = count % 19;
        kernel({a.data() + shift, left}, {b.data() + shift, right}, out.data() + shift, count,
               count % 2 == 0 ? Store::kCached : Store::kPastCaches);
        const auto expected = [&](size_t i) {
          return reference::binary(static_cast<BinaryOp>(op), a[left ? shift : i + shift],
                                   b[right ? shift : i + shift]);
        };
        ASSERT_EQ(difference(out, shift, count, expected), "") << "operation " << op << " " << repeats;
      }
    }
  }
}

TEST_P(EverySimdLevelComputes, HalvesAsIfInF32) {
  for (const Encoding format : {Encoding::kF16, Encoding::kBF16}) {
    const std::vector<uint16_t> a = any_halves(1200, 5);
    const std::vector<uint16_t> b = any_halves(1200, 6);
    const auto value = [&](uint16_t half) {
      return format == Encoding::kF16 ? f16_to_f32(half) : bf16_to_f32(half);
    };
    for (size_t op = 0; op < kBinaryOps; ++op) {
      const HalfBinaryFn kernel = half_binary_kernel(static_cast<BinaryOp>(op), format);
      for (const size_t count : kLengths) {
        for (const int numbers : {0, 1, 2, 3}) {
          const bool left = (numbers & 1) != 0;
          const bool right = (numbers & 2) != 0;
          const size_t shift = count % 35;
          std::vector<uint16_t> out(count + 40, 0x5A5A);
          kernel(left ? HalfRun{.number = 1.5f} : HalfRun{.values = a.data() + shift},
                 right ? HalfRun{.number = -3e4f} : HalfRun{.values = b.data() + shift}, out.data() + shift,
                 count, (count + op) % 2 == 0 ? Store::kCached : Store::kPastCaches);
          flush_stores();
          for (size_t i = 0; i < out.size(); ++i) {
            const bool inside = i >= shift && i < shift + count;
            if (!inside) {
              ASSERT_EQ(out[i], 0x5A5A) << i;
              continue;
            }
            const float expected = reference::binary(static_cast<BinaryOp>(op), left ? 1.5f : value(a[i]),
                                                     right ? -3e4f : value(b[i]));
            const uint16_t rounded = format == Encoding::kF16 ? f32_to_f16(expected) : f32_to_bf16(expected);
            ASSERT_TRUE(out[i] == rounded || (std::isnan(value(out[i])) && std::isnan(expected)))
                << "operation " << op << ", value " << i - shift << " of " << count;
          }
        }
      }
    }
  }
}

TEST_P(EverySimdLevelComputes, InPlace) {
  const std::vector<float> in = any_values(203, 4);
  std::vector<float> out = in;
  unary_kernel(UnaryOp::kExp)(out.data(), out.data(), out.size(), Store::kPastCaches);
  const auto exp = [&](size_t i) { return reference::unary(UnaryOp::kExp, in[i]); };
  EXPECT_EQ(difference(out, 0, out.size(), exp), "");
  // The repeated value is the first that is overwritten.
  for (const bool left : {true, false}) {
    out = in;
    const kernels::Run<float> run{out.data()};
    const kernels::Run<float> one{out.data(), true};
    binary_kernel(BinaryOp::kSub)(left ? one : run, left ? run : one, out.data(), out.size(), Store::kCached);
    const auto sub = [&](size_t i) { return left ? in[0] - in[i] : in[i] - in[0]; };
    EXPECT_EQ(difference(out, 0, out.size(), sub), "");
  }
}

TEST_P(EverySimdLevelComputes, Clamps) {
  const std::vector<float> in = any_values(1000, 5);
  std::vector<float> out(in.size(), kGuard);
  clamp_kernel()(in.data(), -0.5f, 8.0f, out.data(), out.size(), Store::kCached);
  for (size_t i = 0; i < in.size(); ++i) {
    if (std::isnan(in[i])) {
      EXPECT_TRUE(std::isnan(out[i]));
    } else {
      EXPECT_EQ(out[i], std::min(std::max(in[i], -0.5f), 8.0f)) << in[i];
    }
  }
}

TEST_P(EverySimdLevelComputes, Comparisons) {
  const std::vector<float> a = any_values(1200, 6);
  std::vector<float> b = any_values(1200, 7);
  for (size_t i = 0; i < b.size(); i += 3) b[i] = a[i];
  for (size_t op = 0; op < kCompareOps; ++op) {
    for (const size_t count : kLengths) {
      for (const bool repeats : {false, true}) {
        std::vector<uint8_t> out(count + 2, 77);
        compare_kernel(static_cast<CompareOp>(op))({a.data()}, {b.data(), repeats}, out.data() + 1, count);
        EXPECT_EQ(out.front(), 77);
        EXPECT_EQ(out.back(), 77);
        for (size_t i = 0; i < count; ++i) {
          const bool holds = reference::compare(static_cast<CompareOp>(op), a[i], b[repeats ? 0 : i]);
          ASSERT_EQ(out[i + 1], holds ? 1 : 0) << "operation " << op << ": " << a[i] << ", " << b[i];
        }
      }
    }
  }
}

TEST_P(EverySimdLevelComputes, Choices) {
  const std::vector<float> a = any_values(1200, 8);
  const std::vector<float> b = any_values(1200, 9);
  std::vector<uint8_t> mask(1200);
  for (size_t i = 0; i < mask.size(); ++i) mask[i] = static_cast<uint8_t>(i * 37 % 5 == 0 ? 0 : i);
  for (const size_t count : kLengths) {
    for (const int repeats : {0, 1, 2, 4, 7}) {
      const bool masks = (repeats & 1) != 0;
      const bool left = (repeats & 2) != 0;
      const bool right = (repeats & 4) != 0;
      std::vector<float> out(count + 40, kGuard);
      select_kernel()({mask.data() + 3, masks}, {a.data(), left}, {b.data(), right}, out.data() + 5, count,
                      count % 2 == 0 ? Store::kCached : Store::kPastCaches);
      const auto expected = [&](size_t i) {
        return mask[masks ? 3 : i + 3] != 0 ? a[left ? 0 : i] : b[right ? 0 : i];
      };
      ASSERT_EQ(difference(out, 5, count, expected), "") << repeats;
    }
  }
}

double exact(UnaryOp op, double x) {
  switch (op) {
    case UnaryOp::kExp:
      return std::exp(x);
    case UnaryOp::kLog:
      return std::log(x);
    case UnaryOp::kSqrt:
      return std::sqrt(x);
    case UnaryOp::kRsqrt:
      return 1.0 / std::sqrt(x);
    case UnaryOp::kTanh:
      return std::tanh(x);
    case UnaryOp::kSigmoid:
      return 1.0 / (1.0 + std::exp(-x));
    case UnaryOp::kSilu:
      return x / (1.0 + std::exp(-x));
    case UnaryOp::kGelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    default: {  // kGeluTanh
      const double u = std::sqrt(2.0 / 3.14159265358979323846) * (x + 0.044715 * x * x * x);
      return x / (1.0 + std::exp(-2.0 * u));
    }
  }
}

// The error as a share of what lobit/kernels/elementwise.h allows, where the exact result is a finite float.
double share_of_bound(UnaryOp op, float x, float result) {
  const double wanted = exact(op, x);
  int exponent = 0;
  std::frexp(wanted, &exponent);
  const double ulp = std::ldexp(1.0, std::max(exponent - 24, -149));
  const double error = std::fabs(static_cast<double>(result) - wanted);
  switch (op) {
    case UnaryOp::kSqrt:
      return error / (0.5 * ulp);
    case UnaryOp::kExp:
    case UnaryOp::kLog:
    case UnaryOp::kRsqrt:
      return error / (1.5 * ulp);
    case UnaryOp::kTanh:
    case UnaryOp::kSigmoid:
      return error / (3.0 * ulp);
    default: {
      if (x >= 0.0f) return error / (6.0 * ulp);
      const double square = static_cast<double>(x) * static_cast<double>(x);
      return error / (std::ldexp(4.0 + square, -22) * std::fabs(wanted) + 0x1p-140);
    }
  }
}

TEST(ElementwiseFunctions, AreAsExactAsTheHeaderSays) {
  constexpr uint64_t kStep = 2039;  // of all floats, in the order of their bits
  std::vector<float> in;
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += kStep) {
    const auto x = std::bit_cast<float>(static_cast<uint32_t>(bits));
    if (std::isfinite(x)) in.push_back(x);
  }
  std::vector<float> out(in.size());
  for (auto op = static_cast<size_t>(UnaryOp::kExp); op <= static_cast<size_t>(UnaryOp::kGeluTanh); ++op) {
    const auto function = static_cast<UnaryOp>(op);
    unary_kernel(function)(in.data(), out.data(), in.size(), Store::kCached);
    for (size_t i = 0; i < in.size(); ++i) {
      const auto wanted = static_cast<float>(exact(function, in[i]));
      if (!std::isfinite(wanted)) {
        ASSERT_TRUE(same(out[i], wanted)) << "operation " << op << " of " << in[i];
      } else {
        ASSERT_LE(share_of_bound(function, in[i], out[i]), 1.0) << "operation " << op << " of " << in[i];
      }
    }
  }
}

TEST(ElementwiseFunctions, KnowValuesWithoutEnd) {
  using enum UnaryOp;
  const auto is = [](UnaryOp op, float x, float wanted) {
    const float found = reference::unary(op, x);
    EXPECT_TRUE(same(found, wanted)) << "operation " << static_cast<int>(op) << " of " << x << ": " << found;
  };
  is(kExp, kInf, kInf);
  is(kExp, -kInf, 0.0f);
  is(kLog, kInf, kInf);
  is(kLog, 0.0f, -kInf);
  is(kLog, -0.0f, -kInf);
  is(kLog, -kInf, kNan);
  is(kSqrt, -1.0f, kNan);
  is(kRsqrt, 0.0f, kInf);
  is(kRsqrt, -0.0f, -kInf);
  is(kTanh, kInf, 1.0f);
  is(kTanh, -kInf, -1.0f);
  is(kTanh, -0.0f, -0.0f);
  is(kSigmoid, kInf, 1.0f);
  is(kSigmoid, -kInf, 0.0f);
  for (const UnaryOp op : {kSilu, kGelu, kGeluTanh}) {
    is(op, kInf, kInf);
    is(op, -kInf, -0.0f);
    is(op, -0.0f, -0.0f);
  }
  is(kRelu, -kInf, 0.0f);
  is(kSquaredRelu, 3.0f, 9.0f);
  is(kSquaredRelu, -3.0f, 0.0f);
  for (size_t op = 0; op < kUnaryOps; ++op) is(static_cast<UnaryOp>(op), kNan, kNan);
}

TEST(ElementwiseFunctions, NanWinsInMinAndMax) {
  for (const BinaryOp op : {BinaryOp::kMin, BinaryOp::kMax}) {
    EXPECT_TRUE(std::isnan(reference::binary(op, kNan, 1.0f)));
    EXPECT_TRUE(std::isnan(reference::binary(op, 1.0f, kNan)));
  }
  EXPECT_EQ(reference::binary(BinaryOp::kMin, -kInf, 1.0f), -kInf);
  EXPECT_EQ(reference::binary(BinaryOp::kMax, -kInf, 1.0f), 1.0f);
}

}  // namespace
}  // namespace lobit::kernels
