#include "lobit/convert/absmean.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/convert/budget.h"
#include "lobit/convert/model_test_support.h"

namespace lobit {
namespace {

Workers workers_of(size_t threads, uint64_t chunk_bytes, const Model& model) {
  const uint64_t bytes = Recoder::kTileBytes + chunk_bytes;
  uint64_t table_bytes = 0;
  for (const TensorEntry& tensor : model.tensors) table_bytes += absmean_bytes(tensor.shape.elements());
  return Workers::create(
             {.threads = threads, .table_bytes = table_bytes, .usual_bytes = bytes, .least_bytes = bytes})
      .value();
}

std::vector<AbsMeanJob> jobs_of(const Model& model) {
  std::vector<AbsMeanJob> jobs;
  for (const TensorEntry& tensor : model.tensors) jobs.push_back({&tensor, &model.parts[0].file});
  return jobs;
}

TEST(AbsMean, IsTheMeanOfTheMagnitudes) {
  const TemporaryFolder folder;
  const Model model = write_model(folder.path() / "in.gguf", {{"f32", {33, 1024}, Encoding::kF32},
                                                              {"f16", {129, 256}, Encoding::kF16},
                                                              {"tq1_0", {100, 256}, Encoding::kTQ1_0},
                                                              {"one", {1}, Encoding::kF32}});
  std::vector<float> expected;
  for (const TensorEntry& tensor : model.tensors) {
    const std::vector<float> values = tensor_values(model, tensor.name);
    double sum = 0;
    for (const float v : values) sum += std::fabs(static_cast<double>(v));
    expected.push_back(static_cast<float>(sum / static_cast<double>(values.size())));
  }
  for (const uint64_t chunk_bytes : {kLeastChunkBytes, kLeastChunkBytes + 5000, kUsualChunkBytes}) {
    for (size_t threads = 1; threads <= 4; ++threads) {
      Workers workers = workers_of(threads, chunk_bytes, model);
      const auto means = absmean(workers, jobs_of(model), {}, false);
      ASSERT_THAT(means, is_ok());
      EXPECT_EQ(*means, expected) << threads;
    }
  }
}

TEST(AbsMean, NeedsASumAndACountForEachTileOfATensor) {
  EXPECT_EQ(absmean_bytes(0), 0u);
  EXPECT_EQ(absmean_bytes(1), 16u);
  EXPECT_EQ(absmean_bytes(4096), 16u);
  EXPECT_EQ(absmean_bytes(409'601), 101u * 16);
}

TEST(AbsMean, LeavesOutOrRefusesWhatIsNotFinite) {
  const TemporaryFolder folder;
  std::vector<float> values(50'000, 2.0f);
  std::vector<float> none(10, std::numeric_limits<float>::quiet_NaN());
  values[43'210] = std::numeric_limits<float>::infinity();
  const Model model =
      write_model(folder.path() / "in.gguf", {floats("some", {50'000}, values), floats("none", {10}, none)});
  for (size_t threads = 1; threads <= 3; ++threads) {
    Workers workers = workers_of(threads, kLeastChunkBytes, model);
    const auto refused = absmean(workers, jobs_of(model), {}, false);
    ASSERT_THAT(refused, fails_with(ErrorCode::kDataLoss));
    EXPECT_EQ(refused.error().detail.index, 43'210u);
    EXPECT_NE(refused.error().message.find("tensor 'some': element 43210"), std::string::npos);
    const auto means = absmean(workers, jobs_of(model), {}, true);
    ASSERT_THAT(means, is_ok());
    EXPECT_EQ(*means, (std::vector<float>{2.0f, 0.0f}));
  }
}

}  // namespace
}  // namespace lobit
