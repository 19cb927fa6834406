#include "lobit/format/model.h"

#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "lobit/base/test_support.h"
#include "lobit/format/gguf.h"
#include "lobit/format/gguf_test_support.h"
#include "lobit/format/safetensors.h"
#include "lobit/format/split.h"

namespace lobit {
namespace {

namespace fs = std::filesystem;

void write(const fs::path& path, std::string_view bytes) {
  ASSERT_THAT(write_file(path, as_bytes(bytes)), is_ok());
}

std::vector<TensorSpec> tensors_of(const std::vector<std::string>& names) {
  std::vector<TensorSpec> tensors;
  for (const std::string& name : names) {
    tensors.push_back({name, *Shape::create(std::vector<int64_t>{2, 3}), Encoding::kF32});
  }
  return tensors;
}

std::string file_of(const Result<FileLayout>& layout) {
  EXPECT_THAT(layout, is_ok());
  std::string file = layout->header;
  file.resize(layout->file_bytes);
  return file;
}

std::string gguf_file(const Metadata& metadata, const std::vector<std::string>& names) {
  return file_of(layout_gguf(metadata, tensors_of(names)));
}

std::string safetensors_file(const std::vector<std::string>& names, const Metadata& metadata = {}) {
  return file_of(layout_safetensors(metadata, tensors_of(names)));
}

std::vector<std::string> names_of(const Model& model) {
  std::vector<std::string> names;
  for (const TensorEntry& tensor : model.tensors) names.push_back(tensor.name);
  return names;
}

void expect_message(const Result<Model>& model, ErrorCode code, std::string_view part) {
  ASSERT_THAT(model, fails_with(code));
  EXPECT_NE(model.error().message.find(part), std::string::npos) << model.error().message;
}

Metadata split_metadata(uint16_t number, uint16_t count, int32_t tensors) {
  Metadata metadata;
  if (number == 0) metadata.set("general.architecture", MetadataValue::string("llama"));
  metadata.set(kSplitNumberKey, MetadataValue::u16(number));
  metadata.set(kSplitCountKey, MetadataValue::u16(count));
  metadata.set(kSplitTensorsKey, MetadataValue::i32(tensors));
  return metadata;
}

class SplitModel : public testing::Test {
 protected:
  SplitModel() {
    part(1, split_metadata(0, 3, 4), {"a", "b"});
    part(2, split_metadata(1, 3, 4), {"c"});
    part(3, split_metadata(2, 3, 4), {"d"});
  }
  fs::path path(uint32_t number) const { return folder_.path() / split_part_name("m", number, 3); }
  void part(uint32_t number, const Metadata& metadata, const std::vector<std::string>& names) {
    write(path(number), gguf_file(metadata, names));
  }
  TemporaryFolder folder_;
};

TEST(OpenModel, OpensGguf) {
  const TemporaryFolder folder;
  Metadata metadata;
  metadata.set("general.architecture", MetadataValue::string("llama"));
  const fs::path path = folder.path() / "named.anything";
  write(path, file_of(layout_gguf(metadata, tensors_of({"x", "y"}), 64)));
  const auto model = open_model(path);
  ASSERT_THAT(model, is_ok());
  EXPECT_EQ(model->format, FileFormat::kGguf);
  EXPECT_EQ(model->version, 3u);
  EXPECT_EQ(model->alignment, 64u);
  EXPECT_EQ(model->path, path);
  EXPECT_FALSE(model->is_folder);
  EXPECT_EQ(names_of(*model), (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(model->metadata.find("general.architecture")->as_string(), "llama");
  EXPECT_EQ(model->tensor_bytes(), 48u);
  EXPECT_EQ(model->elements(), 12u);
  ASSERT_NE(model->find("y"), nullptr);
  EXPECT_EQ(model->find("y")->offset, model->parts[0].data_offset + 64);
  EXPECT_EQ(model->find("z"), nullptr);
}

TEST(OpenModel, OpensSafetensors) {
  const TemporaryFolder folder;
  Metadata metadata;
  metadata.set("format", MetadataValue::string("pt"));
  write(folder.path() / "m.gguf", safetensors_file({"x"}, metadata));
  const auto model = open_model(folder.path() / "m.gguf");
  ASSERT_THAT(model, is_ok());
  EXPECT_EQ(model->format, FileFormat::kSafetensors);
  EXPECT_EQ(model->version, 0u);
  EXPECT_EQ(model->metadata.find("format")->as_string(), "pt");
  EXPECT_EQ(names_of(*model), std::vector<std::string>{"x"});
  EXPECT_EQ(model->find("x")->offset, model->parts[0].data_offset);
}

TEST(OpenModel, RefusesWhatIsNoModel) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "m.bin";
  EXPECT_THAT(open_model(path), fails_with(ErrorCode::kNotFound));
  const struct {
    std::string_view bytes, found;
  } cases[] = {
      {"", "an empty file"},
      {"GGU", "'GGU'"},
      {"PK\x03\x04....", "PyTorch"},
      {"\x80\x02}q....", "pickle"},
      {"tjgg....................", "before GGUF"},
      {"version https://git-lfs.github.com/spec/v1", "Git LFS"},
      {std::string_view("\x08\0\0\0\0\0\0\0[]", 10), "'\\x08"},
  };
  for (const auto& c : cases) {
    write(path, c.bytes);
    expect_message(open_model(path), ErrorCode::kUnsupported, "neither GGUF nor safetensors");
    expect_message(open_model(path), ErrorCode::kUnsupported, c.found);
  }
}

TEST(OpenModel, PassesOnTheReadersErrors) {
  const TemporaryFolder folder;
  const std::string file = gguf_file({}, {"x"});
  write(folder.path() / "m", file.substr(0, 30));
  const auto model = open_model(folder.path() / "m");
  ASSERT_THAT(model, fails_with(ErrorCode::kCorrupt));
  EXPECT_TRUE(model.error().detail.offset.has_value());
}

TEST_F(SplitModel, FirstPartOpensAll) {
  const auto model = open_model(path(1));
  ASSERT_THAT(model, is_ok());
  EXPECT_EQ(names_of(*model), (std::vector<std::string>{"a", "b", "c", "d"}));
  ASSERT_EQ(model->parts.size(), 3u);
  for (uint32_t i = 0; i < 3; ++i) EXPECT_EQ(model->parts[i].path, path(i + 1));
  EXPECT_EQ(model->find("b")->part, 0u);
  EXPECT_EQ(model->find("d")->part, 2u);
  EXPECT_EQ(model->find("d")->offset, model->parts[2].data_offset);
  ASSERT_EQ(model->metadata.size(), 1u);
  EXPECT_EQ(model->metadata.entries()[0].key, "general.architecture");
}

TEST_F(SplitModel, FirstPartMayHoldNoTensors) {
  part(1, split_metadata(0, 3, 2), {});
  const auto model = open_model(path(1));
  ASSERT_THAT(model, is_ok());
  EXPECT_EQ(names_of(*model), (std::vector<std::string>{"c", "d"}));
  EXPECT_EQ(model->find("c")->part, 1u);
}

TEST_F(SplitModel, KeysMayBeOfAnyIntegerType) {
  Metadata metadata = split_metadata(0, 3, 4);
  metadata.set(kSplitNumberKey, MetadataValue::i32(0));
  metadata.set(kSplitCountKey, MetadataValue::u32(3));
  part(1, metadata, {"a", "b"});
  EXPECT_THAT(open_model(path(1)), is_ok());
  metadata.set(kSplitCountKey, MetadataValue::string("3"));
  part(1, metadata, {"a", "b"});
  expect_message(open_model(path(1)), ErrorCode::kCorrupt, "'split.count'");
}

TEST_F(SplitModel, OtherPartsNameTheFirst) {
  expect_message(open_model(path(2)), ErrorCode::kInvalidArgument, "m-00001-of-00003.gguf");
}

TEST_F(SplitModel, MissingPartIsNamed) {
  fs::remove(path(3));
  expect_message(open_model(path(1)), ErrorCode::kNotFound, "m-00003-of-00003.gguf");
  EXPECT_EQ(open_model(path(1)).error().detail.index, 2u);
}

TEST_F(SplitModel, RenamedFirstPartCannotFindTheOthers) {
  fs::rename(path(1), folder_.path() / "renamed.gguf");
  expect_message(open_model(folder_.path() / "renamed.gguf"), ErrorCode::kNotFound, "-00001-of-00003.gguf");
}

TEST_F(SplitModel, NameAndKeysMustAgree) {
  part(1, split_metadata(0, 2, 4), {"a", "b"});
  expect_message(open_model(path(1)), ErrorCode::kCorrupt, "its name says part 1 of 3");
}

TEST_F(SplitModel, PartsMustAgree) {
  part(3, split_metadata(1, 3, 4), {"d"});
  expect_message(open_model(path(1)), ErrorCode::kCorrupt,
                 "expected the keys of part 3 of 3, found part 2 of 3");
  part(3, {}, {"d"});
  expect_message(open_model(path(1)), ErrorCode::kCorrupt, "found none");
}

TEST_F(SplitModel, PartOfAnotherModelIsRefused) {
  Metadata metadata = split_metadata(2, 3, 4);
  metadata.set("general.architecture", MetadataValue::string("qwen2"));
  part(3, metadata, {"d"});
  expect_message(open_model(path(1)), ErrorCode::kCorrupt, "another model");
  metadata.set("general.architecture", MetadataValue::string("llama"));
  part(3, metadata, {"d"});
  EXPECT_THAT(open_model(path(1)), is_ok());
}

TEST_F(SplitModel, NumberMustBeBelowTheCount) {
  part(1, split_metadata(3, 3, 4), {"a", "b"});
  expect_message(open_model(path(1)), ErrorCode::kCorrupt, "split.no");
  part(1, split_metadata(0, 0, 4), {"a", "b"});
  expect_message(open_model(path(1)), ErrorCode::kCorrupt, "split.count");
  Metadata metadata = split_metadata(0, 3, 4);
  metadata.erase(kSplitCountKey);
  part(1, metadata, {"a", "b"});
  expect_message(open_model(path(1)), ErrorCode::kCorrupt, "together");
}

TEST_F(SplitModel, TensorCountMustAgree) {
  part(3, split_metadata(2, 3, 4), {"d", "e"});
  const auto model = open_model(path(1));
  expect_message(model, ErrorCode::kCorrupt, "split.tensors.count");
  EXPECT_EQ(model.error().detail.required, 4u);
  EXPECT_EQ(model.error().detail.available, 5u);
}

TEST_F(SplitModel, TensorInTwoPartsIsRefused) {
  part(3, split_metadata(2, 3, 4), {"b"});
  const auto model = open_model(path(1));
  expect_message(model, ErrorCode::kCorrupt, "tensor 'b'");
  expect_message(model, ErrorCode::kCorrupt, "m-00001-of-00003.gguf");
  expect_message(model, ErrorCode::kCorrupt, "m-00003-of-00003.gguf");
}

TEST(OpenModel, SplitOfOnePartNeedsNoName) {
  const TemporaryFolder folder;
  write(folder.path() / "m.gguf", gguf_file(split_metadata(0, 1, 1), {"a"}));
  const auto model = open_model(folder.path() / "m.gguf");
  ASSERT_THAT(model, is_ok());
  EXPECT_EQ(model->metadata.find(kSplitCountKey), nullptr);
}

class ModelFolder : public testing::Test {
 protected:
  void file(const std::string& name, const std::vector<std::string>& tensors) {
    write(folder_.path() / name, safetensors_file(tensors));
  }
  void index(const std::map<std::string, std::string>& weight_map) {
    write(folder_.path() / "model.safetensors.index.json",
          write_safetensors_index({weight_map, {}}, 24 * weight_map.size()));
  }
  Result<Model> open() const { return open_model(folder_.path()); }
  TemporaryFolder folder_;
};

TEST_F(ModelFolder, WithoutIndexHasAllFilesByName) {
  file("b.safetensors", {"y", "z"});
  file("a.safetensors", {"x"});
  file(".hidden.safetensors", {"x"});
  write(folder_.path() / "config.json", "{}");
  const auto model = open();
  ASSERT_THAT(model, is_ok());
  EXPECT_TRUE(model->is_folder);
  EXPECT_EQ(model->format, FileFormat::kSafetensors);
  EXPECT_EQ(names_of(*model), (std::vector<std::string>{"x", "y", "z"}));
  ASSERT_EQ(model->parts.size(), 2u);
  EXPECT_EQ(model->parts[0].path, folder_.path() / "a.safetensors");
  EXPECT_EQ(model->find("z")->part, 1u);
}

TEST_F(ModelFolder, WithoutIndexRefusesOneNameInTwoFiles) {
  file("a.safetensors", {"x"});
  file("b.safetensors", {"w", "x"});
  expect_message(open(), ErrorCode::kCorrupt, "b.safetensors: tensor 'x': is in");
}

TEST_F(ModelFolder, WithIndexHasTheFilesThatItNames) {
  file("s1.safetensors", {"x"});
  file("s2.safetensors", {"y", "z"});
  file("another.safetensors", {"x", "q"});
  index({{"z", "s2.safetensors"}, {"x", "s1.safetensors"}, {"y", "s2.safetensors"}});
  const auto model = open();
  ASSERT_THAT(model, is_ok());
  EXPECT_EQ(names_of(*model), (std::vector<std::string>{"x", "y", "z"}));
  EXPECT_EQ(model->parts.size(), 2u);
}

TEST_F(ModelFolder, IndexMustNameTheTensorsExactly) {
  file("s1.safetensors", {"x"});
  file("s2.safetensors", {"y", "z"});
  index({{"x", "s1.safetensors"}, {"y", "s2.safetensors"}});
  expect_message(open(), ErrorCode::kCorrupt, "tensor 'z': model.safetensors.index.json does not name it");
  index({{"x", "s1.safetensors"}, {"y", "s2.safetensors"}, {"z", "s2.safetensors"}, {"w", "s1.safetensors"}});
  expect_message(open(), ErrorCode::kCorrupt, "tensor 'w': expected it in 's1.safetensors'");
  index({{"x", "s1.safetensors"}, {"y", "s2.safetensors"}, {"z", "s1.safetensors"}});
  expect_message(open(), ErrorCode::kCorrupt,
                 "tensor 'z': model.safetensors.index.json has it in 's1.safetensors'");
  file("s2.safetensors", {"x", "y"});
  index({{"x", "s1.safetensors"}, {"y", "s2.safetensors"}});
  expect_message(open(), ErrorCode::kCorrupt,
                 "tensor 'x': model.safetensors.index.json has it in an earlier file");
}

TEST_F(ModelFolder, MissingShardIsNamed) {
  file("s1.safetensors", {"x"});
  index({{"x", "s1.safetensors"}, {"y", "s2.safetensors"}});
  expect_message(open(), ErrorCode::kNotFound, "s2.safetensors");
}

TEST_F(ModelFolder, PartsWithoutIndexMustAllBeThere) {
  file("model-00001-of-00003.safetensors", {"x"});
  file("model-00003-of-00003.safetensors", {"z"});
  expect_message(open(), ErrorCode::kNotFound, "model-00002-of-00003.safetensors is missing");
  file("model-00002-of-00003.safetensors", {"y"});
  const auto model = open();
  ASSERT_THAT(model, is_ok());
  EXPECT_EQ(names_of(*model), (std::vector<std::string>{"x", "y", "z"}));
}

TEST_F(ModelFolder, LinksThatLeadNowhereAreErrors) {
  fs::create_symlink("s1.safetensors", folder_.path() / "s1.safetensors");
  EXPECT_THAT(open(), fails_with(ErrorCode::kIo));
  index({{"x", "s1.safetensors"}});
  EXPECT_THAT(open(), fails_with(ErrorCode::kIo));
  fs::remove(folder_.path() / "model.safetensors.index.json");
  fs::create_symlink("gone", folder_.path() / "model.safetensors.index.json");
  EXPECT_THAT(open(), fails_with(ErrorCode::kNotFound));
}

TEST_F(ModelFolder, FollowsLinksToFiles) {
  fs::create_directory(folder_.path() / "blobs");
  file("blobs/123", {"x"});
  fs::create_symlink("blobs/123", folder_.path() / "model.safetensors");
  EXPECT_THAT(open(), is_ok());
}

TEST_F(ModelFolder, EmptyFolderSaysWhatWasLookedFor) {
  expect_message(open(), ErrorCode::kNotFound, "looked for model.safetensors.index.json and *.safetensors");
  write(folder_.path() / "m.gguf", gguf_file({}, {"x"}));
  write(folder_.path() / "pytorch_model.bin", "PK");
  expect_message(open(), ErrorCode::kNotFound, "there is m.gguf, pytorch_model.bin");
}

TEST_F(ModelFolder, GgufFilesInItAreNotItsModel) {
  file("a.safetensors", {"x"});
  write(folder_.path() / "m.gguf", gguf_file({}, {"y"}));
  const auto model = open();
  ASSERT_THAT(model, is_ok());
  EXPECT_EQ(names_of(*model), std::vector<std::string>{"x"});
}

}  // namespace
}  // namespace lobit
