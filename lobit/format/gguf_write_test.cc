#include <cstring>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "lobit/base/test_heap.h"
#include "lobit/base/test_support.h"
#include "lobit/format/gguf.h"
#include "lobit/format/gguf_test_support.h"

namespace lobit {
namespace {

using enum MetadataType;

TensorSpec spec(std::string name, std::vector<int64_t> extents, Encoding encoding) {
  return {std::move(name), *Shape::create(extents), encoding};
}

// The file that a layout describes, with data of zeros.
std::string file_of(const FileLayout& layout) {
  std::string file = layout.header;
  file.resize(layout.file_bytes);
  return file;
}

Metadata every_type() {
  Metadata metadata;
  for (uint32_t type = 0; type <= 12; ++type) {
    const auto t = static_cast<MetadataType>(type);
    if (t == kArray) continue;
    const size_t bytes = metadata_type_bytes(t);
    const std::string one(bytes, '\1');
    if (t == kString) {
      metadata.set("s", MetadataValue::string("text"));
      metadata.set("as", {.type = kArray,
                          .element = t,
                          .count = 2,
                          .bytes = std::string("\2\0\0\0\0\0\0\0ab\0\0\0\0\0\0\0\0", 18)});
      continue;
    }
    metadata.set(fmt::format("v{}", type), {.type = t, .bytes = one});
    metadata.set(fmt::format("a{}", type),
                 {.type = kArray, .element = t, .count = 3, .bytes = one + one + one});
  }
  metadata.set("empty", {.type = kArray, .element = kU64, .count = 0});
  return metadata;
}

const std::vector<TensorSpec>& some_tensors() {
  static const std::vector<TensorSpec> kTensors = {spec("scalar", {}, Encoding::kF32),
                                                   spec("token_embd.weight", {5, 64}, Encoding::kQ8_0),
                                                   spec("four", {2, 3, 4, 5}, Encoding::kF16),
                                                   spec("tq", {3, 256}, Encoding::kTQ1_0),
                                                   spec(std::string(63, 'n'), {7}, Encoding::kRawI8),
                                                   spec("last", {1}, Encoding::kF64)};
  return kTensors;
}

void expect_round_trip(uint32_t alignment) {
  const Metadata metadata = every_type();
  const auto layout = layout_gguf(metadata, some_tensors(), alignment);
  ASSERT_THAT(layout, is_ok());
  const std::string file = file_of(*layout);
  const auto header = read_gguf(MemorySource(as_bytes(file)));
  ASSERT_THAT(header, is_ok());
  EXPECT_EQ(header->version, 3u);
  EXPECT_EQ(header->alignment, alignment);
  EXPECT_EQ(header->data_offset, layout->header.size());
  Metadata expected = metadata;
  if (alignment != kGgufDefaultAlignment) expected.set("general.alignment", MetadataValue::u32(alignment));
  EXPECT_EQ(header->metadata, expected);
  ASSERT_EQ(header->tensors.size(), some_tensors().size());
  for (size_t i = 0; i < header->tensors.size(); ++i) {
    const TensorEntry& read = header->tensors[i];
    EXPECT_EQ(read.name, some_tensors()[i].name);
    EXPECT_EQ(read.shape, some_tensors()[i].shape);
    EXPECT_EQ(read.encoding, some_tensors()[i].encoding);
    EXPECT_EQ(read.offset, layout->offsets[i]);
    EXPECT_EQ(read.offset % alignment, 0u);
    EXPECT_EQ(read.bytes, encoded_bytes(read.encoding, read.shape.elements()));
  }
  EXPECT_EQ(layout->file_bytes % alignment, 0u);
  EXPECT_LT(layout->file_bytes - (header->tensors.back().offset + header->tensors.back().bytes), alignment);
}

TEST(LayoutGguf, IsReadBackAsItWas) {
  for (const uint32_t alignment : {8u, 32u, 64u, 4096u}) {
    SCOPED_TRACE(alignment);
    expect_round_trip(alignment);
  }
}

TEST(LayoutGguf, WritesTheDocumentedBytes) {
  Metadata metadata;
  metadata.set("k", MetadataValue::u32(7));
  const std::vector<TensorSpec> tensors = {spec("w", {2, 32}, Encoding::kQ4_0)};
  const auto layout = layout_gguf(metadata, tensors);
  ASSERT_THAT(layout, is_ok());
  EXPECT_EQ(layout->header, GgufBytes(1, 1).u32("k", 7).tensor("w", {32, 2}, 2, 0).data(0).str());
  EXPECT_EQ(layout->offsets, std::vector<uint64_t>{layout->header.size()});
  EXPECT_EQ(layout->file_bytes, layout->header.size() + 64);  // 36 bytes, padded
}

TEST(LayoutGguf, AlignmentReplacesWhatTheMetadataSays) {
  Metadata metadata;
  metadata.set("general.alignment", MetadataValue::u32(64));
  metadata.set("z", MetadataValue::u32(1));
  const auto layout = layout_gguf(metadata, some_tensors(), 32);
  ASSERT_THAT(layout, is_ok());
  const std::string file = file_of(*layout);
  const auto header = read_gguf(MemorySource(as_bytes(file)));
  ASSERT_THAT(header, is_ok());
  EXPECT_EQ(header->alignment, 32u);
  EXPECT_EQ(header->metadata.entries()[0].key, "general.alignment");
  EXPECT_EQ(header->metadata.entries()[0].value.as_unsigned(), 32u);
  EXPECT_EQ(header->metadata.size(), 2u);
}

TEST(LayoutGguf, RefusesTensorsThatTheFormatCannotHold) {
  const struct {
    std::string_view what;
    TensorSpec tensor;
  } cases[] = {
      {"empty name", spec("", {1}, Encoding::kF32)},
      {"name of 64 bytes", spec(std::string(64, 'n'), {1}, Encoding::kF32)},
      {"5 dimensions", spec("w", {1, 1, 1, 1, 1}, Encoding::kF32)},
      {"extent 0", spec("w", {4, 0}, Encoding::kF32)},
      {"part of a block", spec("w", {4, 48}, Encoding::kQ8_0)},
      {"scalar of blocks", spec("w", {}, Encoding::kQ8_0)},
      {"no type", spec("w", {4}, Encoding::kRawU8)},
      {"no type", spec("w", {4}, Encoding::kBool)},
      {"duplicate", spec("first", {4}, Encoding::kF32)},
      {"2^64 bytes", spec("w", {int64_t{1} << 62}, Encoding::kF32)},
      {"2^63 bytes", spec("w", {int64_t{1} << 61}, Encoding::kF32)},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    const std::vector<TensorSpec> tensors = {spec("first", {1}, Encoding::kF32), c.tensor};
    const auto layout = layout_gguf({}, tensors);
    ASSERT_THAT(layout, fails_with(ErrorCode::kInvalidArgument));
    EXPECT_EQ(layout.error().detail.index, 1u);
  }
}

TEST(LayoutGguf, RefusesMetadataThatTheFormatCannotHold) {
  const std::string length_9("\x09\0\0\0\0\0\0\0", 8);
  const MetadataEntry cases[] = {
      {"", MetadataValue::u32(1)},
      {std::string(65536, 'k'), MetadataValue::u32(1)},
      {"first", MetadataValue::u32(1)},
      {"k", {.type = kU32, .bytes = "abc"}},
      {"k", {.type = kBool, .bytes = "\2"}},
      {"k", {.type = kArray, .element = kArray, .count = 0}},
      {"k", {.type = kArray, .element = kU16, .count = 2, .bytes = "abc"}},
      {"k", {.type = kArray, .element = kU64, .count = uint64_t{1} << 61}},
      {"k", {.type = kArray, .element = kBool, .count = 1, .bytes = "\2"}},
      {"k", {.type = kArray, .element = kString, .count = 1, .bytes = length_9 + "12345678"}},
      {"k", {.type = kArray, .element = kString, .count = 1, .bytes = length_9 + "1234567890"}},
      {"k", {.type = kArray, .element = kString, .count = 2, .bytes = length_9 + "123456789"}},
  };
  for (const MetadataEntry& entry : cases) {
    Metadata metadata;
    metadata.set("first", MetadataValue::u32(1));
    metadata.append(entry);
    const auto layout = layout_gguf(metadata, {});
    ASSERT_THAT(layout, fails_with(ErrorCode::kInvalidArgument)) << entry.key;
    EXPECT_EQ(layout.error().detail.index, 1u) << layout.error().message;
  }
}

TEST(LayoutGguf, RefusesBadAlignments) {
  for (const uint32_t alignment : {0u, 4u, 24u, uint32_t{1} << 21}) {
    EXPECT_THAT(layout_gguf({}, {}, alignment), fails_with(ErrorCode::kInvalidArgument)) << alignment;
  }
}

// The shortest keys that differ, which cost the most memory per byte of the header.
std::string short_keys(size_t count) {
  GgufBytes file(0, count);
  for (size_t i = 0; i < count; ++i) {
    const char key[3] = {static_cast<char>(i), static_cast<char>(i >> 8), static_cast<char>(i >> 16)};
    file.key(std::string_view(key, 3), kU8).number<uint8_t>(0);
  }
  return file.str();
}

TEST(ReadGguf, HundredThousandsOfKeysAndTensorsAreRead) {
  Metadata metadata;
  std::vector<TensorSpec> tensors;
  for (int i = 0; i < 200'000; ++i) {
    metadata.append({fmt::format("key.{}", i), MetadataValue::i32(i)});
    tensors.push_back(spec(fmt::format("blk.{}.weight", i), {1}, Encoding::kF32));
  }
  const auto layout = layout_gguf(metadata, tensors);
  ASSERT_THAT(layout, is_ok());
  const std::string file = file_of(*layout);
  const auto header = read_gguf(MemorySource(as_bytes(file)));
  ASSERT_THAT(header, is_ok());
  EXPECT_EQ(header->metadata, metadata);
  ASSERT_EQ(header->tensors.size(), tensors.size());
  EXPECT_EQ(header->tensors[199'999].name, tensors[199'999].name);
  EXPECT_EQ(header->tensors[199'999].offset, layout->offsets[199'999]);
}

TEST(ReadGguf, FindsTheDuplicateAmongManyKeysAndTensors) {
  std::string file = short_keys(100'000);
  // The last key becomes the first one again.
  std::memcpy(file.data() + file.size() - 8, file.data() + 32, 3);
  const auto keys = read_gguf(MemorySource(as_bytes(file)));
  ASSERT_THAT(keys, fails_with(ErrorCode::kCorrupt));
  EXPECT_EQ(keys.error().detail.offset, file.size() - 16);

  GgufBytes tensors(100'000, 0);
  uint64_t second = 0;
  for (uint64_t i = 0; i < 100'000; ++i) {
    if (i == 99'998) second = tensors.size();
    tensors.tensor(fmt::format("t{:05}", i == 99'998 ? 3 : i), {1}, 0, 32 * i);
  }
  tensors.data(3'200'000);
  const auto names = read_gguf(MemorySource(as_bytes(tensors.str())));
  ASSERT_THAT(names, fails_with(ErrorCode::kCorrupt));
  EXPECT_EQ(names.error().detail.offset, second);
}

TEST(ReadGguf, KeepsABigVocabulary) {
  GgufBytes file(0, 2);
  file.array("tokens", kString, 1'000'000);
  const uint64_t start = file.size();
  for (int i = 0; i < 1'000'000; ++i) file.string(std::string_view("token", static_cast<size_t>(i % 6)));
  const uint64_t bytes = file.size() - start;
  file.u32("after", 7);
  const auto header = read_gguf(MemorySource(as_bytes(file.str())));
  ASSERT_THAT(header, is_ok());
  EXPECT_EQ(header->metadata.find("tokens")->count, 1'000'000u);
  EXPECT_EQ(header->metadata.find("tokens")->bytes, file.str().substr(start, bytes));
  EXPECT_EQ(header->metadata.find("after")->as_unsigned(), 7u);
}

void expect_bounded_heap(const std::string& file) {
  const HeapPeak peak;
  const auto header = read_gguf(MemorySource(as_bytes(file)));
  if (heap_is_counted()) {
    EXPECT_LE(peak.bytes(), 8 * file.size() + (size_t{16} << 20)) << file.size();
  }
}

TEST(ReadGguf, TakesMemoryInProportionToTheHeader) {
  const std::string keys = short_keys(1'000'000);
  expect_bounded_heap(keys);
  expect_bounded_heap(keys.substr(0, keys.size() - 1));
  GgufBytes tensors(1'000'000, 0);
  for (uint64_t i = 0; i < 1'000'000; ++i) {
    const char name[3] = {static_cast<char>(i), static_cast<char>(i >> 8), static_cast<char>(i >> 16)};
    tensors.tensor(std::string_view(name, 3), {}, 0, 32 * i);
  }
  expect_bounded_heap(tensors.str());
  GgufBytes strings(0, 1);
  // NOLINTNEXTLINE(bugprone-string-constructor): so long on purpose
  strings.array("k", kString, 5'000'000).raw(std::string(40'000'000, '\0'));
  expect_bounded_heap(strings.str());
}

TEST(ReadGguf, TakesNoMemoryOnTheWordOfACount) {
  std::string file = short_keys(1'000'000);
  // A broken second entry: the counts are possible, and nothing behind them is kept.
  file[24 + 16 + 7] = '\xff';
  const HeapPeak peak;
  EXPECT_THAT(read_gguf(MemorySource(as_bytes(file))), fails_with(ErrorCode::kCorrupt));
  if (heap_is_counted()) {
    EXPECT_LE(peak.bytes(), size_t{1} << 20);
  }
}

// A source of any size without its bytes.
class ZeroSource final : public ByteSource {
 public:
  ZeroSource(std::string head, uint64_t size) : head_(std::move(head)), size_(size) {}
  const std::string& name() const override { return name_; }
  uint64_t size() const override { return size_; }
  Status read_at(uint64_t offset, std::span<std::byte> out) const override {
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = offset + i < head_.size() ? static_cast<std::byte>(head_[offset + i]) : std::byte{0};
    }
    return {};
  }

 private:
  std::string name_ = "zeros";
  std::string head_;
  uint64_t size_;
};

TEST(ReadGguf, RefusesEndlessHeaders) {
  const uint64_t tebibyte = uint64_t{1} << 40;
  const HeapPeak peak;
  const auto array =
      read_gguf(ZeroSource(GgufBytes(0, 1).array("k", kU64, uint64_t{1} << 35).str(), tebibyte));
  ASSERT_THAT(array, fails_with(ErrorCode::kLimit));
  EXPECT_EQ(array.error().detail.offset, 24u + 8 + 1 + 4 + 4 + 8);
  const auto text =
      read_gguf(ZeroSource(GgufBytes(0, 1).key("k", kString).number(tebibyte / 2).str(), tebibyte));
  EXPECT_THAT(text, fails_with(ErrorCode::kLimit));
  const auto keys = read_gguf(ZeroSource(GgufBytes(0, tebibyte / 16).str(), tebibyte));
  ASSERT_THAT(keys, fails_with(ErrorCode::kCorrupt));
  EXPECT_EQ(keys.error().detail.offset, 24u);
  if (heap_is_counted()) {
    EXPECT_LE(peak.bytes(), size_t{1} << 20);
  }
}

}  // namespace
}  // namespace lobit
