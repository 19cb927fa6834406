// Products of tensors against sums in F64 over what the operands decode to.
#include "lobit/ops/matmul.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/dtype/half.h"
#include "lobit/kernels/simd.h"
#include "lobit/memory/limiting_resource.h"
#include "lobit/tensor/tensor_test_support.h"

namespace lobit::ops {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using enum Encoding;

constexpr MatmulOptions kTransposed{.transpose_b = TransposeB::kYes};
constexpr MatmulOptions kInt8{.transpose_b = TransposeB::kYes, .activations = ActivationType::kInt8};

class Matmul : public ::testing::Test {
 protected:
  Tensor random(std::initializer_list<int64_t> extents, ValueFormat format = {}) {
    const RandomOptions options{.seed = ++seed_, .distribution = Distribution::kNormal, .deviation = 0.5f};
    return *Tensor::random(shape_of(extents), format, memory_, options);
  }

  SystemResource memory_;
  OpContext context_{.memory = &memory_};
  uint64_t seed_ = 0;
};

// One matrix operand as its values in F64, seen with its rows along the depth last or first.
struct Plain {
  std::vector<float> values;
  std::vector<int64_t> extents;

  explicit Plain(const Tensor& t)
      : values(values_of(t)), extents(t.shape().extents().begin(), t.shape().extents().end()) {}

  // The first value of the matrix that item `index` of the result's leading axes `batch` needs.
  size_t matrix(const std::vector<int64_t>& batch, size_t index) const {
    size_t found = 0;
    size_t step = static_cast<size_t>(extents[extents.size() - 1] * extents[extents.size() - 2]);
    for (size_t back = 1; back <= batch.size(); ++back) {
      const auto count = static_cast<size_t>(batch[batch.size() - back]);
      if (back + 2 <= extents.size()) {
        const auto own = static_cast<size_t>(extents[extents.size() - 2 - back]);
        found += own == 1 ? 0 : index % count * step;
        step *= own;
      }
      index /= count;
    }
    return found;
  }
};

struct Expected {
  std::vector<double> values;
  std::vector<double> magnitudes;  // of the products, added
  size_t depth = 0;
};

Expected multiply(const Tensor& a, const Tensor& b, bool transposed) {
  Plain x(a);
  Plain y(b);
  if (x.extents.size() == 1) x.extents.insert(x.extents.begin(), 1);
  const bool column = y.extents.size() == 1;
  if (column) y.extents.push_back(1);
  const bool depth_last = transposed && !column;
  const size_t xr = x.extents.size();
  const size_t yr = y.extents.size();
  const auto m = static_cast<size_t>(x.extents[xr - 2]);
  const auto k = static_cast<size_t>(x.extents[xr - 1]);
  const auto n = static_cast<size_t>(y.extents[yr - (depth_last ? 2 : 1)]);
  std::vector<int64_t> batch(std::max(xr, yr) - 2, 1);
  for (size_t back = 1; back <= batch.size(); ++back) {
    int64_t& extent = batch[batch.size() - back];
    if (back + 2 <= xr) extent = x.extents[xr - 2 - back];
    if (back + 2 <= yr && y.extents[yr - 2 - back] != 1) extent = y.extents[yr - 2 - back];
  }
  size_t items = 1;
  for (const int64_t extent : batch) items *= static_cast<size_t>(extent);
  Expected expected;
  expected.depth = k;
  for (size_t item = 0; item < items; ++item) {
    const float* left = x.values.data() + x.matrix(batch, item);
    const float* right = y.values.data() + y.matrix(batch, item);
    for (size_t i = 0; i < m; ++i) {
      for (size_t j = 0; j < n; ++j) {
        double sum = 0.0;
        double magnitude = 0.0;
        for (size_t d = 0; d < k; ++d) {
          const double product =
              static_cast<double>(left[i * k + d]) * right[depth_last ? j * k + d : d * n + j];
          sum += product;
          magnitude += std::abs(product);
        }
        expected.values.push_back(sum);
        expected.magnitudes.push_back(magnitude);
      }
    }
  }
  return expected;
}

// F32 sums in any order, and the rounding of the result's format: half of a step of `rounding` at 1.
void expect_near(const Tensor& found, const Expected& expected, double rounding = 0.0) {
  const std::vector<float> values = values_of(found);
  ASSERT_EQ(values.size(), expected.values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const double bound = 1.5 * static_cast<double>(expected.depth + 2) * 0x1p-24 * expected.magnitudes[i] +
                         rounding * std::abs(expected.values[i]) + 1e-30;
    ASSERT_TRUE(std::abs(values[i] - expected.values[i]) <= bound)
        << "value " << i << ": expected " << expected.values[i] << ", found " << values[i];
  }
}

void check(const Tensor& a, const Tensor& b, const OpContext& context, const MatmulOptions& options = {}) {
  SCOPED_TRACE(a.to_string() + " * " + b.to_string());
  const auto found = matmul(a, b, context, options);
  ASSERT_THAT(found, is_ok());
  expect_near(*found, multiply(a, b, options.transpose_b == TransposeB::kYes));
}

std::vector<int64_t> extents_of(const Tensor& tensor) {
  return {tensor.shape().extents().begin(), tensor.shape().extents().end()};
}

TEST_F(Matmul, SizesOfEveryKindAreWithinTheBound) {
  for (int64_t n = 1; n <= 67; n += 5) {
    check(random({n, 68 - n}), random({68 - n, 1 + n % 40}), context_);
    check(random({1 + n % 7, n}), random({70 - n, n}), context_, kTransposed);
  }
  check(random({20, 700}), random({700, 33}), context_);  // more than one piece of the depth
  check(random({3, 1100}), random({1100, 2}), context_);
  check(random({260, 5}), random({5, 1030}), context_);  // more than one task
}

TEST_F(Matmul, AxesAreThoseOfNumPy) {
  const auto shape = [&](const Tensor& a, const Tensor& b, const MatmulOptions& options = {}) {
    check(a, b, context_, options);
    return extents_of(*matmul(a, b, context_, options));
  };
  EXPECT_THAT(shape(random({5}), random({5})), ElementsAre());
  EXPECT_THAT(shape(random({5}), random({5, 3})), ElementsAre(3));
  EXPECT_THAT(shape(random({4, 5}), random({5})), ElementsAre(4));
  EXPECT_THAT(shape(random({4, 5}), random({5}), kTransposed), ElementsAre(4));
  EXPECT_THAT(shape(random({5}), random({3, 5}), kTransposed), ElementsAre(3));
  EXPECT_THAT(shape(random({2, 4, 5}), random({5, 3})), ElementsAre(2, 4, 3));
  EXPECT_THAT(shape(random({2, 4, 5}), random({3, 5}), kTransposed), ElementsAre(2, 4, 3));
  EXPECT_THAT(shape(random({4, 5}), random({2, 5, 3})), ElementsAre(2, 4, 3));
  EXPECT_THAT(shape(random({5}), random({2, 5, 3})), ElementsAre(2, 3));
  EXPECT_THAT(shape(random({2, 1, 4, 5}), random({3, 5, 6})), ElementsAre(2, 3, 4, 6));
  EXPECT_THAT(shape(random({2, 1, 4, 5}), random({1, 3, 6, 5}), kTransposed), ElementsAre(2, 3, 4, 6));
  EXPECT_THAT(shape(random({7, 2, 9, 5}), random({2, 5, 6})), ElementsAre(7, 2, 9, 6));
  EXPECT_THAT(shape(random({2, 3, 4, 5}), random({5})), ElementsAre(2, 3, 4));
}

TEST_F(Matmul, NothingGivesNothingOrZeros) {
  EXPECT_THAT(extents_of(*matmul(random({0, 3}), random({3, 4}), context_)), ElementsAre(0, 4));
  EXPECT_THAT(extents_of(*matmul(random({0, 2, 3}), random({3, 4}), context_)), ElementsAre(0, 2, 4));
  const Tensor zeros = *matmul(random({2, 0}), random({0, 3}), context_);
  EXPECT_EQ(values_of(zeros), std::vector<float>(6, 0.0f));
}

TEST_F(Matmul, ViewsAreMultipliedAsTheyAreSeen) {
  const Tensor a = random({3, 8, 20});
  const Tensor b = random({3, 20, 24});
  const size_t last_two[] = {0, 2, 1};
  const size_t rotated[] = {1, 2, 0};
  check(*a.slice(2, 3, 14), *b.slice(1, 5, 16), context_);
  check(*b.transpose(last_two), *a.transpose(last_two), context_);
  check(*a.slice(0, 1, 3), *b.slice(0, 0, 2)->slice(2, 1, 10), context_);
  check(*a.transpose(rotated)->slice(2, 0, 3), random({3, 9}), context_);
  check(*random({1, 6}).broadcast_to(shape_of({5, 6})), *random({6, 1}).broadcast_to(shape_of({6, 40})),
        context_);
  for (const int64_t rows : {2, 9}) {
    const Tensor left = random({40, rows});
    check(*left.transpose(), random({13, 40}), context_, kTransposed);
    check(*left.transpose(), *random({40, 13}).transpose(), context_, kTransposed);
    check(*random({rows, 80}).slice(1, 1, 41), *random({26, 41}).slice(1, 1, 41), context_, kTransposed);
  }
}

TEST_F(Matmul, EveryFormatOfWeightsIsDecoded) {
  for (const int64_t rows : {1, 3, 6}) {
    for (const ValueFormat format : formats_for(512)) {
      check(random({rows, 512}), random({11, 512}, format), context_, kTransposed);
      check(random({rows, 19}), random({19, 512}, format), context_);
    }
  }
  const Tensor weights = random({3, 24, 512}, {kQ4_0});
  check(random({3, 2, 256}), *weights.slice(2, 256, 512), context_, kTransposed);
  check(random({2, 512}), *weights.slice(1, 3, 20), context_, kTransposed);
}

TEST_F(Matmul, EveryFormatOfActivationsIsDecoded) {
  for (const ValueFormat format : formats_for(256)) {
    check(random({3, 256}, format), random({11, 256}), context_, kTransposed);
    check(random({9, 256}, format), random({256, 20}), context_);
  }
}

TEST_F(Matmul, ResultsAreHalvesWhenBothOperandsAre) {
  for (const auto& [encoding, rounding] : {std::pair{kF16, 0x1p-11}, std::pair{kBF16, 0x1p-8}}) {
    for (const int64_t rows : {2, 7}) {
      const Tensor a = random({rows, 50}, {encoding});
      const Tensor b = random({50, 30}, {encoding});
      const Tensor found = *matmul(a, b, context_);
      EXPECT_EQ(found.format().encoding, encoding);
      expect_near(found, multiply(a, b, false), rounding);
    }
  }
  EXPECT_EQ(matmul(random({2, 50}, {kF16}), random({50, 30}), context_)->format().encoding, kF32);
}

TEST_F(Matmul, ResultsHaveTheSameBitsForAnyNumberOfThreads) {
  struct Case {
    Tensor a;
    Tensor b;
    MatmulOptions options;
  };
  const Case cases[] = {{random({150, 600}), random({600, 700}), {}},
                        {random({5, 2, 3, 64}), random({2, 64, 300}), {}},
                        {random({2, 512}), random({333, 512}, {kQ4_0}), kTransposed},
                        {random({90, 512}), random({333, 512}, {kTQ2_0}), kInt8},
                        {random({31, 512}, {kBF16}), random({512, 512}, {kBF16}), kTransposed}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.a.to_string() + " * " + c.b.to_string());
    const std::vector<float> expected = values_of(*matmul(c.a, c.b, context_, c.options));
    for (const size_t count : {1u, 2u, 3u}) {
      ThreadPool threads = *ThreadPool::create(count);
      const OpContext context{.memory = &memory_, .threads = &threads};
      EXPECT_EQ(values_of(*matmul(c.a, c.b, context, c.options)), expected) << count << " threads";
    }
  }
}

TEST_F(Matmul, EveryInstructionSetIsWithinTheBound) {
  const SimdLevel before = simd_level();
  for (const SimdLevel level : simd_levels()) {
    ASSERT_TRUE(set_simd_level(level));
    check(random({21, 300}), random({300, 45}), context_);
    check(random({4, 300}), random({45, 300}), context_, kTransposed);
  }
  ASSERT_TRUE(set_simd_level(before));
}

// Rounding moves an activation by at most half of 1/127 of its block's largest.
TEST_F(Matmul, Int8ActivationsAreOffByTheirRoundingAlone) {
  for (const Encoding encoding : {kQ8_0, kQ4_0, kQ2_0, kQ1_0, kTQ2_0, kTQ1_0}) {
    for (const int64_t rows : {1, 5, 70}) {
      const Tensor a = random({rows, 512});
      const Tensor b = random({33, 512}, {encoding});
      const auto found = matmul(a, b, context_, kInt8);
      ASSERT_THAT(found, is_ok());
      const std::vector<float> x = values_of(a);
      const std::vector<float> w = values_of(b);
      const std::vector<float> y = values_of(*found);
      const Expected expected = multiply(a, b, true);
      bool exact = true;
      for (size_t i = 0; i < y.size(); ++i) {
        const float* row = x.data() + i / 33 * 512;
        const float* weights = w.data() + i % 33 * 512;
        const float peak = std::abs(
            *std::max_element(row, row + 512, [](float p, float q) { return std::abs(p) < std::abs(q); }));
        double slack = 1e-4;
        for (size_t k = 0; k < 512; ++k) slack += std::abs(weights[k]) * peak / 254.0;
        ASSERT_TRUE(std::abs(y[i] - expected.values[i]) <= slack)
            << encoding_name(encoding) << " value " << i;
        exact = exact && std::abs(y[i] - expected.values[i]) < 1e-5;
      }
      EXPECT_FALSE(exact) << "the activations were not rounded";
    }
  }
}

TEST_F(Matmul, Int8ActivationsBroadcast) {
  const Tensor a = random({2, 1, 3, 256});
  const Tensor b = random({4, 9, 256}, {kQ8_0});
  const Tensor all = *matmul(a, b, context_, kInt8);
  EXPECT_THAT(extents_of(all), ElementsAre(2, 4, 3, 9));
  const std::vector<float> values = values_of(all);
  for (int64_t i = 0; i < 2; ++i) {
    for (int64_t j = 0; j < 4; ++j) {
      const Tensor x = *a.slice(0, i, i + 1)->reshape(shape_of({3, 256}));
      const Tensor w = *b.slice(0, j, j + 1)->reshape(shape_of({9, 256}));
      const std::vector<float> one = values_of(*matmul(x, w, context_, kInt8));
      const auto first = values.begin() + (i * 4 + j) * 27;
      EXPECT_TRUE(std::equal(one.begin(), one.end(), first)) << i << " " << j;
    }
  }
}

TEST_F(Matmul, OutIsWrittenWhereItLies) {
  const Tensor a = random({6, 40});
  const Tensor b = random({40, 9});
  Tensor out =
      *Tensor::full(shape_of({6, 9}), std::numeric_limits<float>::quiet_NaN(), ValueFormat{}, memory_);
  const std::byte* place = out.bytes()->data();
  ASSERT_THAT(matmul(a, b, out, context_), is_ok());
  EXPECT_EQ(out.bytes()->data(), place);
  expect_near(out, multiply(a, b, false));
  Tensor halves = *Tensor::empty(shape_of({6, 9}), ValueFormat{kF16}, memory_);
  ASSERT_THAT(matmul(a, b, halves, context_), is_ok());
  expect_near(halves, multiply(a, b, false), 0x1p-11);
}

TEST_F(Matmul, OutMayBeAnOperand) {
  const Tensor other = random({8, 8});
  Tensor a = random({8, 8});
  const Expected left = multiply(a, other, false);
  ASSERT_THAT(matmul(a, other, a, context_), is_ok());
  expect_near(a, left);
  const Expected square = multiply(a, a, false);
  const Tensor kept = a;
  const std::vector<float> before = values_of(a);
  ASSERT_THAT(matmul(a, a, a, context_), is_ok());
  expect_near(a, square);
  EXPECT_EQ(values_of(kept), before);
}

TEST_F(Matmul, RefusesWhatDoesNotFit) {
  const auto message = [&](const Tensor& a, const Tensor& b, ErrorCode code,
                           const MatmulOptions& options = {}) {
    const auto refused = matmul(a, b, context_, options);
    EXPECT_THAT(refused, fails_with(code));
    return refused ? std::string() : refused.error().message;
  };
  constexpr ErrorCode kBad = ErrorCode::kInvalidArgument;
  EXPECT_THAT(message(random({2, 3}), random({4, 3}), kBad), HasSubstr("[2, 3] and [4, 3]"));
  EXPECT_THAT(message(random({2, 3}), random({3, 4}), kBad, kTransposed), HasSubstr("[3, 4] (transposed)"));
  EXPECT_THAT(message(random({}), random({3}), kBad), HasSubstr("[] and [3]"));
  EXPECT_THAT(message(random({2, 4, 3}), random({5, 3, 4}), kBad), HasSubstr("[2, 4, 3] and [5, 3, 4]"));
  EXPECT_THAT(message(random({2, 32}), random({4, 32}, {kQ5_0}), ErrorCode::kUnsupported, kInt8),
              AllOf(HasSubstr("matmul"), HasSubstr("q5_0"), HasSubstr("int8"), HasSubstr("cpu")));
  EXPECT_THAT(message(random({2, 32}), random({4, 32}), ErrorCode::kUnsupported, kInt8), HasSubstr("f32"));
  EXPECT_THAT(
      message(random({2, 32}), random({4, 32}, {kQ8_0, ScaleGroup::kRow}), ErrorCode::kUnsupported, kInt8),
      HasSubstr("per row"));
  EXPECT_THAT(message(random({2, 4}), random({4, 32}, {kQ8_0}), ErrorCode::kUnsupported,
                      {.activations = ActivationType::kInt8}),
              HasSubstr("[..., N, K]"));
  EXPECT_THAT(matmul(random({2, 3}), random({3, 4}), OpContext{}), fails_with(kBad));
  Tensor wrong = random({4, 2});
  EXPECT_THAT(matmul(random({2, 3}), random({3, 4}), wrong, context_), fails_with(kBad));
}

TEST_F(Matmul, MemoryThatIsRefusedLeavesOutAsItWas) {
  const Tensor a = random({6, 512});
  const Tensor b = random({512, 9});
  Tensor out = random({6, 9});
  const std::vector<float> before = values_of(out);
  const Tensor shared = out;
  LimitingResource none(memory_, 64);
  EXPECT_THAT(matmul(a, b, out, {.memory = &none}), fails_with(ErrorCode::kLimit));
  EXPECT_EQ(values_of(out), before);
}

TEST_F(Matmul, ProfilesCountTheArithmetic) {
  OpProfiler profiler;
  const OpContext context{.memory = &memory_, .profiler = &profiler};
  ASSERT_THAT(matmul(random({3, 10}), random({10, 7}), context), is_ok());
  EXPECT_THAT(matmul(random({3, 10}), random({9, 7}), context), fails_with(ErrorCode::kInvalidArgument));
  const OpProfile profile = profiler.profile();
  ASSERT_EQ(profile.calls.size(), 1);
  EXPECT_EQ(profile.calls[0].op, "matmul");
  EXPECT_EQ(profile.calls[0].arithmetic, 2 * 3 * 10 * 7);
  EXPECT_EQ(profile.calls[0].bytes_written, 3 * 7 * 4);
}

}  // namespace
}  // namespace lobit::ops
