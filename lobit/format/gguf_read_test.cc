#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "lobit/base/test_support.h"
#include "lobit/format/gguf.h"
#include "lobit/format/gguf_test_support.h"

namespace lobit {
namespace {

using enum MetadataType;

constexpr uint32_t kTypeF32 = 0;
constexpr uint32_t kTypeQ4_0 = 2;
constexpr uint64_t kFirstEntry = 24;  // where keys start

Result<GgufHeader> read(std::string_view text) {
  return read_gguf(MemorySource(as_bytes(text), "test.gguf"));
}

struct Refused {
  std::string_view what;
  std::string bytes;
  ErrorCode code;
  uint64_t offset;
};

void expect_refused(const std::vector<Refused>& cases) {
  for (const Refused& c : cases) {
    SCOPED_TRACE(c.what);
    const Result<GgufHeader> header = read(c.bytes);
    EXPECT_THAT(header, fails_with(c.code));
    if (!header) {
      EXPECT_EQ(header.error().detail.offset, c.offset) << header.error().message;
      EXPECT_TRUE(header.error().message.starts_with("test.gguf: byte ")) << header.error().message;
    }
  }
}

// A file with one key, whose type starts at kFirstEntry + 9.
GgufBytes one_key(MetadataType type) {
  return std::move(GgufBytes(0, 1).key("k", type));
}
constexpr uint64_t kOneKeyValue = kFirstEntry + 8 + 1 + 4;

// A file with one tensor "w", whose number of dimensions starts at kOneTensor + 9.
std::string one_tensor(std::initializer_list<int64_t> extents, uint32_t type, size_t data,
                       uint64_t offset = 0) {
  return GgufBytes(1, 0).tensor("w", extents, type, offset).data(data).str();
}
constexpr uint64_t kOneTensorRank = kFirstEntry + 8 + 1;
constexpr uint64_t kOneTensorExtents = kOneTensorRank + 4;

GgufBytes small_file(uint32_t version = 3) {
  GgufBytes file(2, 4, version);
  file.text("general.architecture", "llama")
      .array("tokens", kString, 3)
      .string("a")
      .string("")
      .string("bc")
      .key("flag", kBool)
      .number<uint8_t>(1)
      .array("scores", kF32, 2)
      .number(1.5F)
      .number(-2.0F);
  file.tensor("a.weight", {3, 2}, kTypeF32, 0).tensor("b.weight", {32, 1, 2}, kTypeQ4_0, 32).data(32 + 36);
  return file;
}

TEST(ReadGguf, ReturnsWhatTheHeaderSays) {
  const GgufBytes file = small_file();
  const auto header = read(file.str());
  ASSERT_THAT(header, is_ok());
  EXPECT_EQ(header->version, 3u);
  EXPECT_EQ(header->alignment, 32u);
  ASSERT_EQ(header->metadata.size(), 4u);
  EXPECT_EQ(header->metadata.find("general.architecture")->as_string(), "llama");
  const MetadataValue* tokens = header->metadata.find("tokens");
  EXPECT_EQ(tokens->type, kArray);
  EXPECT_EQ(tokens->element, kString);
  EXPECT_EQ(tokens->count, 3u);
  EXPECT_EQ(tokens->to_string(), R"(["a", "", "bc"])");
  EXPECT_EQ(header->metadata.find("scores")->to_string(), "[1.5, -2]");
  EXPECT_EQ(header->metadata.find("flag")->to_string(), "true");

  EXPECT_EQ(header->data_offset % 32, 0u);
  EXPECT_EQ(header->data_offset, file.size() - 68);
  ASSERT_EQ(header->tensors.size(), 2u);
  const TensorEntry& a = header->tensors[0];
  EXPECT_EQ(a.name, "a.weight");
  EXPECT_EQ(a.shape.to_string(), "[2, 3]");
  EXPECT_EQ(a.encoding, Encoding::kF32);
  EXPECT_EQ(a.offset, header->data_offset);
  EXPECT_EQ(a.bytes, 24u);
  const TensorEntry& b = header->tensors[1];
  EXPECT_EQ(b.shape.to_string(), "[2, 1, 32]");
  EXPECT_EQ(b.encoding, Encoding::kQ4_0);
  EXPECT_EQ(b.offset, header->data_offset + 32);
  EXPECT_EQ(b.bytes, 36u);
}

TEST(ReadGguf, ReadsVersion2) {
  const auto header = read(small_file(2).str());
  ASSERT_THAT(header, is_ok());
  EXPECT_EQ(header->version, 2u);
  EXPECT_EQ(header->tensors.size(), 2u);
  EXPECT_EQ(header->metadata.find("general.architecture")->as_string(), "llama");
}

TEST(ReadGguf, KeepsEveryValueTypeBitForBit) {
  const uint32_t bytes_of[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  for (uint32_t type = 0; type <= 12; ++type) {
    if (bytes_of[type] == 0) continue;
    // A signalling NaN for the floats; only 0 and 1 for bool.
    const std::string value =
        type == 7 ? std::string(1, '\0')
                  : std::string("\x01\x02\xa0\x7f\x05\x06\xf0\x7f").substr(8 - bytes_of[type]);
    const std::string file = one_key(static_cast<MetadataType>(type)).raw(value).str();
    const auto header = read(file);
    ASSERT_THAT(header, is_ok()) << type;
    EXPECT_EQ(header->metadata.entries()[0].value.bytes, value);
    EXPECT_EQ(static_cast<uint32_t>(header->metadata.entries()[0].value.type), type);
  }
  const std::string odd("\0\xff\n", 3);
  const auto header = read(GgufBytes(0, 1).text("k", odd).str());
  ASSERT_THAT(header, is_ok());
  EXPECT_EQ(header->metadata.find("k")->as_string(), odd);
}

TEST(ReadGguf, AcceptsTheEdgesOfTheFormat) {
  EXPECT_THAT(read(GgufBytes(0, 0).str()), is_ok());
  EXPECT_THAT(read(one_tensor({}, kTypeF32, 4)), is_ok());  // a scalar
  EXPECT_THAT(read(one_tensor({1, 1, 1, 1}, kTypeF32, 4)), is_ok());
  EXPECT_THAT(read(one_tensor({8}, kTypeF32, 100)), is_ok());  // bytes after the last tensor
  EXPECT_THAT(read(GgufBytes(1, 0).tensor(std::string(64, 'n'), {1}, kTypeF32, 0).data(4).str()), is_ok());
  EXPECT_THAT(read(GgufBytes(0, 1).u32(std::string(65535, 'k'), 1).str()), is_ok());
  EXPECT_THAT(read(one_key(kArray).number<uint32_t>(8).number<uint64_t>(0).str()), is_ok());
}

TEST(ReadGguf, UsesTheAlignmentOfTheFile) {
  GgufBytes file(2, 1);
  file.u32("general.alignment", 64).tensor("a", {1}, kTypeF32, 0).tensor("b", {1}, kTypeF32, 64).data(68, 64);
  const auto header = read(file.str());
  ASSERT_THAT(header, is_ok());
  EXPECT_EQ(header->alignment, 64u);
  EXPECT_EQ(header->data_offset % 64, 0u);
  EXPECT_EQ(header->tensors[1].offset, header->data_offset + 64);
}

TEST(ReadGguf, RefusesOtherFilesAndVersions) {
  const auto version = [](uint32_t v) { return GgufBytes(0, 0, v).str(); };
  expect_refused({
      {"empty", "", ErrorCode::kCorrupt, 0},
      {"magic", "GGML" + version(3).substr(4), ErrorCode::kCorrupt, 0},
      {"version 0", version(0), ErrorCode::kUnsupported, 4},
      {"version 1", version(1), ErrorCode::kUnsupported, 4},
      {"version 4", version(4), ErrorCode::kUnsupported, 4},
      {"big-endian", version(0x03000000), ErrorCode::kUnsupported, 4},
  });
  EXPECT_NE(read(version(0x03000000)).error().message.find("big-endian"), std::string::npos);
}

TEST(ReadGguf, RefusesCountsThatTheFileCannotHold) {
  expect_refused({
      {"tensors -1", GgufBytes(~uint64_t{0}, 0).str(), ErrorCode::kCorrupt, 8},
      {"tensors 2^63", GgufBytes(uint64_t{1} << 63, 0).str(), ErrorCode::kCorrupt, 8},
      {"tensors 2^40", GgufBytes(uint64_t{1} << 40, 0).raw(std::string(999, 'x')).str(), ErrorCode::kCorrupt,
       8},
      {"keys -1", GgufBytes(0, ~uint64_t{0}).str(), ErrorCode::kCorrupt, 16},
      {"keys 2^63", GgufBytes(0, uint64_t{1} << 63).str(), ErrorCode::kCorrupt, 16},
      {"keys 2^40", GgufBytes(0, uint64_t{1} << 40).raw(std::string(999, 'x')).str(), ErrorCode::kCorrupt,
       16},
      {"one key more", GgufBytes(0, 2).u32("k", 1).str(), ErrorCode::kCorrupt, 16},
  });
}

TEST(ReadGguf, RefusesBadValues) {
  const uint64_t huge = uint64_t{1} << 60;
  expect_refused({
      {"array 2^60", one_key(kArray).number<uint32_t>(4).number(huge).str(), ErrorCode::kCorrupt,
       kOneKeyValue + 12},
      {"array 2^61 of u64: 2^64 bytes", one_key(kArray).number<uint32_t>(10).number(huge * 2).str(),
       ErrorCode::kCorrupt, kOneKeyValue + 12},
      {"strings 2^61", one_key(kArray).number<uint32_t>(8).number(huge * 2).str(), ErrorCode::kCorrupt,
       kOneKeyValue + 12},
      {"string 2^63", one_key(kString).number(uint64_t{1} << 63).str(), ErrorCode::kCorrupt,
       kOneKeyValue + 8},
      {"string in array 2^63",
       one_key(kArray).number<uint32_t>(8).number<uint64_t>(1).number(uint64_t{1} << 63).str(),
       ErrorCode::kCorrupt, kOneKeyValue + 20},
      {"string of -1", one_key(kString).number(~uint64_t{0}).str(), ErrorCode::kCorrupt, kOneKeyValue + 8},
      {"bool 2", one_key(kBool).number<uint8_t>(2).str(), ErrorCode::kCorrupt, kOneKeyValue},
      {"bool 255 in array",
       one_key(kArray).number<uint32_t>(7).number<uint64_t>(3).raw(std::string("\0\1\xff", 3)).str(),
       ErrorCode::kCorrupt, kOneKeyValue + 14},
      {"type 13", one_key(static_cast<MetadataType>(13)).number<uint32_t>(0).str(), ErrorCode::kCorrupt,
       kOneKeyValue - 4},
      {"type -1", one_key(static_cast<MetadataType>(~0u)).number<uint32_t>(0).str(), ErrorCode::kCorrupt,
       kOneKeyValue - 4},
      {"array of type 13", one_key(kArray).number<uint32_t>(13).number<uint64_t>(0).str(),
       ErrorCode::kCorrupt, kOneKeyValue},
  });
}

TEST(ReadGguf, RefusesNestedArraysHoweverDeep) {
  GgufBytes file = one_key(kArray);
  for (int i = 0; i < 100'000; ++i) file.number<uint32_t>(9).number<uint64_t>(1);
  expect_refused({{"nested", file.str(), ErrorCode::kUnsupported, kOneKeyValue}});
}

TEST(ReadGguf, RefusesBadKeysAndNames) {
  const uint64_t second_key = kOneKeyValue + 4;
  expect_refused({
      {"empty key", GgufBytes(0, 1).u32("", 1).u32("x", 1).str(), ErrorCode::kCorrupt, kFirstEntry},
      {"long key", GgufBytes(0, 1).u32(std::string(65536, 'k'), 1).str(), ErrorCode::kCorrupt, kFirstEntry},
      {"key twice", GgufBytes(0, 3).u32("k", 1).u32("k", 1).u32("k", 2).str(), ErrorCode::kCorrupt,
       second_key},
      {"empty name", GgufBytes(1, 0).tensor("", {1}, 0, 0).data(4).str(), ErrorCode::kCorrupt, kFirstEntry},
      {"long name", GgufBytes(1, 0).tensor(std::string(65, 'n'), {1}, 0, 0).data(4).str(),
       ErrorCode::kCorrupt, kFirstEntry},
      {"name twice", GgufBytes(2, 0).tensor("w", {1}, 0, 0).tensor("w", {1}, 0, 32).data(36).str(),
       ErrorCode::kCorrupt, kFirstEntry + 8 + 1 + 4 + 8 + 4 + 8},
  });
}

TEST(ReadGguf, RefusesBadDimensions) {
  const int64_t two31 = int64_t{1} << 31;
  const int64_t two32 = int64_t{1} << 32;
  const int64_t two62 = int64_t{1} << 62;
  const std::string rank_5 = one_tensor({1, 1, 1, 1, 1}, kTypeF32, 4);
  const std::string rank_max =
      GgufBytes(1, 0).string("w").number(~uint32_t{0}).raw(std::string(64, '\1')).str();
  constexpr uint64_t kExtents = kOneTensorExtents;
  expect_refused({
      {"5 dimensions", rank_5, ErrorCode::kCorrupt, kOneTensorRank},
      {"2^32-1 dimensions", rank_max, ErrorCode::kCorrupt, kOneTensorRank},
      {"0", one_tensor({0}, kTypeF32, 0), ErrorCode::kCorrupt, kExtents},
      {"4, 0", one_tensor({4, 0}, kTypeF32, 0), ErrorCode::kCorrupt, kExtents + 8},
      {"0 of blocks", one_tensor({0, 4}, kTypeQ4_0, 0), ErrorCode::kCorrupt, kExtents},
      {"-1", one_tensor({-1}, kTypeF32, 4), ErrorCode::kCorrupt, kExtents},
      {"-32, -1", one_tensor({32, -1}, kTypeQ4_0, 18), ErrorCode::kCorrupt, kExtents + 8},
      // Products that wrap to 0 or to something small.
      {"2^32 x 2^32", one_tensor({two32, two32}, kTypeF32, 0), ErrorCode::kCorrupt, kExtents + 8},
      {"2^62 x 4", one_tensor({two62, 4}, kTypeF32, 0), ErrorCode::kCorrupt, kExtents + 8},
      {"2^31 x 2^31 x 4", one_tensor({two31, two31, 4}, kTypeF32, 0), ErrorCode::kCorrupt, kExtents + 16},
      {"2^32 x 2^32 blocks", one_tensor({two32, two32}, kTypeQ4_0, 0), ErrorCode::kCorrupt, kExtents + 8},
      {"2^42 x 2^22", one_tensor({int64_t{1} << 42, int64_t{1} << 22}, kTypeF32, 0), ErrorCode::kCorrupt,
       kExtents + 8},
      {"2^62 x 4 bytes", one_tensor({two62}, kTypeF32, 0), ErrorCode::kCorrupt, kExtents + 8},
      {"1 TiB", one_tensor({int64_t{1} << 38}, kTypeF32, 0), ErrorCode::kCorrupt, kExtents + 8 + 4},
      {"row of half a block", one_tensor({48}, kTypeQ4_0, 32), ErrorCode::kCorrupt, kExtents},
      {"scalar of blocks", one_tensor({}, kTypeQ4_0, 32), ErrorCode::kCorrupt, kOneTensorRank},
  });
}

TEST(ReadGguf, RefusesTypesWithoutAMeaning) {
  std::vector<Refused> cases;
  for (const uint32_t type : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u, 43u, ~0u}) {
    cases.push_back({"type", one_tensor({256}, type, 1024), ErrorCode::kUnsupported, kOneTensorExtents + 8});
  }
  expect_refused(cases);
  EXPECT_NE(read(cases[0].bytes).error().message.find("tensor 'w': tensor type 4"), std::string::npos);
}

TEST(ReadGguf, RefusesBadAlignment) {
  const auto file = [](uint32_t alignment) {
    return GgufBytes(0, 1).u32("general.alignment", alignment).str();
  };
  const uint64_t type_at = kFirstEntry + 8 + 17;
  expect_refused({
      {"0", file(0), ErrorCode::kCorrupt, type_at + 4},
      {"3", file(3), ErrorCode::kCorrupt, type_at + 4},
      {"4", file(4), ErrorCode::kCorrupt, type_at + 4},
      {"24", file(24), ErrorCode::kCorrupt, type_at + 4},
      {"2^31", file(uint32_t{1} << 31), ErrorCode::kUnsupported, type_at + 4},
      {"u64", GgufBytes(0, 1).key("general.alignment", kU64).number<uint64_t>(32).str(), ErrorCode::kCorrupt,
       type_at},
      {"second key", GgufBytes(0, 2).u32("k", 1).u32("general.alignment", 5).str(), ErrorCode::kCorrupt,
       type_at + 17 + 4},
  });
  EXPECT_THAT(read(file(8)), is_ok());
  EXPECT_THAT(read(file(uint32_t{1} << 20)), is_ok());
}

TEST(ReadGguf, RefusesOffsetsThatAreNotDense) {
  const uint64_t first_offset = kOneTensorExtents + 8 + 4;
  const uint64_t second_offset = first_offset + 8 + (8 + 1 + 4 + 8 + 4);
  const auto two = [](uint64_t offset) {
    return GgufBytes(2, 0).tensor("a", {9}, kTypeF32, 0).tensor("b", {8}, kTypeF32, offset).data(200).str();
  };
  EXPECT_THAT(read(two(64)), is_ok());
  expect_refused({
      {"first not 0", one_tensor({1}, kTypeF32, 100, 32), ErrorCode::kCorrupt, first_offset},
      {"unaligned", two(36), ErrorCode::kCorrupt, second_offset},
      {"overlapping", two(32), ErrorCode::kCorrupt, second_offset},
      {"backwards", two(0), ErrorCode::kCorrupt, second_offset},
      {"hole", two(96), ErrorCode::kCorrupt, second_offset},
      {"beyond the file", two(uint64_t{1} << 40), ErrorCode::kCorrupt, second_offset},
      {"-32", two(~uint64_t{31}), ErrorCode::kCorrupt, second_offset},
  });
}

TEST(ReadGguf, RefusesDataBeyondTheFile) {
  GgufBytes file(2, 0);
  file.tensor("a", {8}, kTypeF32, 0).tensor("b", {8}, kTypeF32, 32);
  const uint64_t offset_of_b = file.size() - 8;
  file.data(63);
  const auto header = read(file.str());
  ASSERT_THAT(header, fails_with(ErrorCode::kCorrupt));
  EXPECT_EQ(header.error().detail.offset, offset_of_b);
  EXPECT_EQ(header.error().detail.index, 1u);
  EXPECT_EQ(header.error().detail.available, 63u);
  EXPECT_NE(header.error().message.find("tensor 'b'"), std::string::npos);
}

TEST(ReadGguf, RefusesEveryTruncation) {
  const std::string whole = small_file().str();
  ASSERT_THAT(read(whole), is_ok());
  for (size_t length = 0; length < whole.size(); ++length) {
    const auto header = read(std::string_view(whole).substr(0, length));
    ASSERT_THAT(header, fails_with(ErrorCode::kCorrupt)) << length;
    ASSERT_TRUE(header.error().detail.offset.has_value()) << length;
    ASSERT_LE(*header.error().detail.offset, length);
  }
}

TEST(ReadGguf, NamesTheKeyWhereTheFileEnds) {
  const std::string whole = small_file().str();
  const size_t in_tokens = whole.find("tokens") + 6 + 4 + 4 + 8 + 4;
  const auto header = read(std::string_view(whole).substr(0, in_tokens));
  ASSERT_THAT(header, fails_with(ErrorCode::kCorrupt));
  EXPECT_NE(header.error().message.find("key 'tokens': "), std::string::npos) << header.error().message;
}

TEST(ReadGguf, EveryBitFlipEndsInAnAnswer) {
  std::string file = small_file().str();
  for (size_t bit = 0; bit < 8 * file.size(); ++bit) {
    const auto mask = static_cast<char>(1 << (bit % 8));
    file[bit / 8] = static_cast<char>(file[bit / 8] ^ mask);
    const auto header = read(file);
    if (header) {
      for (const TensorEntry& t : header->tensors) ASSERT_LE(t.offset + t.bytes, file.size());
    } else {
      ASSERT_TRUE(header.error().detail.offset.has_value()) << header.error().message;
    }
    file[bit / 8] = static_cast<char>(file[bit / 8] ^ mask);
  }
}

// A file that says it is larger than it is, as one that is cut while it is read.
class ShrinkingSource final : public ByteSource {
 public:
  explicit ShrinkingSource(std::string_view text)
      : inner_(as_bytes(text), "shrinking"), size_(text.size() + 1000) {}
  const std::string& name() const override { return inner_.name(); }
  uint64_t size() const override { return size_; }
  Status read_at(uint64_t offset, std::span<std::byte> out) const override {
    return inner_.read_at(offset, out);
  }

 private:
  MemorySource inner_;
  uint64_t size_;
};

TEST(ReadGguf, PassesOnErrorsOfTheSource) {
  EXPECT_THAT(read_gguf(ShrinkingSource(small_file().str())), fails_with(ErrorCode::kIo));
}

}  // namespace
}  // namespace lobit
