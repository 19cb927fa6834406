#include "lobit/convert/compare.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/convert/memory_test_support.h"
#include "lobit/convert/model_test_support.h"

namespace lobit {
namespace {

using enum Encoding;
using enum ComparisonStatus;

const TensorComparison& named(const std::vector<TensorComparison>& list, std::string_view name) {
  return *std::ranges::find(list, name, &TensorComparison::name);
}

TEST(CompareModels, TellsEveryStatus) {
  const TemporaryFolder folder;
  std::vector<std::byte> changed(56, std::byte{17});
  changed[30] = std::byte{18};
  const Model a = write_model(folder.path() / "a.safetensors", {{"gone", {4}, kF32},
                                                                {"same", {2, 256}, kF16},
                                                                {"shape", {2, 256}, kF16},
                                                                {"numbers", {7}, kRawI64},
                                                                {"changed numbers", {7}, kRawI64},
                                                                {"encoding", {2, 256}, kF16},
                                                                {"empty", {0, 256}, kF16}});
  const Model b =
      write_model(folder.path() / "b.safetensors",
                  {{"new", {4}, kF32},
                   {"same", {2, 256}, kF16, tensor_bytes(a, "same")},
                   {"shape", {256, 2}, kF16},
                   {"numbers", {7}, kRawI64},
                   {"changed numbers", {7}, kRawI64, changed},
                   {"encoding", {2, 256}, kQ8_0, test_encoded(kQ8_0, tensor_values(a, "encoding"))},
                   {"empty", {0, 256}, kF16}});
  const auto compared = compare_models(a, b, {});
  ASSERT_THAT(compared, is_ok());
  ASSERT_EQ(compared->size(), 8u);
  for (size_t i = 0; i < a.tensors.size(); ++i) EXPECT_EQ((*compared)[i].name, a.tensors[i].name);
  EXPECT_EQ(compared->back().name, "new");
  for (const auto& [name, status] : {std::pair{"gone", kOnlyInA},
                                     {"new", kOnlyInB},
                                     {"same", kIdentical},
                                     {"shape", kShapeDiffers},
                                     {"numbers", kIdentical},
                                     {"changed numbers", kNotComparable},
                                     {"encoding", kMeasured},
                                     {"empty", kIdentical}}) {
    const TensorComparison& c = named(*compared, name);
    EXPECT_EQ(c.status, status) << name;
    EXPECT_EQ(c.a, a.find(name));
    EXPECT_EQ(c.b, b.find(name));
  }
  EXPECT_EQ(named(*compared, "same").hash_a, named(*compared, "same").hash_b);
  EXPECT_NE(named(*compared, "same").hash_a, 0u);
  EXPECT_NE(named(*compared, "same").hash_a, named(*compared, "encoding").hash_a);
  EXPECT_NE(named(*compared, "changed numbers").hash_a, named(*compared, "changed numbers").hash_b);
  EXPECT_EQ(named(*compared, "numbers").hash_a, named(*compared, "changed numbers").hash_a);
}

TEST(CompareModels, MeasuresTheDifference) {
  const TemporaryFolder folder;
  const std::vector<float> values = test_weights(3000);
  std::vector<float> other = values;
  other[2500] += 0.5f;
  other[2600] -= 0.25f;
  other[7] = std::numeric_limits<float>::quiet_NaN();
  const Model a = write_model(folder.path() / "a.gguf", {floats("w", {3000}, values)});
  const Model b = write_model(folder.path() / "b.gguf", {floats("w", {3000}, other)});
  const auto compared = compare_models(a, b, {});
  ASSERT_THAT(compared, is_ok());
  const kernels::ErrorSums& error = compared->front().error;
  EXPECT_EQ(compared->front().status, kMeasured);
  EXPECT_EQ(error.count, 2999u);
  EXPECT_EQ(error.non_finite, 1u);
  EXPECT_EQ(error.max_error_index, 2500u);
  EXPECT_NEAR(error.error, 0.3125, 1e-6);
  double signal = 0;
  for (const float v : values) signal += static_cast<double>(v) * static_cast<double>(v);
  signal -= static_cast<double>(values[7]) * static_cast<double>(values[7]);
  EXPECT_NEAR(error.signal, signal, 1e-9 * signal);
}

TEST(CompareModels, ThreadsAndMemoryDoNotChangeTheResult) {
  const TemporaryFolder folder;
  const Model a = write_model(folder.path() / "a.gguf", {{"w", {1100, 512}, kF16}, {"v", {3, 256}, kF32}});
  const Model b = write_model(
      folder.path() / "b.gguf",
      {{"v", {3, 256}, kQ4_0}, {"w", {1100, 512}, kTQ2_0, test_encoded(kTQ2_0, tensor_values(a, "w"))}});
  const auto expected = compare_models(a, b, {.threads = 1});
  ASSERT_THAT(expected, is_ok());
  const auto refused = compare_models(a, b, {.memory_limit = 1});
  ASSERT_THAT(refused, fails_with(ErrorCode::kLimit));
  const uint64_t least = refused.error().detail.required.value();
  EXPECT_THAT(compare_models(a, b, {.memory_limit = least - 1}), fails_with(ErrorCode::kLimit));
  for (const uint64_t limit : {uint64_t{0}, least}) {
    for (size_t threads = 1; threads <= 4; ++threads) {
      const auto compared = compare_models(a, b, {.memory_limit = limit, .threads = threads});
      ASSERT_THAT(compared, is_ok());
      for (size_t i = 0; i < expected->size(); ++i) {
        const TensorComparison& want = (*expected)[i];
        const TensorComparison& have = (*compared)[i];
        EXPECT_EQ(have.error.error, want.error.error);
        EXPECT_EQ(have.error.dot, want.error.dot);
        EXPECT_EQ(have.error.max_error_index, want.error.max_error_index);
        EXPECT_EQ(have.error.elements(), have.a->shape.elements());
        EXPECT_EQ(have.hash_a, want.hash_a);
        EXPECT_EQ(have.hash_b, want.hash_b);
      }
    }
  }
}

TEST(CompareModels, HashesDoNotDependOnTheFile) {
  const TemporaryFolder folder;
  const Model a = write_model(folder.path() / "a.gguf", {{"w", {1100, 256}, kF16}});
  std::vector<std::byte> bytes = tensor_bytes(a, "w");
  const Model b =
      write_model(folder.path() / "b.safetensors", {{"x", {2}, kRawU8}, {"w", {1100, 256}, kF16, bytes}});
  auto compared = compare_models(a, b, {});
  ASSERT_THAT(compared, is_ok());
  EXPECT_EQ(compared->front().status, kIdentical);
  EXPECT_EQ(compared->front().hash_a, compared->front().hash_b);
  EXPECT_EQ(compared->front().error.error, 0.0);
  EXPECT_EQ(compared->front().error.count, 1100u * 256);
  // The last bit of the last run counts.
  bytes.back() ^= std::byte{1};
  const Model c = write_model(folder.path() / "c.gguf", {{"w", {1100, 256}, kF16, bytes}});
  compared = compare_models(a, c, {});
  ASSERT_THAT(compared, is_ok());
  EXPECT_EQ(compared->front().status, kMeasured);
  EXPECT_NE(compared->front().hash_a, compared->front().hash_b);
  EXPECT_EQ(compared->front().error.max_error_index, 1100u * 256 - 1);
}

TEST(CompareModels, TakesItsMemoryFromTheResourceOfTheCaller) {
  const TemporaryFolder folder;
  const Model a = write_model(folder.path() / "a.gguf", {{"w", {4, 256}, kF16}});
  const AllocationStatistics used = fail_each_allocation(
      [&](MemoryResource& memory) { return compare_models(a, a, {.memory = &memory, .threads = 2}); }, [] {});
  EXPECT_EQ(used.allocations, 3u);  // a buffer for each thread, and the runs' results
  EXPECT_GE(used.peak_bytes, 2u * 4 * (1 << 20));
}

TEST(CompareModels, StopsWhenAsked) {
  const TemporaryFolder folder;
  const Model a = write_model(folder.path() / "a.gguf", {{"w", {4, 256}, kF16}});
  std::stop_source source;
  source.request_stop();
  EXPECT_THAT(compare_models(a, a, {.control = {.stop = source.get_token()}}),
              fails_with(ErrorCode::kCancelled));
}

}  // namespace
}  // namespace lobit
