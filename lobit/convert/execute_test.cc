#include "lobit/convert/execute.h"

#include <cmath>
#include <limits>
#include <stdexcept>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/convert/memory_test_support.h"
#include "lobit/convert/model_test_support.h"
#include "lobit/dtype/block.h"
#include "lobit/dtype/half.h"

namespace lobit {
namespace {

namespace fs = std::filesystem;
using enum Encoding;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Every kind of tensor, some of several chunks even in the smallest buffer and none a multiple of a chunk.
Model llama(const fs::path& path, Encoding encoding = kF16) {
  return write_model(path, {{"token_embd.weight", {300, 256}, encoding},
                            {"blk.0.attn_norm.weight", {256}, kF32},
                            {"blk.0.attn_q.weight", {256, 256}, encoding},
                            {"blk.0.ffn_down.weight", {256, 96}, encoding},
                            {"blk.0.ffn_up.weight", {96, 256}, encoding},
                            {"ids", {33}, kRawI32},
                            {"output.weight", {300, 256}, encoding}});
}

ConversionPlan plan_of(const Model& model, const fs::path& output, const EncodingPolicy& policy,
                       TernaryRule ternary = TernaryRule::kDirect, uint64_t split = 0) {
  return plan_conversion(
             model, policy,
             {.path = output, .split_max_size = split, .names = NamePolicy::kRaw, .ternary = ternary})
      .value();
}

Result<ConversionResult> convert(const Model& model, const fs::path& output, Encoding to,
                                 const ExecuteOptions& options = {}) {
  return execute(model, plan_of(model, output, {.to = to, .defaults = PolicyDefaults::kPure}), options);
}

TEST(Execute, WritesWhatDecodingAndEncodingGive) {
  const TemporaryFolder folder;
  for (const Encoding from : {kF32, kF16, kBF16, kQ8_0, kTQ1_0}) {
    const Model source = write_model(folder.path() / "in.safetensors",
                                     {{"a.weight", {64, 512}, from}, {"b.weight", {3, 256}, from}});
    for (const EncodingTraits& to : all_encodings()) {
      if (!to.can_encode) continue;
      const fs::path path = folder.path() / "out.safetensors";
      ASSERT_THAT(convert(source, path, to.encoding, {.existing = ExistingFiles::kReplace}), is_ok());
      const Model target = open_model(path).value();
      for (const std::string name : {"a.weight", "b.weight"}) {
        ASSERT_EQ(target.find(name)->encoding, to.encoding);
        const std::vector<std::byte> expected = from == to.encoding
                                                    ? tensor_bytes(source, name)
                                                    : test_encoded(to.encoding, tensor_values(source, name));
        EXPECT_TRUE(tensor_bytes(target, name) == expected) << encoding_name(from) << " -> " << to.name;
      }
    }
  }
}

TEST(Execute, CopiesWhatIsKept) {
  const TemporaryFolder folder;
  const Model source = llama(folder.path() / "in.gguf");
  const fs::path path = folder.path() / "out.gguf";
  ASSERT_THAT(execute(source, plan_of(source, path, {.to = kTQ2_0, .keep = {"ffn_up"}}), {}), is_ok());
  const Model target = open_model(path).value();
  for (const std::string name : {"blk.0.attn_norm.weight", "blk.0.ffn_up.weight", "ids"}) {
    EXPECT_EQ(target.find(name)->encoding, source.find(name)->encoding);
    EXPECT_TRUE(tensor_bytes(target, name) == tensor_bytes(source, name)) << name;
  }
}

TEST(Execute, ThreadsAndMemoryDoNotChangeTheBytes) {
  const TemporaryFolder folder;
  const Model source = llama(folder.path() / "in.gguf");
  const fs::path path = folder.path() / "out.gguf";
  for (const TernaryRule rule : {TernaryRule::kDirect, TernaryRule::kAbsMean}) {
    const ConversionPlan plan = plan_of(source, path, {.to = kTQ2_0}, rule);
    const auto refused = execute(source, plan, {.memory_limit = 1, .existing = ExistingFiles::kReplace});
    ASSERT_THAT(refused, fails_with(ErrorCode::kLimit));
    const uint64_t least = refused.error().detail.required.value();
    std::string expected;
    for (const uint64_t limit : {uint64_t{0}, least, least + 1, 2 * least, 3 * least, uint64_t{64} << 20}) {
      for (size_t threads = 1; threads <= 5; ++threads) {
        const auto result = execute(
            source, plan, {.memory_limit = limit, .threads = threads, .existing = ExistingFiles::kReplace});
        ASSERT_THAT(result, is_ok());
        EXPECT_LE(result->threads, threads);
        EXPECT_LT(result->buffer_bytes, limit > 0 ? limit : UINT64_MAX);
        if (expected.empty()) expected = file_text(path);
        EXPECT_TRUE(file_text(path) == expected) << limit << " bytes, " << threads << " threads";
      }
    }
  }
}

TEST(Execute, TakesEveryBufferFromTheResourceOfTheCaller) {
  const TemporaryFolder folder;
  const Model source = llama(folder.path() / "in.gguf");
  const auto pool = HybridMemoryPool::create().value();
  for (const uint64_t limit : {0u, 300'000u}) {
    StatisticsResource memory(*pool);
    const auto result = convert(
        source, folder.path() / "out.gguf", kQ4_0,
        {.memory_limit = limit, .memory = &memory, .threads = 2, .existing = ExistingFiles::kReplace});
    ASSERT_THAT(result, is_ok());
    EXPECT_EQ(memory.statistics().allocations, result->threads);
    EXPECT_EQ(memory.statistics().peak_bytes, result->buffer_bytes);
    EXPECT_EQ(memory.statistics().live_bytes, 0u);
  }
  // So do conversions that fail because of the values.
  StatisticsResource memory(*pool);
  const Model bad = write_model(folder.path() / "bad.gguf", {floats("w", {1, 256}, std::vector(256, kNan))});
  EXPECT_THAT(convert(bad, folder.path() / "none.gguf", kQ4_0, {.memory = &memory}),
              fails_with(ErrorCode::kDataLoss));
  EXPECT_GT(memory.statistics().allocations, 0u);
  EXPECT_EQ(memory.statistics().live_blocks, 0u);
}

TEST(Execute, AnAllocationThatFailsLeavesNothing) {
  const TemporaryFolder folder;
  const Model source = llama(folder.path() / "in.gguf");
  for (const char* const name : {"out.gguf", "out"}) {
    const fs::path path = folder.path() / name;
    const ConversionPlan plan =
        plan_of(source, path, {.to = kTQ2_0, .defaults = PolicyDefaults::kPure}, TernaryRule::kAbsMean);
    const AllocationStatistics used = fail_each_allocation(
        [&](MemoryResource& memory) { return execute(source, plan, {.memory = &memory, .threads = 3}); },
        [&] { EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"in.gguf"}); });
    EXPECT_EQ(used.allocations, 4u);  // a buffer for each thread, and the sums of the means
    EXPECT_TRUE(fs::exists(path));
    fs::remove_all(path);
  }
}

TEST(Execute, ALimitOfTheCallersResourceHolds) {
  const TemporaryFolder folder;
  const Model source = llama(folder.path() / "in.gguf");
  const fs::path path = folder.path() / "out.gguf";
  const auto pool = HybridMemoryPool::create({.limit = 1 << 20}).value();
  EXPECT_THAT(convert(source, path, kQ4_0, {.memory = pool.get()}), fails_with(ErrorCode::kLimit));
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"in.gguf"});
  // The memory limit tells how much the conversion is to ask for.
  EXPECT_THAT(convert(source, path, kQ4_0, {.memory_limit = 1 << 20, .memory = pool.get()}), is_ok());
  EXPECT_EQ(pool->usage().allocated, 0u);
}

TEST(Execute, ALimitThatIsTooSmallNamesTheLeastAndWritesNothing) {
  const TemporaryFolder folder;
  const Model source = llama(folder.path() / "in.gguf");
  for (const char* const name : {"out.gguf", "out"}) {
    const fs::path path = folder.path() / name;
    const auto refused = convert(source, path, kQ4_0, {.memory_limit = 4096, .threads = 2});
    ASSERT_THAT(refused, fails_with(ErrorCode::kLimit));
    EXPECT_EQ(refused.error().detail.available, 4096u);
    const uint64_t least = refused.error().detail.required.value();
    EXPECT_THAT(convert(source, path, kQ4_0, {.memory_limit = least - 1}), fails_with(ErrorCode::kLimit));
    EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"in.gguf"});
    EXPECT_THAT(convert(source, path, kQ4_0, {.memory_limit = least}), is_ok());
    EXPECT_TRUE(fs::exists(path));
    fs::remove_all(path);
  }
}

TEST(Execute, TheFirstValueThatDoesNotFitIsNamedWithAnyThreads) {
  const TemporaryFolder folder;
  std::vector<float> values = test_weights(size_t{64} * 1024);
  std::vector<float> later = values;
  values[20'003] = 70'000.0f;
  values[50'000] = kInf;
  later[0] = 1e30f;
  const Model source = write_model(
      folder.path() / "in.gguf",
      {{"first", {64, 1024}, kF32}, floats("bad", {64, 1024}, values), floats("later", {64, 1024}, later)});
  const fs::path path = folder.path() / "out.gguf";
  // Blocks hold 70000 but not Inf; F16 holds Inf, which is what the source says, but not 70000.
  for (const auto& [to, element] : {std::pair{kF16, 20'003u}, {kQ8_0, 50'000u}}) {
    for (size_t threads = 1; threads <= 5; ++threads) {
      const auto result = convert(source, path, to, {.memory_limit = 700'000, .threads = threads});
      ASSERT_THAT(result, fails_with(ErrorCode::kDataLoss));
      EXPECT_EQ(result.error().detail.index, element);
      EXPECT_EQ(result.error().detail.to, encoding_name(to));
      EXPECT_NE(result.error().message.find("tensor 'bad': element " + std::to_string(element)),
                std::string::npos)
          << result.error().message;
    }
  }
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"in.gguf"});
}

TEST(Execute, SaturatesAndCountsByTensor) {
  const TemporaryFolder folder;
  std::vector<float> values = test_weights(1024);
  values[5] = -1e6f;
  values[40] = kInf;
  values[70] = kNan;
  const Model source =
      write_model(folder.path() / "in.gguf", {{"good", {4, 256}, kF32}, floats("bad", {4, 256}, values)});
  const fs::path path = folder.path() / "out.gguf";
  const ExecuteOptions options{.overflow = OverflowRule::kSaturate, .existing = ExistingFiles::kReplace};

  auto result = convert(source, path, kF16, options);
  ASSERT_THAT(result, is_ok());
  EXPECT_EQ(result->tensors[0].saturated, 0u);
  EXPECT_EQ(result->tensors[1].saturated, 1u);
  std::vector<float> stored = tensor_values(open_model(path).value(), "bad");
  EXPECT_EQ(stored[5], -65504.0f);
  EXPECT_EQ(stored[40], kInf);
  EXPECT_TRUE(std::isnan(stored[70]));

  result = convert(source, path, kQ8_0, options);
  ASSERT_THAT(result, is_ok());
  EXPECT_EQ(result->tensors[1].saturated, 2u);  // -1e6 fits
  stored = tensor_values(open_model(path).value(), "bad");
  EXPECT_NEAR(stored[5], -1e6f, 1e3f);
  EXPECT_GT(stored[40], 0.03f);
  EXPECT_EQ(stored[70], 0.0f);
}

TEST(Execute, CountsFlushedGroupsByTensor) {
  const TemporaryFolder folder;
  std::vector<float> values = test_weights(1024);
  std::fill_n(values.begin() + 32, 64, 1e-38f);
  const Model source =
      write_model(folder.path() / "in.gguf", {{"good", {4, 256}, kF32}, floats("tiny", {4, 256}, values)});
  const fs::path path = folder.path() / "out.gguf";
  const auto result = convert(source, path, kQ4_0);
  ASSERT_THAT(result, is_ok());
  EXPECT_EQ(result->tensors[0].flushed, 0u);
  EXPECT_EQ(result->tensors[1].flushed, 2u);
  EXPECT_EQ(tensor_values(open_model(path).value(), "tiny")[40], 0.0f);
}

TEST(Execute, ACodeWithoutMeaningIsCorruptButIsCopied) {
  const TemporaryFolder folder;
  std::vector<std::byte> blocks = test_encoded(kTQ2_0, test_weights(size_t{256} * 2000));
  const size_t at = 1234 * sizeof(BlockTQ2_0);
  blocks[at + 7] = std::byte{0xC0};
  const Model source =
      write_model(folder.path() / "in.gguf", {{"a", {1, 256}, kF32}, {"codes", {2000, 256}, kTQ2_0, blocks}});
  const fs::path path = folder.path() / "out.gguf";
  for (size_t threads = 1; threads <= 3; ++threads) {
    const auto result = convert(source, path, kF16, {.threads = threads});
    ASSERT_THAT(result, fails_with(ErrorCode::kCorrupt));
    EXPECT_EQ(result.error().detail.offset, source.find("codes")->offset + at);
    EXPECT_EQ(result.error().detail.index, 1234u);
  }
  EXPECT_FALSE(fs::exists(path));
  ASSERT_THAT(convert(source, path, kTQ2_0), is_ok());
  EXPECT_TRUE(tensor_bytes(open_model(path).value(), "codes") == blocks);
}

TEST(Execute, AbsMeanUsesOneScaleForATensor) {
  const TemporaryFolder folder;
  const std::vector<float> values = test_weights(size_t{100} * 512);
  const Model source = write_model(folder.path() / "in.gguf", {floats("w", {100, 512}, values)});
  double sum = 0;
  for (const float v : values) sum += std::fabs(static_cast<double>(v));
  const auto gamma = static_cast<float>(sum / static_cast<double>(values.size()));
  const float scale = f16_to_f32(f32_to_f16(gamma));
  for (const Encoding to : {kTQ2_0, kTQ1_0}) {
    const fs::path path = folder.path() / (std::string(encoding_name(to)) + ".gguf");
    ASSERT_THAT(
        execute(source,
                plan_of(source, path, {.to = to, .defaults = PolicyDefaults::kPure}, TernaryRule::kAbsMean),
                {}),
        is_ok());
    const std::vector<float> stored = tensor_values(open_model(path).value(), "w");
    size_t differing = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const float code = std::clamp(std::nearbyint(values[i] / gamma), -1.0f, 1.0f);
      if (stored[i] != code * scale) ++differing;
    }
    EXPECT_EQ(differing, 0u);
  }
}

TEST(Execute, AbsMeanBeyondF16IsDataLossOrSaturates) {
  const TemporaryFolder folder;
  // The mean is 70000, which no scale of F16 holds, though most chunks have only values that F16 does hold.
  std::vector<float> values(size_t{800} * 256, 40'000.0f);
  std::fill_n(values.begin() + 102'400, 102'400, 100'000.0f);
  const Model source = write_model(folder.path() / "in.gguf", {floats("w", {800, 256}, values)});
  const fs::path path = folder.path() / "out.gguf";
  const ConversionPlan plan =
      plan_of(source, path, {.to = kTQ2_0, .defaults = PolicyDefaults::kPure}, TernaryRule::kAbsMean);
  const auto refused = execute(source, plan, {.memory_limit = 250'000});
  ASSERT_THAT(refused, fails_with(ErrorCode::kDataLoss));
  EXPECT_NE(refused.error().message.find("tensor 'w': its mean magnitude 70000"), std::string::npos);
  const auto result = execute(source, plan, {.memory_limit = 250'000, .overflow = OverflowRule::kSaturate});
  ASSERT_THAT(result, is_ok());
  EXPECT_EQ(tensor_values(open_model(path).value(), "w"), std::vector<float>(values.size(), 65504.0f));
}

TEST(Execute, AbsMeanCountsTheMemoryOfItsSums) {
  const TemporaryFolder folder;
  const Model source = write_model(folder.path() / "in.gguf", {{"w", {1600, 256}, kF16}});
  const auto least = [&](TernaryRule rule) {
    const ConversionPlan plan = plan_of(source, folder.path() / "out.gguf", {.to = kTQ2_0}, rule);
    return execute(source, plan, {.memory_limit = 1}).error().detail.required.value();
  };
  // A double and a count for each 4096 elements.
  EXPECT_GE(least(TernaryRule::kAbsMean), least(TernaryRule::kDirect) + 100 * 16);
}

TEST(Execute, AbsMeanOfWhatIsNotFinite) {
  const TemporaryFolder folder;
  std::vector<float> values(512, 0.5f);
  values[300] = kNan;
  values[301] = -kInf;
  const Model source = write_model(folder.path() / "in.gguf", {floats("w", {2, 256}, values)});
  const fs::path path = folder.path() / "out.gguf";
  const ConversionPlan plan =
      plan_of(source, path, {.to = kTQ2_0, .defaults = PolicyDefaults::kPure}, TernaryRule::kAbsMean);
  const auto refused = execute(source, plan, {});
  ASSERT_THAT(refused, fails_with(ErrorCode::kDataLoss));
  EXPECT_EQ(refused.error().detail.index, 300u);
  const auto result = execute(source, plan, {.overflow = OverflowRule::kSaturate});
  ASSERT_THAT(result, is_ok());
  EXPECT_EQ(result->tensors[0].saturated, 1u);
  const std::vector<float> stored = tensor_values(open_model(path).value(), "w");
  EXPECT_EQ(stored[0], 0.5f);
  EXPECT_EQ(stored[300], 0.0f);
  EXPECT_EQ(stored[301], -0.5f);
}

TEST(Execute, LeavesNothingWhenStopped) {
  const TemporaryFolder folder;
  const Model source = llama(folder.path() / "in.gguf");
  std::stop_source stopped;
  stopped.request_stop();
  std::stop_source later;
  const RunControl controls[] = {
      {.stop = stopped.get_token()},
      {.progress = [&](const Progress&) { later.request_stop(); }, .stop = later.get_token()},
      {.progress = [](const Progress&) { throw std::runtime_error("enough"); }}};
  for (const char* const name : {"out.gguf", "out"}) {
    for (const RunControl& control : controls) {
      const auto result = convert(source, folder.path() / name, kQ8_0,
                                  {.memory_limit = 200'000, .threads = 1, .control = control});
      EXPECT_THAT(result, fails_with(ErrorCode::kCancelled));
      EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"in.gguf"});
    }
  }
}

TEST(Execute, ReportsProgressUpToTheWhole) {
  const TemporaryFolder folder;
  const Model source = llama(folder.path() / "in.gguf", kQ4_0);
  uint64_t done = 0;
  uint64_t total = 0;
  const auto progress = [&](const Progress& p) {
    EXPECT_GE(p.bytes_done, done);
    EXPECT_LE(p.bytes_done, p.bytes_total);
    done = p.bytes_done;
    total = p.bytes_total;
  };
  ASSERT_THAT(convert(source, folder.path() / "out.gguf", kF16, {.control = {.progress = progress}}),
              is_ok());
  EXPECT_EQ(done, total);
  EXPECT_EQ(total, source.tensor_bytes());
}

TEST(Execute, ReplacesOnlyWhereAllowed) {
  const TemporaryFolder folder;
  const Model source = llama(folder.path() / "in.gguf");
  const fs::path path = folder.path() / "out.gguf";
  ASSERT_THAT(write_file(path, std::as_bytes(std::span("old", 3))), is_ok());
  const auto refused = convert(source, path, kQ8_0);
  ASSERT_THAT(refused, fails_with(ErrorCode::kInvalidArgument));
  EXPECT_NE(refused.error().message.find(path.native()), std::string::npos);
  EXPECT_EQ(file_text(path), "old");
  ASSERT_THAT(
      convert(source, path, kQ8_0, {.existing = ExistingFiles::kReplace, .durability = Durability::kFsync}),
      is_ok());
  EXPECT_EQ(open_model(path).value().find("output.weight")->encoding, kQ8_0);
}

TEST(Execute, MayReplaceItsOwnSource) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "model.gguf";
  const Model source = llama(path);
  ASSERT_THAT(convert(source, folder.path() / "other.gguf", kQ5_1), is_ok());
  ASSERT_THAT(convert(source, path, kQ5_1, {.existing = ExistingFiles::kReplace}), is_ok());
  EXPECT_TRUE(file_text(path) == file_text(folder.path() / "other.gguf"));
}

TEST(Execute, AFolderThatDoesNotExistIsNotFound) {
  const TemporaryFolder folder;
  const Model source = llama(folder.path() / "in.gguf");
  EXPECT_THAT(convert(source, folder.path() / "no" / "out.gguf", kQ8_0), fails_with(ErrorCode::kNotFound));
}

void expect_same_tensors(const Model& a, const Model& b) {
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const TensorEntry& tensor : a.tensors) {
    const TensorEntry* const other = b.find(tensor.name);
    ASSERT_NE(other, nullptr) << tensor.name;
    EXPECT_EQ(other->encoding, tensor.encoding);
    EXPECT_EQ(other->shape, tensor.shape);
    EXPECT_TRUE(tensor_bytes(a, tensor.name) == tensor_bytes(b, tensor.name)) << tensor.name;
  }
}

TEST(Execute, SplitFilesAndFoldersHoldWhatOneFileHolds) {
  const TemporaryFolder folder;
  const Model source = llama(folder.path() / "in.gguf");
  const EncodingPolicy policy{.to = kQ4_0};
  ASSERT_THAT(execute(source, plan_of(source, folder.path() / "whole.gguf", policy), {}), is_ok());
  const Model whole = open_model(folder.path() / "whole.gguf").value();

  const ConversionPlan split =
      plan_of(source, folder.path() / "split.gguf", policy, TernaryRule::kDirect, 100'000);
  ASSERT_THAT(execute(source, split, {.durability = Durability::kFsync}), is_ok());
  const Model parts = open_model(split.files[0].target).value();
  EXPECT_GT(parts.parts.size(), 1u);
  EXPECT_EQ(parts.metadata, whole.metadata);
  expect_same_tensors(whole, parts);

  const ConversionPlan shards =
      plan_of(source, folder.path() / "shards", policy, TernaryRule::kDirect, 100'000);
  ASSERT_THAT(execute(source, shards, {}), is_ok());
  const Model sharded = open_model(folder.path() / "shards").value();
  EXPECT_TRUE(sharded.is_folder);
  EXPECT_EQ(sharded.parts.size(), shards.files.size());
  EXPECT_GT(shards.files.size(), 1u);
  expect_same_tensors(whole, sharded);

  // One file in place of the shards: the index that would hide it goes.
  const ConversionPlan single = plan_of(source, folder.path() / "shards", policy);
  ASSERT_THAT(execute(source, single, {.existing = ExistingFiles::kReplace}), is_ok());
  EXPECT_FALSE(fs::exists(folder.path() / "shards" / "model.safetensors.index.json"));
  EXPECT_TRUE(fs::exists(folder.path() / "shards" / "model.safetensors"));
}

TEST(Execute, CompanionFilesGoAlong) {
  const TemporaryFolder folder;
  const fs::path in = folder.path() / "in";
  fs::create_directory(in);
  llama(in / "model.safetensors");
  const std::string config(3'000'000, '7');  // larger than a buffer
  ASSERT_THAT(write_file(in / "config.json", std::as_bytes(std::span(config))), is_ok());
  ASSERT_THAT(write_file(in / "empty.txt", {}), is_ok());
  const Model source = open_model(in).value();
  const fs::path out = folder.path() / "out";
  ASSERT_THAT(convert(source, out, kQ8_0), is_ok());
  EXPECT_EQ(names_in(out), (std::vector<std::string>{"config.json", "empty.txt", "model.safetensors"}));
  EXPECT_TRUE(file_text(out / "config.json") == config);
}

TEST(Execute, AFailureBeforeTheEndLeavesNothing) {
  const TemporaryFolder folder;
  const fs::path in = folder.path() / "in";
  fs::create_directory(in);
  llama(in / "model.safetensors");
  ASSERT_THAT(write_file(in / "config.json", std::as_bytes(std::span("{}", 2))), is_ok());
  const Model source = open_model(in).value();
  const ConversionPlan plan = plan_of(source, folder.path() / "out", {.to = kQ8_0});
  fs::remove(in / "config.json");
  EXPECT_THAT(execute(source, plan, {}), fails_with(ErrorCode::kNotFound));
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"in"});
}

TEST(Execute, ARenameThatFailsLeavesNoPartOfTheSet) {
  const TemporaryFolder folder;
  const Model source = llama(folder.path() / "in.gguf");
  const ConversionPlan plan =
      plan_of(source, folder.path() / "out.gguf", {.to = kQ4_0}, TernaryRule::kDirect, 30'000);
  ASSERT_GE(plan.files.size(), 3u);
  // A folder stands where a later part should: the parts before it are already in place by then.
  const fs::path obstacle = plan.files.back().target;
  fs::create_directories(obstacle / "full");
  EXPECT_THAT(execute(source, plan, {.existing = ExistingFiles::kReplace}), fails_with(ErrorCode::kIo));
  EXPECT_EQ(names_in(folder.path()), (std::vector<std::string>{"in.gguf", obstacle.filename().native()}));
}

}  // namespace
}  // namespace lobit
