#include "lobit/format/safetensors.h"

#include <algorithm>
#include <chrono>

#include "lobit/base/test_heap.h"
#include "lobit/base/test_support.h"
#include "lobit/io/file.h"

namespace lobit {
namespace {

// A file with this header and that many zero bytes of data.
std::string file_of(std::string_view header, size_t data_bytes = 0) {
  std::string file(8, '\0');
  for (size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> 8 * i);
  return file.append(header).append(data_bytes, '\0');
}

Result<SafetensorsHeader> read(std::string_view file) {
  return read_safetensors(MemorySource(std::as_bytes(std::span(file)), "test.safetensors"));
}

void expect_error(std::string_view file, ErrorCode code, uint64_t offset, std::string_view about) {
  const Result<SafetensorsHeader> header = read(file);
  ASSERT_THAT(header, fails_with(code)) << about;
  EXPECT_EQ(header.error().detail.offset, offset) << about << ": " << header.error().message;
  EXPECT_TRUE(header.error().message.starts_with("test.safetensors: byte " + std::to_string(offset) + ": "))
      << header.error().message;
  EXPECT_LT(header.error().message.size(), 400u);
}

// The header is wrong at the '@', which is not part of it.
void expect_bad_header(std::string_view marked, size_t data_bytes = 0, ErrorCode code = ErrorCode::kCorrupt) {
  const size_t at = marked.find('@');
  ASSERT_NE(at, std::string_view::npos) << marked;
  const std::string header = std::string(marked.substr(0, at)) + std::string(marked.substr(at + 1));
  expect_error(file_of(header, data_bytes), code, 8 + at, marked.substr(0, 200));
}

std::string tensor(std::string_view name, std::string_view shape, uint64_t begin, uint64_t end,
                   std::string_view dtype = "U8") {
  return "\"" + std::string(name) + R"(":{"dtype":")" + std::string(dtype) + R"(","shape":)" +
         std::string(shape) + R"(,"data_offsets":[)" + std::to_string(begin) + "," + std::to_string(end) +
         "]}";
}

Shape shape_of(std::initializer_list<int64_t> extents) {
  return *Shape::create({extents.begin(), extents.size()});
}

TEST(ReadSafetensors, ReadsTensorsAndMetadata) {
  const std::string file =
      file_of(R"({"__metadata__":{"format":"pt","\u00fc":""},)" + tensor("b", "[2,3]", 2, 26, "F32") + "," +
                  tensor("a", "[2]", 0, 2) + "}  ",
              26);
  const auto header = read(file);
  ASSERT_THAT(header, is_ok());
  EXPECT_EQ(header->data_offset, file.size() - 26);
  ASSERT_EQ(header->tensors.size(), 2u);
  EXPECT_EQ(header->tensors[0].name, "a");
  EXPECT_EQ(header->tensors[0].encoding, Encoding::kRawU8);
  EXPECT_EQ(header->tensors[0].shape, shape_of({2}));
  EXPECT_EQ(header->tensors[0].offset, header->data_offset);
  EXPECT_EQ(header->tensors[0].bytes, 2u);
  EXPECT_EQ(header->tensors[1].name, "b");
  EXPECT_EQ(header->tensors[1].encoding, Encoding::kF32);
  EXPECT_EQ(header->tensors[1].shape, shape_of({2, 3}));
  EXPECT_EQ(header->tensors[1].offset, header->data_offset + 2);
  EXPECT_EQ(header->tensors[1].bytes, 24u);
  ASSERT_EQ(header->metadata.size(), 2u);
  EXPECT_EQ(header->metadata.entries()[0].key, "format");
  EXPECT_EQ(header->metadata.entries()[0].value.as_string(), "pt");
  EXPECT_EQ(header->metadata.entries()[1].key, "\xC3\xBC");
  EXPECT_EQ(header->metadata.entries()[1].value.as_string(), "");
}

TEST(ReadSafetensors, ReadsEveryDType) {
  size_t count = 0;
  for (const EncodingTraits& t : all_encodings()) {
    if (t.safetensors_name.empty()) continue;
    ++count;
    const auto header = read(file_of(
        "{" + tensor("t", "[3,4]", 0, 12 / t.block_elements * t.block_bytes, t.safetensors_name) + "}",
        12 / t.block_elements * t.block_bytes));
    ASSERT_THAT(header, is_ok()) << t.safetensors_name;
    EXPECT_EQ(header->tensors.at(0).encoding, t.encoding) << t.safetensors_name;
  }
  EXPECT_EQ(count, 22u);
}

TEST(ReadSafetensors, AcceptsWhatTheReferenceAccepts) {
  for (const std::string header : {"{}", "{}   ", " \n\t\r{} \n\t\r", R"({"__metadata__":{}})"}) {
    const auto read_back = read(file_of(header));
    ASSERT_THAT(read_back, is_ok()) << header;
    EXPECT_TRUE(read_back->tensors.empty());
  }
  const auto scalar = read(file_of("{" + tensor("s", "[]", 0, 4, "F32") + "}", 4));
  ASSERT_THAT(scalar, is_ok());
  EXPECT_EQ(scalar->tensors[0].shape.rank(), 0u);
  const auto empty = read(file_of("{" + tensor("e", "[2,0]", 0, 0, "F32") + "}"));
  ASSERT_THAT(empty, is_ok());
  EXPECT_EQ(empty->tensors[0].bytes, 0u);
}

TEST(ReadSafetensors, NamesAreAnyStrings) {
  const std::string long_name(1 << 20, 'n');
  const auto header =
      read(file_of("{" + tensor("", "[0]", 0, 0) + "," + tensor(long_name, "[0]", 0, 0) + "," +
                   tensor("../x", "[0]", 0, 0) + "," + tensor("a\\u0000b", "[0]", 0, 0) + "}"));
  ASSERT_THAT(header, is_ok());
  ASSERT_EQ(header->tensors.size(), 4u);
  EXPECT_EQ(header->tensors[0].name, "");
  EXPECT_EQ(header->tensors[1].name, long_name);
  EXPECT_EQ(header->tensors[2].name, "../x");
  EXPECT_EQ(header->tensors[3].name, std::string("a\0b", 3));
}

TEST(ReadSafetensors, EmptyTensorsStayInTheHeadersOrder) {
  const auto header = read(file_of("{" + tensor("z", "[0]", 1, 1) + "," + tensor("d", "[1]", 0, 1) + "," +
                                       tensor("a", "[0]", 1, 1) + "," + tensor("b", "[0]", 0, 0) + "}",
                                   1));
  ASSERT_THAT(header, is_ok());
  std::string names;
  for (const TensorEntry& entry : header->tensors) names += entry.name;
  EXPECT_EQ(names, "bdza");
}

TEST(ReadSafetensors, RefusesWrongHeaderSizes) {
  const auto with_size = [](uint64_t size, std::string_view rest) {
    std::string file = file_of("", 0);
    for (size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(size >> 8 * i);
    return file.append(rest);
  };
  expect_error("", ErrorCode::kCorrupt, 0, "empty file");
  expect_error(std::string(7, '\0'), ErrorCode::kCorrupt, 7, "7 bytes");
  expect_error(with_size(0, ""), ErrorCode::kCorrupt, 8, "N = 0");
  expect_error(with_size(0, "{}"), ErrorCode::kCorrupt, 8, "N = 0 with a header");
  expect_error(with_size(~uint64_t{0}, "{}"), ErrorCode::kLimit, 0, "N = 2^64 - 1");
  expect_error(with_size(100'000'001, "{}"), ErrorCode::kLimit, 0, "N over the limit");
  expect_error(with_size(100'000'000, "{}"), ErrorCode::kCorrupt, 0, "N at the limit, beyond the file");
  expect_error(with_size(3, "{}"), ErrorCode::kCorrupt, 0, "N beyond the file");
  expect_error(with_size(1, "{}"), ErrorCode::kCorrupt, 9, "N within the text");
}

TEST(ReadSafetensors, RefusesWhatIsNotJson) {
  expect_bad_header("@\xEF\xBB\xBF{}");
  expect_bad_header("@nonsense");
  expect_bad_header("{}@x");
  expect_bad_header("{@'a':1}");
  expect_bad_header("{\"a@\xFF\":1}");
  expect_bad_header("{\"@\\ud800\":1}");
  expect_bad_header("{\"a@\n\":1}");
  expect_error(file_of(std::string_view("{}\0\0", 4)), ErrorCode::kCorrupt, 10, "NUL padding");
  expect_error(file_of(std::string_view("\0{}", 3)), ErrorCode::kCorrupt, 8, "leading NUL");
}

TEST(ReadSafetensors, RefusesWrongStructure) {
  expect_bad_header("@[]");
  expect_bad_header("@1");
  expect_bad_header("@null");
  expect_bad_header(R"({"a":@1})");
  expect_bad_header(R"({"a":@null})");
  expect_bad_header(R"({"a":@"F32"})");
  expect_bad_header(R"({"a":@[]})");
  expect_bad_header(R"({"a":{@}})");
  expect_bad_header(R"({"a":{"shape":[],"data_offsets":[0,1]@}})", 1);
  expect_bad_header(R"({"a":{"dtype":"U8","data_offsets":[0,1]@}})", 1);
  expect_bad_header(R"({"a":{"dtype":"U8","shape":[]@}})", 1);
  expect_bad_header(R"({"a":{"dtype":"U8","shape":[],"data_offsets":[0,1],@"x":1}})", 1);
  expect_bad_header(R"({"a":{"dtype":"U8",@"dtype":"U8","shape":[],"data_offsets":[0,1]}})", 1);
  expect_bad_header(R"({"a":{"dtype":"U8","shape":[],@"shape":[],"data_offsets":[0,1]}})", 1);
  expect_bad_header(R"({"a":{"dtype":"U8","shape":[],"data_offsets":[0,1],@"data_offsets":[0,1]}})", 1);
  expect_bad_header(R"({"a":{"dtype":@8,"shape":[],"data_offsets":[0,1]}})", 1);
  expect_bad_header(R"({"a":{"dtype":"U8","shape":@1,"data_offsets":[0,1]}})", 1);
  expect_bad_header(R"({"a":{"dtype":"U8","shape":[@[1]],"data_offsets":[0,1]}})", 1);
  expect_bad_header(R"({"a":{"dtype":"U8","shape":[@"1"],"data_offsets":[0,1]}})", 1);
  expect_bad_header(R"({"a":{"dtype":"U8","shape":[],"data_offsets":@{"a":0}}})", 1);
  expect_bad_header(R"({"a":{"dtype":"U8","shape":[],"data_offsets":[0@]}})", 1);
  expect_bad_header(R"({"a":{"dtype":"U8","shape":[],"data_offsets":[0,1,@2]}})", 1);
  expect_bad_header(R"({"__metadata__":@null})");
  expect_bad_header(R"({"__metadata__":@[]})");
  expect_bad_header(R"({"__metadata__":{"a":@1}})");
  expect_bad_header(R"({"__metadata__":{"a":@null}})");
  expect_bad_header(R"({"__metadata__":{"a":@{}}})");
}

TEST(ReadSafetensors, RefusesUnknownDTypes) {
  for (const char* dtype : {"F33", "f32", "", "Q8_0", "q8_0", " F32"}) {
    expect_bad_header(R"({"a":{"dtype":@")" + std::string(dtype) + R"(","shape":[],"data_offsets":[0,4]}})",
                      4);
  }
  const auto header = read(file_of("{" + tensor("a", "[]", 0, 4, "F33") + "}", 4));
  ASSERT_FALSE(header);
  EXPECT_NE(header.error().message.find("unknown dtype 'F33'"), std::string::npos) << header.error().message;
}

TEST(ReadSafetensors, RefusesOtherFormsOfNumbers) {
  for (const char* number : {"-1", "1.0", "1e2", "18446744073709551616", "-0", "true", "null", "\"1\""}) {
    const std::string n = number;
    expect_bad_header(R"({"a":{"dtype":"U8","shape":[@)" + n + R"(],"data_offsets":[0,1]}})", 1);
    expect_bad_header(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,@)" + n + "]}}", 1);
  }
  expect_bad_header(R"({"a":{"dtype":"U8","shape":[@01],"data_offsets":[0,1]}})", 1);
}

TEST(ReadSafetensors, RefusesDuplicates) {
  expect_bad_header("{" + tensor("a", "[0]", 0, 0) + "," + tensor("b", "[0]", 0, 0) + ",@" +
                    tensor("a", "[0]", 0, 0) + "}");
  expect_bad_header("{" + tensor("a", "[0]", 0, 0) + ",@" + tensor("\\u0061", "[0]", 0, 0) + "}");
  expect_bad_header(R"({"__metadata__":{},@"__metadata__":{}})");
  expect_bad_header(R"({"__metadata__":{"b":"1","a":"1",@"b":"1"}})");
  expect_bad_header(R"({"__metadata__":{"lobit.format":"1",@"lobit.format":"1"}})");
}

TEST(ReadSafetensors, RefusesShapesThatDoNotFit) {
  const auto shaped = [](std::string_view shape, std::string_view dtype, uint64_t bytes) {
    return R"({"a":{"dtype":")" + std::string(dtype) + R"(",@"shape":)" + std::string(shape) +
           R"(,"data_offsets":[0,)" + std::to_string(bytes) + "]}}";
  };
  expect_bad_header(shaped("[4294967296,4294967296]", "U8", 0));
  expect_bad_header(shaped("[4611686018427387904,4]", "F32", 0));
  expect_bad_header(shaped("[2147483648,2147483648,4]", "F32", 0));
  expect_bad_header(shaped("[4611686018427387904]", "F32", 0));  // the product with 4 bytes wraps to 0
  expect_bad_header(shaped("[0,4611686018427387904,4]", "U8", 0));
  expect_bad_header(shaped("[3]", "F4", 1));
  expect_bad_header(shaped("[2]", "F6_E2M3", 1));
  expect_bad_header(shaped("[]", "F4", 1));
  expect_bad_header(R"({"a":{"dtype":"U8","shape":[0,@9223372036854775808],"data_offsets":[0,0]}})");
}

TEST(ReadSafetensors, RefusesMoreThanEightDimensions) {
  const auto header = read(file_of("{" + tensor("a", "[1,1,1,1,1,1,1,1]", 0, 1) + "}", 1));
  ASSERT_THAT(header, is_ok());
  EXPECT_EQ(header->tensors[0].shape.rank(), 8u);
  std::string many = R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,@1)";
  for (int i = 0; i < 100000; ++i) many += ",1";
  expect_bad_header(many + R"(],"data_offsets":[0,1]}})", 1, ErrorCode::kUnsupported);
}

TEST(ReadSafetensors, RefusesRangesThatAreNotTheTensors) {
  const auto ranged = [](std::string_view offsets) {
    return R"({"a":{"dtype":"U8","shape":[2],@"data_offsets":)" + std::string(offsets) + "}}";
  };
  expect_bad_header(ranged("[2,0]"), 2);
  expect_bad_header(ranged("[0,1]"), 2);
  expect_bad_header(ranged("[0,3]"), 3);
  expect_bad_header(ranged("[18446744073709551615,1]"), 2);  // end - begin wraps to 2
}

TEST(ReadSafetensors, RefusesHolesAndOverlaps) {
  expect_bad_header("{@" + tensor("a", "[2]", 1, 3) + "}", 3);
  expect_bad_header("{" + tensor("a", "[2]", 0, 2) + ",@" + tensor("b", "[2]", 3, 5) + "}", 5);
  expect_bad_header("{@" + tensor("b", "[2]", 1, 3) + "," + tensor("a", "[2]", 0, 2) + "}", 3);
  expect_bad_header("{" + tensor("a", "[2]", 0, 2) + ",@" + tensor("b", "[2]", 0, 2) + "}", 2);
  expect_bad_header("{" + tensor("a", "[4]", 0, 4) + ",@" + tensor("b", "[0]", 2, 2) + "}", 4);
  expect_bad_header("{" + tensor("a", "[2]", 0, 2) + ",@" + tensor("b", "[0]", 3, 3) + "}", 3);
  expect_bad_header("{@" + tensor("a", "[2]", 18446744073709551613U, 18446744073709551615U) + "}", 2);
  std::string attack = "{" + tensor("t0", "[4]", 0, 4);
  for (int i = 1; i < 10; ++i)
    attack += std::string(i == 1 ? ",@" : ",") + tensor("t" + std::to_string(i), "[4]", 0, 4);
  expect_bad_header(attack + "}", 4);
}

TEST(ReadSafetensors, RefusesMissingAndTrailingData) {
  const std::string header = "{" + tensor("a", "[2]", 0, 2) + "}";
  expect_error(file_of(header, 3), ErrorCode::kCorrupt, 8 + header.size() + 2, "a trailing byte");
  expect_error(file_of(header, 1), ErrorCode::kCorrupt, 8 + header.size() + 1, "a missing byte");
  expect_error(file_of("{}", 1), ErrorCode::kCorrupt, 10, "data without tensors");
  const auto lost = read(file_of(header, 1));
  EXPECT_EQ(lost.error().detail.required, 2u);
  EXPECT_EQ(lost.error().detail.available, 1u);
  const std::string far = "{" + tensor("a", "[1099511627776]", 0, 1099511627776) + "}";
  expect_error(file_of(far), ErrorCode::kCorrupt, 8 + far.size(), "a tebibyte that is not there");
}

TEST(ReadSafetensors, RefusesEveryTruncation) {
  const std::string file = file_of(R"({"__metadata__":{"k":"v"},)" + tensor("a", "[2,2]", 0, 8, "F16") + "," +
                                       tensor("b", "[3]", 8, 11) + "}  ",
                                   11);
  ASSERT_THAT(read(file), is_ok());
  const size_t data = file.size() - 11;
  for (size_t size = 0; size < file.size(); ++size) {
    const uint64_t offset = size < 8 ? size : size < data ? 0 : size;
    expect_error(std::string_view(file).substr(0, size), ErrorCode::kCorrupt, offset,
                 "cut to " + std::to_string(size));
  }
}

TEST(ReadSafetensors, ReadsHeadersOfSparseFilesAlone) {
  constexpr uint64_t kTebibyte = uint64_t{1} << 40;
  const TemporaryFolder folder;
  const auto path = folder.path() / "sparse.safetensors";
  const std::string start = file_of("{" + tensor("t", "[1099511627776]", 0, kTebibyte) + "}");
  ASSERT_THAT(write_file(path, std::as_bytes(std::span(start))), is_ok());
  std::error_code error;
  std::filesystem::resize_file(path, start.size() + kTebibyte, error);
  if (error) GTEST_SKIP() << "no files of a tebibyte here: " << error.message();
  const auto file = File::open(path);
  ASSERT_THAT(file, is_ok());
  const auto header = read_safetensors(*file);
  ASSERT_THAT(header, is_ok());
  EXPECT_EQ(header->tensors.at(0).bytes, kTebibyte);
}

TEST(ReadSafetensors, FailsWhenTheFileIsCutAfterOpening) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "cut.safetensors";
  const std::string content = file_of("{" + tensor("t", "[4]", 0, 4) + "}", 4);
  ASSERT_THAT(write_file(path, std::as_bytes(std::span(content))), is_ok());
  const auto file = File::open(path);
  ASSERT_THAT(file, is_ok());
  std::filesystem::resize_file(path, 20);
  EXPECT_THAT(read_safetensors(*file), fails_with(ErrorCode::kIo));
}

TEST(ReadSafetensors, RefusesDepthAtOnce) {
  expect_bad_header("{\"a\":@" + std::string(1'000'000, '['));
  expect_bad_header("{\"a\":{@\"a\":" + std::string(1'000'000, '{'));
}

TEST(ReadSafetensors, LimitsMetadataKeys) {
  std::string header = R"({"__metadata__":{)";
  for (int i = 0; i < 65536; ++i) header += "\"" + std::to_string(i) + "\":\"\",";
  std::string full = header;
  full.back() = '}';
  const auto read_back = read(file_of(full + "}"));
  ASSERT_THAT(read_back, is_ok());
  EXPECT_EQ(read_back->metadata.size(), 65536u);
  expect_bad_header(header + "\"x\":@\"\"}}", 0, ErrorCode::kLimit);
}

// The bound of the header's comment.
size_t most_heap(size_t header_bytes) {
  return 8 * header_bytes + (size_t{16} << 20);
}

// Reads a header and expects bounded memory. The time is for a watchdog, far from what it takes.
void expect_bounded(const std::string& file, bool valid, std::string_view about) {
  const auto start = std::chrono::steady_clock::now();
  const HeapPeak peak;
  {
    const auto header = read(file);
    EXPECT_EQ(header.has_value(), valid) << about;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60)) << about;
  if (heap_is_counted()) {
    EXPECT_LT(peak.bytes(), most_heap(file.size())) << about;
  }
  ::testing::Test::RecordProperty(std::string(about), std::to_string(peak.bytes()));
}

TEST(ReadSafetensors, MillionsOfEmptyTensorsTakeBoundedMemory) {
  std::string header = "{";
  const int count = heap_is_counted() ? 1'000'000 : 50'000;  // sanitizers are slow
  for (int i = 0; i < count; ++i) header += tensor(std::to_string(i), "[0]", 0, 0) + ",";
  header.back() = '}';
  expect_bounded(file_of(header), true, "tensors");
  header.back() = ',';
  expect_bounded(file_of(header + tensor("0", "[0]", 0, 0) + "}"), false, "duplicate");
}

TEST(ReadSafetensors, HostileTextTakesBoundedMemory) {
  // Just over a power of two, where buffers that double are emptiest.
  const size_t size = heap_is_counted() ? 17'000'000 : 1'100'000;
  expect_bounded(file_of("{\"" + std::string(size, 'a')), false, "endless name");
  expect_bounded(file_of("{\"" + std::string(size, '{') + "\":1}"), false, "name of braces");
  std::string escapes;
  while (escapes.size() < size) escapes += "\\u20ac";
  expect_bounded(file_of("{\"" + escapes + "\":1}"), false, "name of escapes");
  expect_bounded(file_of(R"({"__metadata__":{"a":")" + escapes + "\"}}"), true, "value of escapes");
  for (const char* prefix : {"lobit.shape.", "lobit.encoding.", ""}) {
    std::string notes = R"({"__metadata__":{)";
    for (int i = 0; notes.size() < std::max<size_t>(size / 4, 1'100'000); ++i)
      notes += "\"" + (prefix + std::to_string(i)) + "\":\"\",";
    notes.back() = '}';
    expect_bounded(file_of(notes + "}"), false, "keys " + std::string(prefix));
  }
}

}  // namespace
}  // namespace lobit
