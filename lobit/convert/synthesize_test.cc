#include "lobit/convert/synthesize.h"

#include <cmath>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/convert/model_test_support.h"
#include "lobit/convert/statistics.h"

namespace lobit {
namespace {

namespace fs = std::filesystem;

TEST(Synthesize, TheSizeIsWhatWasAskedForOrALittleLess) {
  const TemporaryFolder folder;
  for (const char* const name : {"m.gguf", "m.safetensors"}) {
    for (const Encoding encoding : {Encoding::kF16, Encoding::kF32, Encoding::kBF16}) {
      for (const uint64_t size : {uint64_t{3'000'000}, uint64_t{5'000'000}, uint64_t{9'999'999}}) {
        const fs::path path = folder.path() / name;
        ASSERT_THAT(
            synthesize(path, {.size = size, .encoding = encoding, .existing = ExistingFiles::kReplace}),
            is_ok());
        EXPECT_LE(fs::file_size(path), size) << name << ' ' << encoding_name(encoding);
        EXPECT_GE(fs::file_size(path), size - size / 100) << name << ' ' << encoding_name(encoding);
      }
    }
  }
}

TEST(Synthesize, ThreadsDoNotChangeTheBytesButSeedsDo) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "m.gguf";
  for (const Encoding encoding : {Encoding::kF16, Encoding::kF32}) {
    SynthesizeOptions options{.size = 4'000'000, .encoding = encoding, .existing = ExistingFiles::kReplace};
    std::string expected;
    for (options.threads = 1; options.threads <= 4; ++options.threads) {
      ASSERT_THAT(synthesize(path, options), is_ok());
      if (expected.empty()) expected = file_text(path);
      EXPECT_TRUE(file_text(path) == expected) << options.threads;
    }
    options.seed = 2;
    ASSERT_THAT(synthesize(path, options), is_ok());
    const std::string other = file_text(path);
    EXPECT_EQ(other.size(), expected.size());
    EXPECT_FALSE(other == expected);
  }
}

TEST(Synthesize, MatricesHaveTheTablesDistributionAndNormsLieAroundOne) {
  const TemporaryFolder folder;
  for (const Encoding encoding : {Encoding::kF16, Encoding::kF32, Encoding::kBF16}) {
    const fs::path path = folder.path() / (std::string(encoding_name(encoding)) + ".gguf");
    ASSERT_THAT(synthesize(path, {.size = 4'000'000, .encoding = encoding}), is_ok());
    const Model model = open_model(path).value();
    const auto statistics = model_statistics(model, {}).value();
    for (size_t i = 0; i < model.tensors.size(); ++i) {
      const TensorEntry& tensor = model.tensors[i];
      const bool norm = tensor.shape.rank() == 1;
      const double n = static_cast<double>(tensor.shape.elements());
      EXPECT_EQ(tensor.encoding, norm ? Encoding::kF32 : encoding);
      EXPECT_EQ(tensor.shape.row_elements() % 256, 0u);
      EXPECT_NEAR(statistics[i]->mean, norm ? 1.0 : 0.0, 0.02 * 5 / std::sqrt(n)) << tensor.name;
      // The deviation of so heavy a tail is a loose figure in small samples.
      EXPECT_NEAR(statistics[i]->standard_deviation, 0.02, norm ? 0.01 : 0.0015) << tensor.name;
    }
  }
}

TEST(Synthesize, BothFormatsHoldTheSameWeights) {
  const TemporaryFolder folder;
  const auto shape = synthesize(folder.path() / "m.gguf", {.size = 3'000'000});
  ASSERT_THAT(shape, is_ok());
  ASSERT_THAT(synthesize(folder.path() / "m.safetensors", {.size = 3'000'000}), is_ok());
  const Model gguf = open_model(folder.path() / "m.gguf").value();
  const Model tensors = open_model(folder.path() / "m.safetensors").value();
  ASSERT_EQ(gguf.tensors.size(), tensors.tensors.size());
  EXPECT_TRUE(tensor_bytes(gguf, "blk.0.ffn_down.weight") ==
              tensor_bytes(tensors, "model.layers.0.mlp.down_proj.weight"));
  EXPECT_TRUE(tensor_bytes(gguf, "output.weight") == tensor_bytes(tensors, "lm_head.weight"));
  EXPECT_EQ(gguf.metadata.find("llama.block_count")->as_unsigned(), static_cast<uint64_t>(shape->layers));
  EXPECT_EQ(gguf.find("output.weight")->shape,
            Shape::create(std::vector{shape->vocab, shape->width}).value());
}

TEST(SynthesizedShape, GrowsInWidthWithTheSize) {
  int64_t width = 0;
  for (const uint64_t gigabytes : {uint64_t{1}, uint64_t{14}, uint64_t{140}}) {
    const auto shape = synthesized_shape({.size = gigabytes * 1'000'000'000});
    ASSERT_THAT(shape, is_ok());
    EXPECT_GT(shape->width, width);
    EXPECT_GE(shape->layers, 8);
    width = shape->width;
  }
}

TEST(Synthesize, RefusesWhatItCannotMake) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "m.gguf";
  EXPECT_THAT(synthesize(folder.path() / "m.bin", {.size = 3'000'000}),
              fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(synthesize(path, {.size = 1000}), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(synthesize(path, {.size = 3'000'000, .encoding = Encoding::kQ8_0}),
              fails_with(ErrorCode::kInvalidArgument));
  ASSERT_THAT(write_file(path, {}), is_ok());
  EXPECT_THAT(synthesize(path, {.size = 3'000'000}), fails_with(ErrorCode::kInvalidArgument));
  std::stop_source source;
  source.request_stop();
  EXPECT_THAT(
      synthesize(folder.path() / "other.gguf", {.size = 3'000'000, .control = {.stop = source.get_token()}}),
      fails_with(ErrorCode::kCancelled));
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"m.gguf"});
  EXPECT_EQ(fs::file_size(path), 0u);
}

}  // namespace
}  // namespace lobit
