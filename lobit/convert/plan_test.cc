#include "lobit/convert/plan.h"

#include <numeric>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/convert/model_test_support.h"
#include "lobit/format/split.h"

namespace lobit {
namespace {

namespace fs = std::filesystem;
using enum Encoding;

// A model that is nowhere: planning reads no tensor.
Model model_of(FileFormat format, const std::vector<TensorSpec>& specs) {
  Model model;
  model.format = format;
  model.path = "in";
  model.alignment = format == FileFormat::kGguf ? kGgufDefaultAlignment : 1;
  for (const TensorSpec& spec : specs) {
    TensorEntry entry;
    entry.name = spec.name;
    entry.shape = spec.shape;
    entry.encoding = spec.encoding;
    entry.bytes = encoded_bytes(spec.encoding, spec.shape.elements()).value();
    model.tensors.push_back(entry);
  }
  return model;
}

TensorSpec spec(std::string name, std::vector<int64_t> extents, Encoding encoding = kF16) {
  return {std::move(name), Shape::create(extents).value(), encoding};
}

Model llama(FileFormat format = FileFormat::kGguf) {
  return model_of(format, {spec("token_embd.weight", {64, 256}), spec("blk.0.attn_norm.weight", {256}, kF32),
                           spec("blk.0.attn_q.weight", {256, 256}), spec("blk.0.attn_k.weight", {64, 256}),
                           spec("ids", {5}, kRawI32), spec("output.weight", {64, 256})});
}

const EncodingPolicy kToQ4{.to = kQ4_0};

TEST(PlanConversion, TheNameTellsTheTarget) {
  const TemporaryFolder folder;
  const fs::path dotted = folder.path() / "model.v2";
  fs::create_directory(dotted);
  struct Case {
    fs::path path;
    FileFormat format;
    bool to_folder;
  };
  for (const auto& [path, format, to_folder] :
       {Case{"out.gguf", FileFormat::kGguf, false}, Case{"out.safetensors", FileFormat::kSafetensors, false},
        Case{"out", FileFormat::kSafetensors, true}, Case{dotted, FileFormat::kSafetensors, true}}) {
    const auto plan = plan_conversion(llama(), kToQ4, {.path = path});
    ASSERT_THAT(plan, is_ok());
    EXPECT_EQ(plan->format, format);
    EXPECT_EQ(plan->to_folder, to_folder);
    ASSERT_EQ(plan->files.size(), 1u);
    EXPECT_EQ(plan->files[0].target, to_folder ? path / "model.safetensors" : path);
  }
  for (const char* const path : {"out.bin", "", "out.gguf.bak"}) {
    EXPECT_THAT(plan_conversion(llama(), kToQ4, {.path = path}), fails_with(ErrorCode::kInvalidArgument));
  }
  EXPECT_THAT(plan_conversion(llama(), kToQ4, {.path = "out.safetensors", .split_max_size = 1000}),
              fails_with(ErrorCode::kInvalidArgument));
}

// Reads the planned headers back and holds them against the plan.
void expect_consistent(const Model& model, const ConversionPlan& plan) {
  std::vector<std::vector<TensorEntry>> entries;
  uint64_t output_bytes = 0;
  for (const PlannedFile& file : plan.files) {
    std::string bytes = file.header;
    bytes.resize(file.file_bytes);
    const MemorySource source(std::as_bytes(std::span(bytes)), file.target.native());
    entries.push_back(plan.format == FileFormat::kGguf ? read_gguf(source).value().tensors
                                                       : read_safetensors(source).value().tensors);
    output_bytes += file.file_bytes;
  }
  EXPECT_EQ(plan.output_bytes, output_bytes);
  EXPECT_EQ(plan.source_bytes, model.tensor_bytes());
  uint64_t target_bytes = 0;
  ASSERT_EQ(plan.tensors.size(), model.tensors.size());
  for (const PlannedTensor& planned : plan.tensors) {
    const TensorEntry& tensor = model.tensors[planned.source];
    const auto& candidates = entries[planned.file];
    const auto found = std::ranges::find(candidates, tensor.name, &TensorEntry::name);
    ASSERT_NE(found, candidates.end()) << tensor.name;
    EXPECT_EQ(found->encoding, planned.choice.encoding);
    EXPECT_EQ(found->shape, tensor.shape);
    EXPECT_EQ(found->offset, planned.offset);
    EXPECT_EQ(found->bytes, planned.bytes);
    target_bytes += planned.bytes;
  }
  EXPECT_EQ(plan.target_bytes, target_bytes);
  const size_t listed = std::accumulate(entries.begin(), entries.end(), size_t{0},
                                        [](size_t sum, const auto& list) { return sum + list.size(); });
  EXPECT_EQ(listed, plan.tensors.size());
}

TEST(PlanConversion, HeadersAndSizesAgreeWithThePlan) {
  for (const char* const path : {"out.gguf", "out.safetensors", "out"}) {
    for (const uint64_t split : {uint64_t{0}, uint64_t{10'000}}) {
      if (split > 0 && std::string_view(path) == "out.safetensors") continue;
      SCOPED_TRACE(std::string(path) + " " + std::to_string(split));
      const Model model = llama();
      const auto plan = plan_conversion(model, kToQ4, {.path = path, .split_max_size = split});
      ASSERT_THAT(plan, is_ok());
      EXPECT_EQ(plan->files.size() > 1, split > 0);
      expect_consistent(model, *plan);
    }
  }
}

TEST(PlanConversion, PartsHoldWhatFitsAndAtLeastOneTensor) {
  // Of 512, 1024, 512, 512 and 4096 bytes as F16.
  const Model model =
      model_of(FileFormat::kGguf, {spec("a", {1, 256}), spec("b", {2, 256}), spec("c", {1, 256}),
                                   spec("d", {1, 256}), spec("e", {8, 256})});
  const auto plan = plan_conversion(model, {.to = kF16}, {.path = "dir/out.gguf", .split_max_size = 1536});
  ASSERT_THAT(plan, is_ok());
  std::vector<uint32_t> files;
  for (const PlannedTensor& tensor : plan->tensors) files.push_back(tensor.file);
  EXPECT_EQ(files, (std::vector<uint32_t>{0, 0, 1, 1, 2}));
  ASSERT_EQ(plan->files.size(), 3u);
  EXPECT_EQ(plan->files[0].target, "dir/out-00001-of-00003.gguf");
  EXPECT_EQ(plan->files[2].target, "dir/out-00003-of-00003.gguf");
}

TEST(PlanConversion, TheFirstPartCarriesTheMetadata) {
  Model model = llama();
  model.metadata.set("general.architecture", MetadataValue::string("llama"));
  const auto plan = plan_conversion(model, kToQ4, {.path = "out.gguf", .split_max_size = 10'000});
  ASSERT_THAT(plan, is_ok());
  for (size_t i = 0; i < plan->files.size(); ++i) {
    std::string bytes = plan->files[i].header;
    bytes.resize(plan->files[i].file_bytes);
    const Metadata metadata =
        read_gguf(MemorySource(std::as_bytes(std::span(bytes)), "part")).value().metadata;
    EXPECT_EQ(metadata.find("general.architecture") != nullptr, i == 0);
    EXPECT_EQ(metadata.find(kSplitNumberKey)->as_unsigned(), i);
    EXPECT_EQ(metadata.find(kSplitCountKey)->as_unsigned(), plan->files.size());
    EXPECT_EQ(metadata.find(kSplitTensorsKey)->as_unsigned(), model.tensors.size());
  }
}

TEST(PlanConversion, RefusesMorePartsThanNamesHaveRoomFor) {
  std::vector<TensorSpec> specs;
  for (size_t i = 0; i <= kMaxSplitParts; ++i) specs.push_back(spec("t" + std::to_string(i), {1, 1}, kF32));
  const Model model = model_of(FileFormat::kGguf, specs);
  const auto plan = plan_conversion(model, {.to = kF32}, {.path = "out.gguf", .split_max_size = 1});
  ASSERT_THAT(plan, fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(plan.error().detail.required, kMaxSplitParts + 1);
}

TEST(PlanConversion, AFolderTakesItsCompanionsAndGetsAnIndex) {
  const TemporaryFolder folder;
  const fs::path in = folder.path() / "in";
  fs::create_directories(in / "nested");
  write_model(in / "model.safetensors", {{"a.weight", {4, 256}, kF16}, {"b.weight", {4, 256}, kF16}});
  for (const char* const name : {"config.json", "tokenizer.json", ".hidden", "old.bin", "pytorch.pt"}) {
    ASSERT_THAT(write_file(in / name, {}), is_ok());
  }
  const Model model = open_model(in).value();
  const fs::path out = folder.path() / "out";

  const auto single = plan_conversion(model, kToQ4, {.path = out});
  ASSERT_THAT(single, is_ok());
  ASSERT_EQ(single->copies.size(), 2u);
  EXPECT_EQ(single->copies[0].source, in / "config.json");
  EXPECT_EQ(single->copies[0].target, out / "config.json");
  EXPECT_EQ(single->copies[1].source, in / "tokenizer.json");
  EXPECT_TRUE(single->obsolete.empty());

  const auto split = plan_conversion(model, kToQ4, {.path = out, .split_max_size = 1});
  ASSERT_THAT(split, is_ok());
  EXPECT_TRUE(split->obsolete.empty());
  ASSERT_EQ(split->copies.size(), 3u);
  const PlannedCopy& written = split->copies.back();
  EXPECT_TRUE(written.source.empty());
  EXPECT_EQ(written.target, out / "model.safetensors.index.json");
  const SafetensorsIndex index = read_safetensors_index(written.text, "index").value();
  EXPECT_EQ(index.weight_map,
            (std::map<std::string, std::string>{{"a.weight", "model-00001-of-00002.safetensors"},
                                                {"b.weight", "model-00002-of-00002.safetensors"}}));
  EXPECT_EQ(index.metadata.at("total_size"), std::to_string(split->target_bytes));
  EXPECT_EQ(split->files[1].target, out / "model-00002-of-00002.safetensors");
}

TEST(PlanConversion, ListsWhatItWouldReplace) {
  const TemporaryFolder folder;
  const fs::path out = folder.path() / "out";
  auto plan = plan_conversion(llama(), kToQ4, {.path = out});
  ASSERT_THAT(plan, is_ok());
  EXPECT_TRUE(plan->existing_targets().empty());
  fs::create_directory(out);
  plan = plan_conversion(llama(), kToQ4, {.path = out});
  ASSERT_THAT(plan, is_ok());
  EXPECT_TRUE(plan->existing_targets().empty());
  fs::create_symlink("nowhere", out / "model.safetensors");  // a link that leads nowhere is still in the way
  ASSERT_THAT(write_file(out / "model.safetensors.index.json", {}), is_ok());
  EXPECT_EQ(plan->existing_targets(),
            (std::vector<fs::path>{out / "model.safetensors", out / "model.safetensors.index.json"}));
}

TEST(PlanConversion, HuggingFaceNamesAreNotTakenForGgufs) {
  const Model model =
      model_of(FileFormat::kSafetensors, {spec("model.layers.0.mlp.up_proj.weight", {4, 256})});
  EXPECT_THAT(plan_conversion(model, kToQ4, {.path = "out.gguf"}), fails_with(ErrorCode::kUnsupported));
  EXPECT_THAT(plan_conversion(model, kToQ4, {.path = "out.safetensors"}), is_ok());
  const auto raw = plan_conversion(model, kToQ4, {.path = "out.gguf", .names = NamePolicy::kRaw});
  ASSERT_THAT(raw, is_ok());
  expect_consistent(model, *raw);
}

TEST(PlanConversion, WhatWasGgufBecomesGgufAgain) {
  Model model = llama(FileFormat::kSafetensors);
  model.metadata.set("gguf.general.architecture",
                     MetadataValue::string(R"({"type":"string","value":"llama"})"));
  const auto plan = plan_conversion(model, kToQ4, {.path = "out.gguf"});
  ASSERT_THAT(plan, is_ok());
  expect_consistent(model, *plan);
}

TEST(PlanConversion, KeepsAnAlignmentOnTheWayThroughSafetensors) {
  const TemporaryFolder folder;
  const std::vector<TensorSpec> specs{spec("a", {3, 32}, kF32), spec("b", {5, 32}, kF32)};
  const FileLayout layout = layout_gguf({}, specs, 256).value();
  std::string file = layout.header;
  file.resize(layout.file_bytes);
  const fs::path path = folder.path() / "in.gguf";
  ASSERT_THAT(write_file(path, std::as_bytes(std::span(file))), is_ok());
  const Model source = open_model(path).value();
  ASSERT_EQ(source.alignment, 256u);
  const auto same = plan_conversion(source, kToQ4, {.path = "out.gguf"});
  ASSERT_THAT(same, is_ok());
  expect_consistent(source, *same);
  EXPECT_EQ(same->tensors[1].offset % 256, 0u);

  const auto to = plan_conversion(source, kToQ4, {.path = "out.safetensors"});
  ASSERT_THAT(to, is_ok());
  std::string bytes = to->files[0].header;
  bytes.resize(to->files[0].file_bytes);
  Model between = model_of(FileFormat::kSafetensors, specs);
  between.metadata = read_safetensors(MemorySource(std::as_bytes(std::span(bytes)), "x")).value().metadata;
  const auto back = plan_conversion(between, kToQ4, {.path = "out.gguf", .names = NamePolicy::kRaw});
  ASSERT_THAT(back, is_ok());
  expect_consistent(between, *back);
}

TEST(PlanConversion, NamesTheFileAfterWhatMostWeightsGet) {
  const auto plan = plan_conversion(llama(), {.rules = {{"attn_q", kQ4_0}}}, {.path = "out.gguf"});
  ASSERT_THAT(plan, is_ok());
  EXPECT_EQ(plan->rule_matches, std::vector<size_t>{1});
  std::string bytes = plan->files[0].header;
  bytes.resize(plan->files[0].file_bytes);
  const Metadata metadata = read_gguf(MemorySource(std::as_bytes(std::span(bytes)), "x")).value().metadata;
  EXPECT_EQ(metadata.find("general.file_type")->as_unsigned(), 2u);
  EXPECT_EQ(metadata.find("lobit.encoding")->as_string(), "q4_0");
}

}  // namespace
}  // namespace lobit
