#include "lobit/format/tensor_file.h"

#include <array>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lobit/format/safetensors.h"
#include "lobit/format/tensor_file_test_support.h"
#include "lobit/memory/failing_resource.h"
#include "lobit/memory/limiting_resource.h"

namespace lobit {
namespace {

using enum Encoding;

class TensorFileTest : public ::testing::Test {
 protected:
  std::filesystem::path path(const std::string& name) const { return folder_.path() / name; }

  // Every format that exists, with rows that fill its blocks and, where it can, some that do not.
  std::vector<Tensor> tensors_of_all_formats() {
    std::vector<Tensor> tensors;
    const auto add = [&](const Shape& shape, ValueFormat format) {
      const std::string name = to_string(format) + ' ' + shape.to_string();
      tensors.push_back(any_tensor(name, shape, format, memory_));
    };
    for (const EncodingTraits& t : all_encodings()) {
      add(shape_of({3, 256}), {t.encoding});
      for (int scales = 1; scales < 7; ++scales) {
        const ValueFormat format{t.encoding, static_cast<ScaleGroup>(scales)};
        if (!is_valid(format)) continue;
        add(shape_of({2, 3, 71}), format);
        add(shape_of({256}), format);
        add(shape_of({}), format);
      }
    }
    return tensors;
  }

  TemporaryFolder folder_;
  SystemResource memory_;
};

TEST_F(TensorFileTest, SafetensorsGivesEveryFormatBackBitForBit) {
  const std::vector<Tensor> tensors = tensors_of_all_formats();
  ASSERT_THAT(save_tensors(path("a.safetensors"), tensors), is_ok());
  const auto loaded = load_tensors(path("a.safetensors"), memory_);
  ASSERT_THAT(loaded, is_ok());
  ASSERT_EQ(loaded->size(), tensors.size());
  for (const Tensor& tensor : tensors) {
    const Tensor* found = find_tensor(*loaded, tensor.name());
    ASSERT_NE(found, nullptr) << tensor.name();
    expect_same(*found, tensor);
    EXPECT_TRUE(found->is_exclusive());
    expect_same(*load_tensor(path("a.safetensors"), tensor.name(), memory_), tensor);
  }
}

TEST_F(TensorFileTest, GgufGivesPlainNumbersAndBlocksBack) {
  std::vector<Tensor> tensors = tensors_of_all_formats();
  std::erase_if(tensors, [](const Tensor& t) {
    return t.format().is_planar() || !traits(t.format().encoding).ggml_type;
  });
  ASSERT_GT(tensors.size(), 30u);
  ASSERT_THAT(save_tensors(path("a.gguf"), tensors), is_ok());
  const auto loaded = load_tensors(path("a.gguf"), memory_);
  ASSERT_THAT(loaded, is_ok());
  ASSERT_EQ(loaded->size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) expect_same((*loaded)[i], tensors[i]);
}

TEST_F(TensorFileTest, NpyGivesOneTensorBackWithoutItsName) {
  for (const ValueFormat format : {ValueFormat{kF32}, {kF16}, {kBF16}, {kF64}, {kRawI64}, {kBool}}) {
    for (const Shape& shape :
         {shape_of({}), shape_of({0}), shape_of({3, 5}), shape_of({2, 1, 2, 1, 2, 1, 2, 1})}) {
      Tensor tensor = any_tensor("w", shape, format, memory_);
      ASSERT_THAT(save_tensor(path("a.npy"), tensor), is_ok());
      const auto loaded = load_tensor(path("a.npy"), "", memory_);
      ASSERT_THAT(loaded, is_ok());
      tensor.set_name("");
      expect_same(*loaded, tensor);
      EXPECT_THAT(load_tensor(path("a.npy"), "w", memory_), fails_with(ErrorCode::kNotFound));
    }
  }
}

TEST_F(TensorFileTest, PutsViewsInOnePiece) {
  std::vector<Tensor> views;
  const auto add = [&](Result<Tensor> view) {
    ASSERT_THAT(view, is_ok());
    view->set_name(std::to_string(views.size()));
    views.push_back(*view);
  };
  // More than the buffer of a view holds.
  const Tensor plain = any_tensor("", shape_of({700, 900}), {kF32}, memory_);
  add(plain.transpose());
  add(plain.slice(1, 3, 899));
  add(any_tensor("", shape_of({1, 9}), {kF16}, memory_).broadcast_to(shape_of({4, 9})));
  add(any_tensor("", shape_of({4, 1024}), {kQ4_0}, memory_).slice(1, 64, 512));
  const std::array<size_t, 3> axes{1, 0, 2};
  for (const ScaleGroup scales : {ScaleGroup::kRow, ScaleGroup::kTensor, ScaleGroup::k32}) {
    const Tensor planar = any_tensor("", shape_of({30, 31, 1601}), {kQ8_0, scales}, memory_);
    add(planar.transpose(axes));
    add(planar.slice(2, 0, 1600));
    add(planar.slice(0, 3, 5));
  }
  ASSERT_THAT(save_tensors(path("a.safetensors"), views, {.checksums = TensorChecksums::kOn}), is_ok());
  for (const Tensor& view : views) {
    const auto found = load_tensor(path("a.safetensors"), view.name(), memory_);
    ASSERT_THAT(found, is_ok());
    expect_same(*found, view);
  }
  ASSERT_THAT(save_tensor(path("a.npy"), views[0]), is_ok());
  EXPECT_EQ(bytes_of(*load_tensor(path("a.npy"), "", memory_)), bytes_of(views[0]));
}

TEST_F(TensorFileTest, KeepsTagsNamesAndMetadata) {
  std::vector<Tensor> tensors;
  tensors.push_back(
      any_tensor("a \"quoted\"\n\xC3\xA9", shape_of({2, 33}), {kQ4_0, ScaleGroup::kRow}, memory_));
  tensors.push_back(any_tensor("b", shape_of({4}), {kF16}, memory_));
  tensors.push_back(any_tensor("c", shape_of({1}), {kF32}, memory_));
  tensors[0].set_tags({"embedding", "", "a \"b\" \\ \x01"});
  tensors[1].set_tags({"norm"});
  SaveTensorsOptions options;
  options.metadata.set("author", MetadataValue::string("me"));
  options.metadata.set("lobit.tensors", MetadataValue::string("no note"));
  ASSERT_THAT(save_tensors(path("a.safetensors"), tensors, options), is_ok());
  tensors.erase(tensors.begin());
  options.metadata.set("count", MetadataValue::u32(7));
  ASSERT_THAT(save_tensors(path("a.gguf"), tensors, options), is_ok());
  for (const char* file : {"a.safetensors", "a.gguf"}) {
    const auto loaded = load_tensors(path(file), memory_);
    ASSERT_THAT(loaded, is_ok());
    for (const Tensor& tensor : tensors) expect_same(*find_tensor(*loaded, tensor.name()), tensor);
    const auto source = File::open(path(file));
    const auto directory = read_tensor_directory(*source);
    ASSERT_THAT(directory, is_ok());
    EXPECT_EQ(directory->metadata.find("author")->bytes, "me");
    EXPECT_EQ(directory->metadata.find("lobit.tensors")->bytes, "no note");
    EXPECT_EQ(directory->metadata.find("lobit.tensor.b"), nullptr);
  }
}

TEST_F(TensorFileTest, WithoutTensorsOrElements) {
  ASSERT_THAT(save_tensors(path("a.safetensors"), {}), is_ok());
  EXPECT_EQ(load_tensors(path("a.safetensors"), memory_)->size(), 0u);
  EXPECT_EQ(map_tensors(path("a.safetensors"), memory_)->size(), 0u);
  // Rows that no block of the encoding divides, of which there are none.
  const std::vector<Tensor> tensors = {any_tensor("a", shape_of({0, 5}), {kQ4_0}, memory_),
                                       any_tensor("b", shape_of({0}), {kQ4_0, ScaleGroup::kRow}, memory_),
                                       any_tensor("c", shape_of({0}), {kF32}, memory_)};
  ASSERT_THAT(save_tensors(path("a.safetensors"), tensors), is_ok());
  for (const Tensor& tensor : tensors) {
    expect_same(*load_tensor(path("a.safetensors"), tensor.name(), memory_), tensor);
    expect_same(*map_tensor(path("a.safetensors"), tensor.name(), memory_), tensor);
  }
}

TEST_F(TensorFileTest, RefusesWhatAFormatCannotHold) {
  using enum ErrorCode;
  const Tensor planar = any_tensor("p", shape_of({2, 33}), {kQ8_0, ScaleGroup::kRow}, memory_);
  const Tensor blocks = any_tensor("b", shape_of({2, 32}), {kQ8_0}, memory_);
  const Tensor deep = any_tensor("d", shape_of({1, 1, 1, 1, 2}), {kF32}, memory_);
  const Tensor plain = any_tensor("f", shape_of({2}), {kF32}, memory_);
  const std::vector<Tensor> two(2, plain);
  const auto refused = save_tensor(path("a.gguf"), planar);
  ASSERT_THAT(refused, fails_with(kUnsupported));
  EXPECT_EQ(refused.error().detail.from, "i8 per row");
  EXPECT_EQ(refused.error().detail.index, 0u);
  EXPECT_THAT(save_tensor(path("a.npy"), planar), fails_with(kUnsupported));
  EXPECT_THAT(save_tensor(path("a.npy"), blocks), fails_with(kUnsupported));
  EXPECT_THAT(save_tensor(path("a.gguf"), deep), fails_with(kInvalidArgument));
  EXPECT_THAT(save_tensor(path("a.gguf"), any_tensor("", shape_of({2}), {kF32}, memory_)),
              fails_with(kInvalidArgument));
  EXPECT_THAT(save_tensors(path("a.npy"), two), fails_with(kInvalidArgument));
  EXPECT_THAT(save_tensors(path("a.npy"), {}), fails_with(kInvalidArgument));
  EXPECT_THAT(save_tensors(path("a.gguf"), two), fails_with(kInvalidArgument));
  EXPECT_THAT(save_tensors(path("a.safetensors"), two), fails_with(kInvalidArgument));
  EXPECT_THAT(save_tensor(path("a.txt"), plain), fails_with(kInvalidArgument));
  EXPECT_THAT(save_tensor(path("a.npy"), plain, {.checksums = TensorChecksums::kOn}),
              fails_with(kUnsupported));
  SaveTensorsOptions options;
  options.metadata.set("lobit.tensor.f", MetadataValue::string("{}"));
  EXPECT_THAT(save_tensor(path("a.safetensors"), plain, options), fails_with(kInvalidArgument));
  Tensor tagged = plain;
  tagged.set_tags({"t"});
  EXPECT_THAT(save_tensor(path("a.npy"), tagged), fails_with(kUnsupported));
  tagged.set_tags({"\xFF"});
  EXPECT_THAT(save_tensor(path("a.safetensors"), tagged), fails_with(kInvalidArgument));
  tagged.set_tags(std::vector<std::string>(1025));
  EXPECT_THAT(save_tensor(path("a.safetensors"), tagged), fails_with(kUnsupported));
  EXPECT_EQ(files_in(folder_.path()), 0u);
}

TEST_F(TensorFileTest, NotesCountAmongTheMetadataKeysOfSafetensors) {
  constexpr size_t kMostKeys = 65536;
  SaveTensorsOptions options;
  options.metadata.reserve(kMostKeys);
  for (size_t i = 3; i < kMostKeys; ++i) {
    options.metadata.append({std::to_string(i), MetadataValue::string("")});
  }
  std::vector<Tensor> tensors = {any_tensor("a", shape_of({2}), {kF32}, memory_),
                                 any_tensor("b", shape_of({5}), {kQ8_0, ScaleGroup::kRow}, memory_),
                                 any_tensor("c", shape_of({2}), {kF32}, memory_),
                                 any_tensor("d", shape_of({2}), {kF32}, memory_)};
  tensors[0].set_tags({"t"});
  tensors[2].set_tags({"t"});
  ASSERT_THAT(save_tensors(path("a.safetensors"), tensors, options), is_ok());
  for (const Tensor& tensor : tensors) {
    expect_same(*load_tensor(path("a.safetensors"), tensor.name(), memory_), tensor);
  }
  options.checksums = TensorChecksums::kOn;
  const auto refused = save_tensors(path("b.safetensors"), tensors, options);
  ASSERT_THAT(refused, fails_with(ErrorCode::kLimit));
  EXPECT_EQ(refused.error().detail.required, kMostKeys + 1);
  EXPECT_EQ(refused.error().detail.available, kMostKeys);
  EXPECT_NE(refused.error().message.find("with a checksum included"), std::string::npos);
  EXPECT_EQ(files_in(folder_.path()), 1u);
}

TEST_F(TensorFileTest, GgufObeysTheAlignmentOfItsMetadata) {
  const std::vector<Tensor> tensors = {any_tensor("a", shape_of({}), {kF32}, memory_),
                                       any_tensor("b", shape_of({3}), {kF16}, memory_)};
  SaveTensorsOptions options;
  options.metadata.set("general.alignment", MetadataValue::u32(128));
  ASSERT_THAT(save_tensors(path("a.gguf"), tensors, options), is_ok());
  const auto source = File::open(path("a.gguf"));
  const auto directory = read_tensor_directory(*source);
  ASSERT_THAT(directory, is_ok());
  EXPECT_EQ(directory->metadata, options.metadata);
  EXPECT_EQ(directory->tensors[0].offset % 128, 0u);
  EXPECT_EQ(directory->tensors[1].offset, directory->tensors[0].offset + 128);
  // The first is a scalar.
  for (const Tensor& tensor : tensors) {
    expect_same(*load_tensor(path("a.gguf"), tensor.name(), memory_), tensor);
  }
  for (const MetadataValue& wrong :
       {MetadataValue::u32(48), MetadataValue::u32(4), MetadataValue::u32(1u << 21), MetadataValue::u16(64),
        MetadataValue::string("64")}) {
    options.metadata.set("general.alignment", wrong);
    EXPECT_THAT(save_tensors(path("b.gguf"), tensors, options), fails_with(ErrorCode::kInvalidArgument))
        << wrong.to_string();
  }
  EXPECT_EQ(files_in(folder_.path()), 1u);
}

TEST_F(TensorFileTest, TheFormatThatIsNamedCountsMoreThanTheSuffix) {
  const Tensor plain = any_tensor("f", shape_of({2}), {kF32}, memory_);
  ASSERT_THAT(save_tensor(path("a.npy"), plain, {.format = TensorFileFormat::kSafetensors}), is_ok());
  EXPECT_THAT(load_tensors(path("a.npy"), memory_), fails_with(ErrorCode::kCorrupt));
  expect_same(*load_tensor(path("a.npy"), "f", memory_, TensorFileFormat::kSafetensors), plain);
  EXPECT_THAT(load_tensors(path("none.npy"), memory_), fails_with(ErrorCode::kNotFound));
  EXPECT_THAT(load_tensor(path("a.npy"), "g", memory_, TensorFileFormat::kSafetensors),
              fails_with(ErrorCode::kNotFound));
}

TEST_F(TensorFileTest, MapsEveryFormatWithoutMemory) {
  const std::vector<Tensor> tensors = tensors_of_all_formats();
  ASSERT_THAT(save_tensors(path("a.safetensors"), tensors), is_ok());
  SystemResource copies;
  auto mapped = map_tensors(path("a.safetensors"), copies);
  ASSERT_THAT(mapped, is_ok());
  for (const Tensor& tensor : tensors) {
    const Tensor* found = find_tensor(*mapped, tensor.name());
    ASSERT_NE(found, nullptr);
    expect_same(*found, tensor);
    EXPECT_FALSE(found->is_exclusive());
    // Also the scales of planar tensors lie where they can be used.
    if (tensor.format().is_planar()) {
      EXPECT_THAT(found->scales(), is_ok()) << tensor.name();
    }
  }
  EXPECT_EQ(copies.usage().allocations, 0u);
}

TEST_F(TensorFileTest, AMappedTensorOutlivesItsFileAndIsCopiedWhenItIsWritten) {
  const Tensor tensor = *Tensor::from_values(numbered(64), shape_of({8, 8}), kF32, memory_);
  ASSERT_THAT(save_tensor(path("a.npy"), tensor), is_ok());
  SystemResource copies;
  Tensor whole = *map_tensor(path("a.npy"), "", copies);
  const Tensor part = *whole.slice(0, 2, 4);
  std::filesystem::remove(path("a.npy"));
  whole.mutable_values<float>().value()[16] = -1.0f;
  EXPECT_EQ(copies.usage().allocations, 1u);
  EXPECT_EQ(values_of(whole)[16], -1.0f);
  EXPECT_EQ(values_of(part)[0], values_of(tensor)[16]);
}

TEST_F(TensorFileTest, AMappedFileMayBeReplaced) {
  const Tensor tensor = *Tensor::from_values(numbered(64), shape_of({64}), kF32, memory_);
  ASSERT_THAT(save_tensor(path("a.npy"), tensor), is_ok());
  const Tensor mapped = *map_tensor(path("a.npy"), "", memory_);
  ASSERT_THAT(save_tensor(path("a.npy"), *mapped.slice(0, 0, 8)), is_ok());
  EXPECT_EQ(values_of(mapped), values_of(tensor));
  EXPECT_EQ(load_tensor(path("a.npy"), "", memory_)->elements(), 8u);
}

TEST_F(TensorFileTest, LeavesNothingBehindWithoutMemory) {
  ASSERT_THAT(save_tensors(path("a.safetensors"), tensors_of_all_formats()), is_ok());
  {
    FailingResource failing(memory_, {.number = 5});
    EXPECT_THAT(load_tensors(path("a.safetensors"), failing), fails_with(ErrorCode::kOutOfMemory));
    LimitingResource limit(memory_, 1000);
    EXPECT_THAT(load_tensors(path("a.safetensors"), limit), fails_with(ErrorCode::kLimit));
  }
  EXPECT_EQ(memory_.usage().allocated, 0u);
}

TEST_F(TensorFileTest, NoticesEveryChangeWithChecksums) {
  Tensor tensor = any_tensor("w", shape_of({2, 9}), {kQ4_0, ScaleGroup::kRow}, memory_);
  tensor.set_tags({"t"});
  const std::vector<Tensor> tensors = {tensor, any_tensor("v", shape_of({3}), {kF32}, memory_)};
  for (const char* name : {"a.safetensors", "a.gguf"}) {
    const bool both = std::string_view(name) == "a.safetensors";
    const auto saved = std::span(tensors).subspan(both ? 0 : 1);
    ASSERT_THAT(save_tensors(path(name), saved, {.checksums = TensorChecksums::kOn}), is_ok());
    const std::string good = content_of(path(name));
    size_t noticed = 0;
    for (size_t i = 0; i < good.size(); ++i) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ 1 << i % 8);
      const MemorySource source(std::as_bytes(std::span(bad)), name);
      const auto directory = read_tensor_directory(source);
      if (!directory) {
        ++noticed;
        continue;
      }
      // What changed otherwise is padding.
      for (const StoredTensor& stored : directory->tensors) {
        const auto found = read_tensor(source, stored, memory_);
        if (found && !stored.checksum) {
          ++noticed;  // by who asked for one: the key of its note is another
        } else if (!found) {
          EXPECT_THAT(found, fails_with(ErrorCode::kCorrupt)) << i;
          ++noticed;
        } else {
          expect_same(*found, stored.name == "w" ? tensors[0] : tensors[1]);
        }
      }
    }
    EXPECT_GT(noticed, good.size() / 2);
    for (size_t size = 0; size < good.size() - 20; ++size) {
      const MemorySource source(std::as_bytes(std::span(good)).first(size), name);
      const auto directory = read_tensor_directory(source);
      EXPECT_FALSE(directory.has_value()) << size;
    }
  }
}

// A safetensors file whose one tensor has the note `text`.
std::string file_with_note(std::string_view text, const Shape& shape = shape_of({44})) {
  Metadata metadata;
  metadata.set("lobit.tensor.w", MetadataValue::string(text));
  const std::vector<TensorSpec> specs = {{"w", shape, kRawU8}};
  const FileLayout layout = layout_safetensors(metadata, specs).value();
  return layout.header + std::string(layout.file_bytes - layout.header.size(), '\0');
}

TEST_F(TensorFileTest, TakesNoHostileNote) {
  using enum ErrorCode;
  const auto read = [&](std::string_view note, const Shape& shape = shape_of({44})) {
    const std::string file = file_with_note(note, shape);
    return read_tensor_directory(MemorySource(std::as_bytes(std::span(file)), "a.safetensors"));
  };
  // 3 rows of 20 codes of 4 bits, 2 bytes of nothing, 3 scales.
  EXPECT_THAT(read(R"({"format":"i4 per row","shape":[3,20]})"), is_ok());
  EXPECT_THAT(read(R"({"tags":["a"],"xxh3":"0123456789abcdef"})"), is_ok());
  for (const std::string_view text : {
           R"()",
           R"([])",
           R"({"format":"i4 per row"})",
           R"({"shape":[3,20]})",
           R"({"format":"i4 per row","shape":[3,21]})",
           R"({"format":"i4 per row","shape":[4,20]})",
           R"({"format":"I4 per row","shape":[3,20]})",
           R"({"format":"","shape":[3,20]})",
           R"({"format":"i4 per row","shape":[-3,20]})",
           R"({"format":"i4 per row","shape":[3.0,20]})",
           R"({"format":"i4 per row","shape":["3",20]})",
           R"({"format":"i4 per row","shape":[[3,20]]})",
           R"({"format":"i4 per row","shape":{}})",
           R"({"format":"i4 per row","shape":3})",
           R"({"format":"i4 per row","shape":[9223372036854775807,4611686018427387904]})",
           R"({"format":"i4 per row","shape":[18446744073709551615]})",
           R"({"format":"i4 per row","shape":[3,20,1,1,1,1,1,1,1]})",
           R"({"format":"i4 per row","format":"i4 per row","shape":[3,20]})",
           R"({"format":["i4 per row"],"shape":[3,20]})",
           R"({"tags":"a"})",
           R"({"tags":[1]})",
           R"({"tags":[["a"]]})",
           R"({"tags":{"a":"b"}})",
           R"({"xxh3":"0123456789ABCDEF"})",
           R"({"xxh3":"123"})",
           R"({"xxh3":5})",
           R"({"tags":["a"]} x)",
           R"({"tags":null})",
       }) {
    EXPECT_THAT(read(text), fails_with(kCorrupt)) << text;
  }
  EXPECT_THAT(read(R"({"planes":2})"), fails_with(kUnsupported));
  EXPECT_THAT(read(R"({"format":"i4 per row","shape":[3,20]})", shape_of({44, 1})), fails_with(kCorrupt));
  std::string tags = R"({"tags":[)";
  for (int i = 0; i < 1024; ++i) tags += "\"\",";
  EXPECT_THAT(read(tags + "\"\"]}"), fails_with(kLimit));
  // Of a tensor that is not there.
  std::string file = file_with_note(R"({"tags":["a"]})");
  file.replace(file.find("lobit.tensor.w"), 14, "lobit.tensor.x");
  EXPECT_THAT(read_tensor_directory(MemorySource(std::as_bytes(std::span(file)), "a.safetensors")),
              fails_with(kCorrupt));
}

TEST_F(TensorFileTest, AsksForNoMemoryThatTheSourceDoesNotFill) {
  const std::string file = file_with_note("{}");
  const MemorySource source(std::as_bytes(std::span(file)), "a.safetensors");
  const StoredTensor wrong{
      .name = "w", .shape = shape_of({int64_t{1} << 50}), .format = {kRawU8}, .bytes = uint64_t{1} << 50};
  EXPECT_THAT(read_tensor(source, wrong, memory_), fails_with(ErrorCode::kIo));
  EXPECT_EQ(memory_.usage().allocations, 0u);
}

TEST_F(TensorFileTest, KeepsTheOldFileWhenWritingFails) {
  const Tensor small = any_tensor("w", shape_of({100}), {kF32}, memory_);
  const Tensor large = any_tensor("w", shape_of({1 << 20}), {kF32}, memory_);
  ASSERT_THAT(save_tensor(path("a.safetensors"), small), is_ok());
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit tight = before;
  tight.rlim_cur = 1 << 20;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  const Status saved = save_tensor(path("a.safetensors"), large);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, SIG_DFL);
  EXPECT_THAT(saved, fails_with(ErrorCode::kIo));
  expect_same(*load_tensor(path("a.safetensors"), "w", memory_), small);
  EXPECT_EQ(files_in(folder_.path()), 1u);
}

// A process that saves one thing and another in turns is killed at moments it does not choose.
TEST_F(TensorFileTest, IsWholeAfterAWriterWasKilled) {
  const std::array<Tensor, 2> versions{any_tensor("w", shape_of({300, 500}), {kF32}, memory_),
                                       any_tensor("w", shape_of({500, 200}), {kF32}, memory_)};
  const SaveTensorsOptions options{.checksums = TensorChecksums::kOn};
  ASSERT_THAT(save_tensor(path("a.safetensors"), versions[0], options), is_ok());
  for (int round = 0; round < 8; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (size_t i = 0;; ++i) {
        if (!save_tensor(path("a.safetensors"), versions[i % 2], options)) ::_exit(1);
      }
    }
    ::usleep(static_cast<useconds_t>(5000 + 1300 * round));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    const auto found = load_tensor(path("a.safetensors"), "w", memory_);
    ASSERT_THAT(found, is_ok());
    expect_same(*found, found->shape() == versions[0].shape() ? versions[0] : versions[1]);
  }
  ASSERT_THAT(save_tensor(path("a.safetensors"), versions[0], options), is_ok());
  EXPECT_EQ(files_in(folder_.path()), 1u);
}

}  // namespace
}  // namespace lobit
