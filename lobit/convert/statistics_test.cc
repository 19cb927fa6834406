#include "lobit/convert/statistics.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/convert/memory_test_support.h"
#include "lobit/convert/model_test_support.h"

namespace lobit {
namespace {

TEST(ModelStatistics, EqualsPlainFormulas) {
  const TemporaryFolder folder;
  std::vector<float> values = test_weights(300'000);
  values[1] = 0.0f;
  values[299'999] = -0.0f;
  values[280'000] = 9.0f;
  values[20] = -3.0f;
  values[21] = std::numeric_limits<float>::infinity();
  values[22] = -std::numeric_limits<float>::infinity();
  values[290'000] = std::numeric_limits<float>::quiet_NaN();
  double sum = 0;
  double squares = 0;
  for (const float v : values) {
    if (!std::isfinite(v)) continue;
    sum += static_cast<double>(v);
    squares += static_cast<double>(v) * static_cast<double>(v);
  }
  const double n = 299'997;
  const Model model = write_model(folder.path() / "in.gguf", {floats("w", {300'000}, values)});
  const auto statistics = model_statistics(model, {});
  ASSERT_THAT(statistics, is_ok());
  ASSERT_EQ(statistics->size(), 1u);
  const ValueSummary& s = statistics->front().value();
  EXPECT_EQ(s.min, -3.0);
  EXPECT_EQ(s.max, 9.0);
  EXPECT_NEAR(s.mean, sum / n, 1e-12);
  EXPECT_NEAR(s.standard_deviation, std::sqrt(squares / n - sum / n * sum / n), 1e-12);
  EXPECT_EQ(s.zeros, 2u);
  EXPECT_EQ(s.nans, 1u);
  EXPECT_EQ(s.infinities, 2u);
}

TEST(ModelStatistics, SkipsWhatCannotBeDecodedAndKeepsTheOrder) {
  const TemporaryFolder folder;
  const std::vector<float> ones(256, 1.0f);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Model model = write_model(folder.path() / "in.safetensors",
                                  {floats("nothing", {2}, {nan, nan}),
                                   {"ids", {8}, Encoding::kRawI64},
                                   {"empty", {0}, Encoding::kF32},
                                   {"ones", {256}, Encoding::kQ8_0, test_encoded(Encoding::kQ8_0, ones)}});
  const auto statistics = model_statistics(model, {});
  ASSERT_THAT(statistics, is_ok());
  for (size_t i = 0; i < model.tensors.size(); ++i) {
    const std::optional<ValueSummary>& s = (*statistics)[i];
    const std::string& name = model.tensors[i].name;
    ASSERT_EQ(s.has_value(), name != "ids") << name;
    if (name == "ones") {
      EXPECT_NEAR(s->mean, 1.0, 1e-3);
      EXPECT_EQ(s->standard_deviation, 0.0);
    } else if (s) {
      EXPECT_TRUE(std::isnan(s->mean) && std::isnan(s->min) && std::isnan(s->standard_deviation)) << name;
    }
  }
}

TEST(ModelStatistics, TakeTheirMemoryFromTheResourceOfTheCaller) {
  const TemporaryFolder folder;
  const Model model = write_model(folder.path() / "in.gguf", {{"w", {4, 256}, Encoding::kF16}});
  const AllocationStatistics used = fail_each_allocation(
      [&](MemoryResource& memory) { return model_statistics(model, {.memory = &memory, .threads = 2}); },
      [] {});
  EXPECT_EQ(used.allocations, 3u);  // a buffer for each thread, and the runs' sums
  EXPECT_GE(used.peak_bytes, 2u * 2 * (1 << 20));
}

TEST(ModelStatistics, ThreadsAndMemoryDoNotChangeTheResult) {
  const TemporaryFolder folder;
  const Model model = write_model(folder.path() / "in.gguf",
                                  {{"w", {1100, 512}, Encoding::kF16}, {"v", {4, 256}, Encoding::kTQ1_0}});
  const auto refused = model_statistics(model, {.memory_limit = 1});
  ASSERT_THAT(refused, fails_with(ErrorCode::kLimit));
  const uint64_t least = refused.error().detail.required.value();
  EXPECT_THAT(model_statistics(model, {.memory_limit = least - 1}), fails_with(ErrorCode::kLimit));
  const auto expected = model_statistics(model, {.memory_limit = least});
  ASSERT_THAT(expected, is_ok());
  for (size_t threads = 1; threads <= 4; ++threads) {
    const auto statistics = model_statistics(model, {.threads = threads});
    ASSERT_THAT(statistics, is_ok());
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_EQ((*statistics)[i]->mean, (*expected)[i]->mean);
      EXPECT_EQ((*statistics)[i]->standard_deviation, (*expected)[i]->standard_deviation);
    }
  }
}

}  // namespace
}  // namespace lobit
