#include "lobit/ops/normalize.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/kernels/simd.h"
#include "lobit/ops/view_test_support.h"

namespace lobit::ops {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Line {
  uint64_t first;
  uint64_t step;
};

// The lines of an axis.
std::vector<Line> lines_of(const Shape& shape, size_t axis) {
  uint64_t inner = 1;
  for (size_t a = axis + 1; a < shape.rank(); ++a) inner *= static_cast<uint64_t>(shape[a]);
  const auto extent = static_cast<uint64_t>(shape[axis]);
  std::vector<Line> lines;
  for (uint64_t outer = 0; outer < shape.elements() / (inner * extent); ++outer) {
    for (uint64_t i = 0; i < inner; ++i) lines.push_back({outer * inner * extent + i, inner});
  }
  return lines;
}

void expect_softmax(const Tensor& x, size_t axis, const Tensor& shares, const Tensor& logarithms) {
  const std::vector<float> values = values_of(x);
  const std::vector<float> found = values_of(shares);
  const std::vector<float> found_logs = values_of(logarithms);
  const auto n = static_cast<uint64_t>(x.shape()[axis]);
  const double spread = std::log(static_cast<double>(n));
  for (const Line& line : lines_of(x.shape(), axis)) {
    double largest = -std::numeric_limits<double>::infinity();
    for (uint64_t i = 0; i < n; ++i) {
      largest = std::max(largest, static_cast<double>(values[line.first + i * line.step]));
    }
    double sum = 0;
    for (uint64_t i = 0; i < n; ++i) sum += std::exp(values[line.first + i * line.step] - largest);
    for (uint64_t i = 0; i < n; ++i) {
      const uint64_t at = line.first + i * line.step;
      const double below = largest - values[at];
      const double share = std::exp(-below) / sum;
      const double bound = share * (below + spread + 6) * 0x1p-24 + 0x1p-148;
      ASSERT_NEAR(found[at], share, bound + 1.01 * rounding_of(share, shares.format().encoding)) << x;
      const double logarithm = -below - std::log(sum);
      const double log_bound = (below + spread) * 0x1p-23 + 0x1p-22;
      ASSERT_NEAR(found_logs[at], logarithm,
                  log_bound + 1.01 * rounding_of(logarithm, logarithms.format().encoding))
          << x;
    }
  }
}

TEST(Softmax, MeetsItsBoundsOnRandomViewsOfEveryFormat) {
  TestMemory memory;
  std::mt19937 random(41);
  for (int round = 0; round < 2000; ++round) {
    const Tensor x = random_view(random, 2500, memory);
    if (x.elements() == 0) continue;
    const size_t axis = random() % x.shape().rank();
    const Result<Tensor> shares = softmax(x, axis, memory.context());
    ASSERT_THAT(shares, is_ok());
    const Result<Tensor> logarithms = log_softmax(x, axis, memory.context());
    ASSERT_THAT(logarithms, is_ok());
    expect_softmax(x, axis, *shares, *logarithms);
  }
}

TEST(Softmax, MeetsItsBoundsOnLongAxes) {
  TestMemory memory;
  const std::pair<Shape, size_t> cases[] = {{shape_of({2, 9001}), 1},
                                            {shape_of({9001, 2}), 0},
                                            {shape_of({30, 5000}), 0},
                                            {shape_of({2, 700, 5}), 1}};
  for (const auto& [shape, axis] : cases) {
    for (const Encoding encoding : {Encoding::kF32, Encoding::kF16, Encoding::kBF16}) {
      const Tensor x = *Tensor::random(shape, encoding, memory.resource,
                                       {.distribution = Distribution::kNormal, .deviation = 12});
      expect_softmax(x, axis, *softmax(x, axis, memory.context()), *log_softmax(x, axis, memory.context()));
    }
  }
}

TEST(Softmax, CutsQuantizedColumnsAtTheirBorders) {
  TestMemory memory;
  for (const int64_t depth : {100, 1000, 3000}) {
    for (const ValueFormat format : {ValueFormat{Encoding::kQ8_0}, ValueFormat{Encoding::kTQ2_0},
                                     ValueFormat{Encoding::kQ4_0, ScaleGroup::kRow}}) {
      const Tensor x = *Tensor::random(shape_of({depth, 2560}), format, memory.resource,
                                       {.distribution = Distribution::kNormal, .deviation = 3});
      const Tensor plain = *Tensor::from_values(values_of(x), x.shape(), Encoding::kF32, memory.resource);
      ASSERT_EQ(values_of(*softmax(x, 0, memory.context())), values_of(*softmax(plain, 0, memory.context())))
          << depth << " " << to_string(format);
    }
  }
}

TEST(Softmax, SharesNothingAmongValuesOfMinusInf) {
  TestMemory memory;
  const OpContext context = memory.context();
  const std::vector<float> values{-kInf, -kInf, -kInf, 1000, -kInf, 1000, kInf, 0, 0, kNan, 0, 0};
  const Tensor x = *Tensor::from_values(values, shape_of({4, 3}), Encoding::kF32, memory.resource);
  for (const Tensor& turned : {x, *x.transpose()}) {
    const size_t axis = turned.shape()[0] == 4 ? 1 : 0;
    Tensor shares = *softmax(turned, axis, context);
    Tensor logs = *log_softmax(turned, axis, context);
    if (axis == 0) shares = *shares.transpose();
    if (axis == 0) logs = *logs.transpose();
    EXPECT_THAT(values_of(*shares.slice(0, 0, 2)), ElementsAre(0, 0, 0, 0.5f, 0, 0.5f));
    const float half = std::log(0.5f);
    EXPECT_THAT(values_of(*logs.slice(0, 0, 2)), ElementsAre(-kInf, -kInf, -kInf, half, -kInf, half));
    for (const float v : values_of(*shares.slice(0, 2, 4))) EXPECT_TRUE(std::isnan(v));
    for (const float v : values_of(*logs.slice(0, 2, 4))) EXPECT_TRUE(std::isnan(v));
  }
}

// rms_norm (no bias) and layer_norm by their definitions.
void expect_norm(const Tensor& x, const std::vector<float>& weight, const std::vector<float>* bias,
                 double epsilon, const Tensor& result) {
  const std::vector<float> values = values_of(x);
  const std::vector<float> found = values_of(result);
  const uint64_t n = x.shape().row_elements();
  for (uint64_t first = 0; first < values.size(); first += n) {
    long double mean = 0;
    for (uint64_t i = 0; bias != nullptr && i < n; ++i) mean += values[first + i];
    mean /= static_cast<long double>(n);
    long double squares = 0;
    for (uint64_t i = 0; i < n; ++i) squares += (values[first + i] - mean) * (values[first + i] - mean);
    const long double factor = 1 / std::sqrt(squares / static_cast<long double>(n) + epsilon);
    for (uint64_t i = 0; i < n; ++i) {
      const auto product = static_cast<double>((values[first + i] - mean) * factor * weight[i]);
      const double expected = product + (bias == nullptr ? 0.0 : (*bias)[i]);
      const double size = std::fabs(product) + (bias == nullptr ? 0.0 : std::fabs((*bias)[i]));
      const double mean_bound = std::fabs(static_cast<double>(mean * factor * weight[i])) * 0x1p-40;
      ASSERT_NEAR(found[first + i], expected,
                  size * 0x1p-22 + mean_bound + 1.01 * rounding_of(expected, result.format().encoding))
          << x;
    }
  }
}

TEST(Norms, MeetTheirBoundsOnRandomViewsOfEveryFormat) {
  TestMemory memory;
  std::mt19937 random(42);
  for (int round = 0; round < 2000; ++round) {
    const Tensor x = random_view(random, 2500, memory);
    if (x.elements() == 0) continue;
    const auto columns = static_cast<int64_t>(x.shape().row_elements());
    const std::vector<ValueFormat> formats = formats_for(x.shape().row_elements());
    const Tensor weight = *Tensor::random(shape_of({columns}), formats[random() % formats.size()],
                                          memory.resource, {.seed = random(), .low = 0.25f});
    const Tensor bias = *Tensor::random(shape_of({columns}), Encoding::kF32, memory.resource);
    const std::vector<float> biases = values_of(bias);
    const Result<Tensor> rms = rms_norm(x, weight, 1e-5f, memory.context());
    ASSERT_THAT(rms, is_ok());
    expect_norm(x, values_of(weight), nullptr, static_cast<double>(1e-5f), *rms);
    const Result<Tensor> layer = layer_norm(x, weight, bias, 1e-5f, memory.context());
    ASSERT_THAT(layer, is_ok());
    expect_norm(x, values_of(weight), &biases, static_cast<double>(1e-5f), *layer);
  }
}

TEST(Norms, StayStableFarFromZero) {
  TestMemory memory;
  std::vector<float> values(5000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = 1e6f + static_cast<float>(i % 7);
  const Tensor x = *Tensor::from_values(values, shape_of({2, 2500}), Encoding::kF32, memory.resource);
  const Tensor ones = *Tensor::ones(shape_of({2500}), Encoding::kF32, memory.resource);
  const Tensor zeros = *Tensor::zeros(shape_of({2500}), Encoding::kF32, memory.resource);
  const std::vector<float> none(2500, 0.0f);
  expect_norm(x, std::vector<float>(2500, 1.0f), &none, 0.0,
              *layer_norm(x, ones, zeros, 0.0f, memory.context()));
}

using Call = std::function<Status(const Tensor& x, Tensor& out, const OpContext& context)>;

std::vector<Call> calls_for(const Tensor& vector) {
  return {[](const Tensor& x, Tensor& out, const OpContext& c) { return softmax(x, 1, out, c); },
          [](const Tensor& x, Tensor& out, const OpContext& c) { return softmax(x, 0, out, c); },
          [](const Tensor& x, Tensor& out, const OpContext& c) { return log_softmax(x, 1, out, c); },
          [](const Tensor& x, Tensor& out, const OpContext& c) { return log_softmax(x, 0, out, c); },
          [vector](const Tensor& x, Tensor& out, const OpContext& c) {
            return rms_norm(x, vector, 0.1f, out, c);
          },
          [vector](const Tensor& x, Tensor& out, const OpContext& c) {
            return layer_norm(x, vector, vector, 0.1f, out, c);
          }};
}

TEST(Normalize, GivesTheSameBitsAtEveryLevelForAnyThreadsAndInPlace) {
  TestMemory memory;
  for (const Shape& shape : {shape_of({23, 3001}), shape_of({3001, 23}), shape_of({5, 7})}) {
    for (const Encoding encoding : {Encoding::kF32, Encoding::kBF16}) {
      const Tensor x = *Tensor::random(shape, encoding, memory.resource, {.low = -9.0f, .high = 9.0f});
      const Tensor vector = *Tensor::random(shape_of({shape[1]}), Encoding::kF32, memory.resource);
      for (const Call& call : calls_for(vector)) {
        std::vector<float> expected;
        for (const SimdLevel level : simd_levels()) {
          for (const size_t threads : {size_t{1}, size_t{3}}) {
            ASSERT_TRUE(set_simd_level(level));
            ThreadPool pool = *ThreadPool::create(threads);
            const OpContext context{.memory = &memory.resource, .threads = &pool};
            Tensor out = *Tensor::full(shape, kNan, encoding, memory.resource);
            ASSERT_THAT(call(x, out, context), is_ok());
            if (expected.empty()) expected = values_of(out);
            ASSERT_EQ(values_of(out), expected) << simd_level_name(level) << threads;
            Tensor self = *x.clone(memory.resource);
            const std::byte* const place = self.bytes()->data();
            ASSERT_THAT(call(self, self, context), is_ok());
            ASSERT_EQ(self.bytes()->data(), place);
            ASSERT_EQ(values_of(self), expected) << "in place";
          }
        }
      }
    }
  }
  set_simd_level(simd_levels().back());
}

TEST(Normalize, LeavesThoseWhoShareTheBlockAlone) {
  TestMemory memory;
  Tensor x = *Tensor::ones(shape_of({1, 4}), Encoding::kF32, memory.resource);
  const Tensor other = x;
  ASSERT_THAT(softmax(x, 1, x, memory.context()), is_ok());
  EXPECT_THAT(values_of(x), Each(0.25f));
  EXPECT_THAT(values_of(other), Each(1.0f));
}

TEST(Normalize, RefusesWhatDoesNotFit) {
  TestMemory memory;
  const OpContext context = memory.context();
  const Tensor x = *Tensor::ones(shape_of({2, 3}), Encoding::kF32, memory.resource);
  const Tensor two = *Tensor::ones(shape_of({2}), Encoding::kF32, memory.resource);
  const Tensor three = *Tensor::ones(shape_of({3}), Encoding::kF16, memory.resource);
  EXPECT_THAT(softmax(x, 2, context), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(log_softmax(x, 2, context), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(softmax(x, 1, {}), fails_with(ErrorCode::kInvalidArgument));
  const auto refused = rms_norm(x, two, 0.0f, context);
  EXPECT_THAT(refused, fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(refused.error().message, HasSubstr("[2, 3] with '' [2]"));
  EXPECT_THAT(layer_norm(x, three, two, 0.0f, context), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(layer_norm(x, three, three, 0.0f, context), is_ok());
  EXPECT_EQ(rms_norm(*Tensor::ones(shape_of({2, 3}), Encoding::kF16, memory.resource), three, 0.0f, context)
                ->format()
                .encoding,
            Encoding::kF16);
  Tensor out = *Tensor::ones(shape_of({3, 2}), Encoding::kF32, memory.resource);
  EXPECT_THAT(softmax(x, 1, out, context), fails_with(ErrorCode::kInvalidArgument));
  const Tensor none = *Tensor::empty(shape_of({2, 0}), Encoding::kF32, memory.resource);
  EXPECT_EQ(softmax(none, 1, context)->shape(), shape_of({2, 0}));
}

}  // namespace
}  // namespace lobit::ops
