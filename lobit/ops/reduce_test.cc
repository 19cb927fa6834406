#include "lobit/ops/reduce.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/dtype/half.h"
#include "lobit/kernels/simd.h"
#include "lobit/ops/view_test_support.h"

namespace lobit::ops {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr size_t kNoAxes[] = {0};
const Axes kAll(kNoAxes, 0);

enum class Op { kSum, kMean, kMin, kMax, kVar, kSampleVar, kL1, kL2, kInfinity, kArgmin, kArgmax };
constexpr Op kOps[] = {Op::kSum, Op::kMean, Op::kMin,      Op::kMax,    Op::kVar,   Op::kSampleVar,
                       Op::kL1,  Op::kL2,   Op::kInfinity, Op::kArgmin, Op::kArgmax};

Result<Tensor> apply(Op op, const Tensor& x, Axes axes, KeepAxes keep, const OpContext& context) {
  switch (op) {
    case Op::kSum:
      return sum(x, axes, keep, context);
    case Op::kMean:
      return mean(x, axes, keep, context);
    case Op::kMin:
      return min(x, axes, keep, context);
    case Op::kMax:
      return max(x, axes, keep, context);
    case Op::kVar:
      return var(x, axes, keep, 0, context);
    case Op::kSampleVar:
      return var(x, axes, keep, 1, context);
    case Op::kL1:
      return norm(x, Norm::kL1, axes, keep, context);
    case Op::kL2:
      return norm(x, Norm::kL2, axes, keep, context);
    case Op::kInfinity:
      return norm(x, Norm::kInfinity, axes, keep, context);
    case Op::kArgmin:
      return argmin(x, axes, keep, context);
    default:
      return argmax(x, axes, keep, context);
  }
}

struct Expected {
  double value;
  double bound;  // of the error before the rounding to the result's format
};

double extreme(const std::vector<float>& v, bool least, size_t* place) {
  size_t best = 0;
  for (size_t i = 1; i < v.size() && !std::isnan(v[best]); ++i) {
    if (std::isnan(v[i]) || (least ? v[i] < v[best] : v[i] > v[best])) best = i;
  }
  *place = best;
  return v[best];
}

// In long double, by the definitions.
Expected expect(Op op, const std::vector<float>& v) {
  const auto n = static_cast<long double>(v.size());
  long double total = 0;
  long double magnitudes = 0;
  long double squares = 0;
  long double largest = 0;
  for (const float x : v) {
    total += x;
    magnitudes += std::fabs(x);
    squares += static_cast<long double>(x) * x;
    largest = std::max<long double>(largest, std::fabs(x));
  }
  long double deviations = 0;
  for (const float x : v) deviations += (x - total / n) * (x - total / n);
  const long double rounding = (n + 20) * 0x1p-53L;
  size_t place = 0;
  const auto result = [](long double value, long double bound) {
    return Expected{static_cast<double>(value), static_cast<double>(bound)};
  };
  switch (op) {
    case Op::kSum:
      return result(total, rounding * magnitudes);
    case Op::kMean:
      return result(total / n, rounding * magnitudes / n);
    case Op::kVar:
      return result(deviations / n, (n + 512) * 0x1p-52L * deviations / n);
    case Op::kSampleVar:
      return result(n > 1 ? deviations / (n - 1) : static_cast<long double>(kNan),
                    (n + 512) * 0x1p-52L * deviations);
    case Op::kL1:
      return result(magnitudes, rounding * magnitudes);
    case Op::kL2:
      return result(std::sqrt(squares), rounding * std::sqrt(squares));
    case Op::kInfinity:
      return result(largest, 0);
    case Op::kMin:
    case Op::kMax:
      return {extreme(v, op == Op::kMin, &place), 0};
    default:
      extreme(v, op == Op::kArgmin, &place);
      return {static_cast<double>(place), 0};
  }
}

// The values that become each result, in the order of the reduced axes.
std::vector<std::vector<float>> groups_of(const Tensor& x, const std::vector<size_t>& axes) {
  const std::vector<float> values = values_of(x);
  const size_t rank = x.shape().rank();
  const auto reduced = [&](size_t axis) { return axes.empty() || std::ranges::count(axes, axis) > 0; };
  uint64_t results = 1;
  for (size_t axis = 0; axis < rank; ++axis) {
    if (!reduced(axis)) results *= static_cast<uint64_t>(x.shape()[axis]);
  }
  std::vector<std::vector<float>> groups(results);
  for (uint64_t i = 0; i < values.size(); ++i) {
    uint64_t rest = i;
    uint64_t group = 0;
    uint64_t scale = 1;
    for (size_t axis = rank; axis-- > 0;) {
      const auto extent = static_cast<uint64_t>(x.shape()[axis]);
      if (!reduced(axis)) {
        group += rest % extent * scale;
        scale *= extent;
      }
      rest /= extent;
    }
    groups[group].push_back(values[i]);
  }
  return groups;
}

std::vector<double> results_of(const Tensor& result) {
  if (result.format().encoding == Encoding::kRawI64) {
    const std::span<const int64_t> places = *result.values<int64_t>();
    return {places.begin(), places.end()};
  }
  const std::vector<float> values = values_of(result);
  return {values.begin(), values.end()};
}

std::string text_of(Op op, const Tensor& x, const std::vector<size_t>& axes) {
  std::string text = "op " + std::to_string(static_cast<int>(op)) + " of " + x.to_string() + " strides";
  for (const int64_t stride : x.strides()) text += " " + std::to_string(stride);
  text += " axes";
  for (const size_t axis : axes) text += " " + std::to_string(axis);
  return text;
}

void expect_reduces(Op op, const Tensor& x, const std::vector<size_t>& axes, const OpContext& context) {
  SCOPED_TRACE(text_of(op, x, axes));
  const Result<Tensor> result = apply(op, x, axes, KeepAxes::kDrop, context);
  ASSERT_THAT(result, is_ok());
  const std::vector<std::vector<float>> groups = groups_of(x, axes);
  const std::vector<double> found = results_of(*result);
  ASSERT_EQ(found.size(), groups.size());
  const Encoding encoding = result->format().encoding;
  for (size_t i = 0; i < found.size(); ++i) {
    const Expected expected = expect(op, groups[i]);
    if (std::isnan(expected.value)) {
      ASSERT_TRUE(std::isnan(found[i])) << found[i];
      continue;
    }
    const double bound =
        encoding == Encoding::kRawI64 ? 0.0 : 1.001 * rounding_of(expected.value, encoding) + expected.bound;
    ASSERT_NEAR(found[i], expected.value, bound) << "result " << i;
  }
}

TEST(Reduce, MeetsItsBoundsOnRandomViewsOfEveryFormat) {
  TestMemory memory;
  std::mt19937 random(20);
  for (int round = 0; round < 3000; ++round) {
    const Tensor x = random_view(random, 2000, memory);
    if (x.elements() == 0) continue;
    const std::vector<size_t> axes = random_axes(random, x.shape().rank());
    expect_reduces(kOps[random() % std::size(kOps)], x, axes, memory.context());
  }
}

TEST(Reduce, ReducesLongAndWideTensorsInParts) {
  TestMemory memory;
  std::mt19937 random(21);
  const std::pair<Shape, std::vector<size_t>> cases[] = {
      {shape_of({1'100'001}), {}},     {shape_of({2, 150'017}), {1}}, {shape_of({20'003, 9}), {0}},
      {shape_of({3, 50'021, 2}), {1}}, {shape_of({70, 2500}), {0}},   {shape_of({60, 3, 1100}), {0, 1}}};
  for (const auto& [shape, axes] : cases) {
    const Tensor x = *Tensor::random(shape, Encoding::kF32, memory.resource,
                                     {.seed = random(), .distribution = Distribution::kNormal, .mean = 3});
    // Those that walk a long run in their own ways.
    const Op few[] = {Op::kSum, Op::kVar, Op::kArgmax};
    const std::span<const Op> ops = x.elements() > 1'000'000 ? std::span<const Op>(few) : kOps;
    for (const Op op : ops) expect_reduces(op, x, axes, memory.context());
  }
}

std::vector<std::byte> bytes_of(const Tensor& tensor) {
  const std::span<const std::byte> bytes = *tensor.bytes();
  return {bytes.begin(), bytes.end()};
}

TEST(Reduce, GivesTheSameBitsAtEveryLevelAndForAnyNumberOfThreads) {
  TestMemory memory;
  const std::pair<Shape, std::vector<size_t>> cases[] = {{shape_of({1'050'001}), {}},
                                                         {shape_of({90'001, 3}), {0}},
                                                         {shape_of({130, 2100}), {0}},
                                                         {shape_of({40, 500}), {1}}};
  for (const auto& [shape, axes] : cases) {
    const Tensor x = *Tensor::random(shape, Encoding::kF32, memory.resource,
                                     {.distribution = Distribution::kNormal, .deviation = 100});
    for (const Op op : kOps) {
      std::vector<std::byte> expected;
      for (const SimdLevel level : simd_levels()) {
        for (const size_t threads : {size_t{1}, size_t{3}}) {
          ASSERT_TRUE(set_simd_level(level));
          ThreadPool pool = *ThreadPool::create(threads);
          const Tensor result =
              *apply(op, x, axes, KeepAxes::kKeep, {.memory = &memory.resource, .threads = &pool});
          if (expected.empty()) expected = bytes_of(result);
          EXPECT_EQ(bytes_of(result), expected) << text_of(op, x, axes) << simd_level_name(level) << threads;
        }
      }
    }
  }
  set_simd_level(simd_levels().back());
}

TEST(Reduce, LetsNansWinAndFindsTheFirst) {
  TestMemory memory;
  const OpContext context = memory.context();
  const std::vector<float> values{1, kNan, kInf, -kInf, -kNan, 2, 2, -3, 2};
  const Tensor x = *Tensor::from_values(values, shape_of({3, 3}), Encoding::kF32, memory.resource);
  const size_t rows[] = {0};
  const size_t columns[] = {1};
  const auto nan_or = [&](const Result<Tensor>& result) {
    std::vector<float> found = values_of(*result);
    std::ranges::replace_if(found, [](float v) { return std::isnan(v); }, 99.0f);
    return found;
  };
  EXPECT_THAT(nan_or(max(x, columns, KeepAxes::kDrop, context)), ElementsAre(99, 99, 2));
  EXPECT_THAT(nan_or(min(x, rows, KeepAxes::kDrop, context)), ElementsAre(-kInf, 99, 2));
  EXPECT_THAT(results_of(*argmax(x, columns, KeepAxes::kDrop, context)), ElementsAre(1, 1, 0));
  EXPECT_THAT(results_of(*argmax(x, rows, KeepAxes::kDrop, context)), ElementsAre(2, 0, 0));
  EXPECT_THAT(results_of(*argmin(x, kAll, KeepAxes::kDrop, context)), ElementsAre(1));
  EXPECT_TRUE(std::isnan(results_of(*sum(x, kAll, KeepAxes::kDrop, context))[0]));
  EXPECT_TRUE(std::isnan(results_of(*var(x, kAll, KeepAxes::kDrop, 0, context))[0]));
}

TEST(Reduce, StaysStableFarFromZero) {
  TestMemory memory;
  std::vector<float> values(3000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = 16'777'000.0f + static_cast<float>(i % 3);
  const size_t rows[] = {0};
  for (const Shape& shape : {shape_of({3000, 1}), shape_of({1000, 3}), shape_of({3, 1000})}) {
    const Tensor x = *Tensor::from_values(values, shape, Encoding::kF32, memory.resource);
    expect_reduces(Op::kVar, x, {}, memory.context());
    expect_reduces(Op::kVar, x, {0}, memory.context());
  }
  const Tensor x = *Tensor::from_values(values, shape_of({3000}), Encoding::kF32, memory.resource);
  EXPECT_NEAR(results_of(*var(x, rows, KeepAxes::kDrop, 0, memory.context()))[0], 2.0 / 3.0, 1e-7);
}

TEST(Reduce, KnowsWhatNothingIs) {
  TestMemory memory;
  const OpContext context = memory.context();
  const Tensor none = *Tensor::empty(shape_of({0, 2}), Encoding::kF32, memory.resource);
  const size_t rows[] = {0};
  const size_t columns[] = {1};
  EXPECT_THAT(values_of(*sum(none, rows, KeepAxes::kDrop, context)), ElementsAre(0, 0));
  EXPECT_THAT(values_of(*norm(none, Norm::kL2, rows, KeepAxes::kDrop, context)), ElementsAre(0, 0));
  EXPECT_TRUE(std::isnan(values_of(*mean(none, rows, KeepAxes::kDrop, context))[1]));
  EXPECT_TRUE(std::isnan(values_of(*var(none, rows, KeepAxes::kDrop, 0, context))[1]));
  for (const Op op : {Op::kMin, Op::kMax, Op::kArgmin, Op::kArgmax, Op::kInfinity}) {
    EXPECT_THAT(apply(op, none, rows, KeepAxes::kDrop, context), fails_with(ErrorCode::kInvalidArgument));
    EXPECT_EQ(apply(op, none, columns, KeepAxes::kDrop, context)->elements(), 0u);
  }
  const Tensor one = *Tensor::full(shape_of({}), 3.0f, Encoding::kF32, memory.resource);
  EXPECT_THAT(values_of(*max(one, kAll, KeepAxes::kDrop, context)), ElementsAre(3));
  EXPECT_TRUE(std::isnan(values_of(*var(one, kAll, KeepAxes::kDrop, 1, context))[0]));
  const Tensor two =
      *Tensor::from_values(std::vector<float>{1, 2}, shape_of({2}), Encoding::kF32, memory.resource);
  EXPECT_EQ(values_of(*var(two, kAll, KeepAxes::kDrop, 2, context))[0], kInf);
}

TEST(Reduce, KeepsOrDropsAxes) {
  TestMemory memory;
  const Tensor x = *Tensor::ones(shape_of({2, 3, 4}), Encoding::kF16, memory.resource);
  const size_t axes[] = {2, 0};
  const Tensor kept = *sum(x, axes, KeepAxes::kKeep, memory.context());
  EXPECT_EQ(kept.shape(), shape_of({1, 3, 1}));
  EXPECT_EQ(kept.format().encoding, Encoding::kF16);
  EXPECT_THAT(values_of(kept), ElementsAre(8, 8, 8));
  EXPECT_EQ(sum(x, axes, KeepAxes::kDrop, memory.context())->shape(), shape_of({3}));
  EXPECT_EQ(sum(x, kAll, KeepAxes::kDrop, memory.context())->shape(), shape_of({}));
}

TEST(Reduce, WritesToTheTensorThatItIsGiven) {
  TestMemory memory;
  const OpContext context = memory.context();
  const Tensor x = *Tensor::full(shape_of({4, 8}), 0.5f, Encoding::kF32, memory.resource);
  const size_t axes[] = {1};
  Tensor out = *Tensor::full(shape_of({4}), kNan, Encoding::kF32, memory.resource);
  const std::byte* const place = out.bytes()->data();
  ASSERT_THAT(sum(x, axes, KeepAxes::kDrop, out, context), is_ok());
  EXPECT_EQ(out.bytes()->data(), place);
  EXPECT_THAT(values_of(out), ElementsAre(4, 4, 4, 4));
  const Tensor before = out;
  ASSERT_THAT(mean(x, axes, KeepAxes::kDrop, out, context), is_ok());
  EXPECT_THAT(values_of(before), ElementsAre(4, 4, 4, 4));
  EXPECT_THAT(values_of(out), ElementsAre(0.5f, 0.5f, 0.5f, 0.5f));
  // Over itself.
  Tensor self = *Tensor::full(shape_of({3, 1}), -2.0f, Encoding::kF32, memory.resource);
  ASSERT_THAT(norm(self, Norm::kL1, axes, KeepAxes::kKeep, self, context), is_ok());
  EXPECT_THAT(values_of(self), ElementsAre(2, 2, 2));
}

TEST(Reduce, RefusesWhatCannotBe) {
  TestMemory memory;
  const OpContext context = memory.context();
  const Tensor x = *Tensor::ones(shape_of({2, 3}), Encoding::kF32, memory.resource);
  const size_t beyond[] = {2};
  const size_t twice[] = {1, 1};
  const size_t last[] = {1};
  const auto refused = sum(x, beyond, KeepAxes::kDrop, context);
  EXPECT_THAT(refused, fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(refused.error().detail.index, 2);
  const auto doubled = argmax(x, twice, KeepAxes::kDrop, context);
  EXPECT_THAT(doubled, fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(doubled.error().message, HasSubstr("found 1 twice"));
  Tensor out = *Tensor::zeros(shape_of({3}), Encoding::kF32, memory.resource);
  EXPECT_THAT(sum(x, last, KeepAxes::kDrop, out, context), fails_with(ErrorCode::kInvalidArgument));
  out = *Tensor::zeros(shape_of({2}), Encoding::kF32, memory.resource);
  EXPECT_THAT(argmax(x, last, KeepAxes::kDrop, out, context), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(sum(x, last, KeepAxes::kDrop, {}), fails_with(ErrorCode::kInvalidArgument));
  const Tensor places = *argmax(x, last, KeepAxes::kDrop, context);
  EXPECT_THAT(sum(places, kAll, KeepAxes::kDrop, context), fails_with(ErrorCode::kUnsupported));
}

TEST(Reduce, RoundsOnceToHalves) {
  TestMemory memory;
  const std::vector<float> values{1.0f, 0x1p-11f, 0x1p-24f};  // a little above the middle of two halves
  const Tensor x = *Tensor::from_values(values, shape_of({3}), Encoding::kF16, memory.resource);
  EXPECT_EQ(values_of(*sum(x, kAll, KeepAxes::kDrop, memory.context()))[0], 1.0f + 0x1p-10f);
}

TEST(Reduce, TellsTheProfiler) {
  TestMemory memory;
  OpProfiler profiler;
  OpContext context = memory.context();
  context.profiler = &profiler;
  const Tensor x = *Tensor::ones(shape_of({2, 3}), Encoding::kF32, memory.resource);
  const size_t beyond[] = {2};
  static_cast<void>(sum(x, kAll, KeepAxes::kDrop, context));
  static_cast<void>(sum(x, beyond, KeepAxes::kDrop, context));
  const OpProfile profile = profiler.profile();
  ASSERT_EQ(profile.calls.size(), 1u);
  EXPECT_EQ(profile.calls[0].op, "sum");
  EXPECT_EQ(profile.calls[0].bytes_read, 24u);
  EXPECT_EQ(profile.calls[0].bytes_written, 4u);
}

}  // namespace
}  // namespace lobit::ops
