#include "lobit/format/npy.h"

#include <fstream>
#include <numeric>
#include <string>

#include "lobit/base/test_support.h"

namespace lobit {
namespace {

// A file with this header and that many zero bytes of data.
std::string file_of(std::string_view header, size_t data_bytes = 0, char version = 1) {
  std::string file = std::string("\x93NUMPY") + version + '\0';
  for (size_t i = 0; i < (version == 1 ? 2 : 4); ++i) file += static_cast<char>(header.size() >> 8 * i);
  return file.append(header).append(data_bytes, '\0');
}

std::string header_of(std::string_view descr, std::string_view shape, std::string_view order = "False") {
  return "{'descr': '" + std::string(descr) + "', 'fortran_order': " + std::string(order) +
         ", 'shape': " + std::string(shape) + ", }\n";
}

Result<NpyHeader> read(std::string_view file) {
  return read_npy(MemorySource(std::as_bytes(std::span(file)), "a.npy"));
}

void expect_error(std::string_view file, ErrorCode code, uint64_t offset) {
  const Result<NpyHeader> header = read(file);
  ASSERT_THAT(header, fails_with(code)) << file.substr(0, 200);
  EXPECT_EQ(header.error().detail.offset, offset) << header.error().message;
  EXPECT_TRUE(header.error().message.starts_with("a.npy: byte " + std::to_string(offset) + ": expected ") ||
              header.error().message.find(": shape [") != std::string::npos)
      << header.error().message;
  EXPECT_LT(header.error().message.size(), 300u);
}

// The header is wrong at the '@', which is not part of it.
void expect_bad_header(std::string_view marked, ErrorCode code = ErrorCode::kCorrupt, char version = 1) {
  const size_t at = marked.find('@');
  ASSERT_NE(at, std::string_view::npos) << marked;
  const std::string header = std::string(marked.substr(0, at)) + std::string(marked.substr(at + 1));
  expect_error(file_of(header, 4, version), code, (version == 1 ? 10 : 12) + at);
}

Shape shape_of(std::initializer_list<int64_t> extents) {
  return *Shape::create({extents.begin(), extents.size()});
}

TEST(ReadNpy, ReadsEveryVersion) {
  const std::string text = header_of("<f4", "(2, 3)");
  for (const char version : {'\1', '\2', '\3'}) {
    const auto header = read(file_of(text, 24, version));
    ASSERT_THAT(header, is_ok());
    EXPECT_EQ(header->shape, shape_of({2, 3}));
    EXPECT_EQ(header->encoding, Encoding::kF32);
    EXPECT_EQ(header->data_offset, text.size() + (version == 1 ? 10 : 12));
    EXPECT_EQ(header->data_bytes, 24u);
  }
}

TEST(ReadNpy, KnowsTheDtypesByTheNamesThatOccur) {
  const auto encoding = [](std::string_view descr, size_t bytes) {
    const auto header = read(file_of(header_of(descr, "(3,)"), 3 * bytes));
    EXPECT_THAT(header, is_ok()) << descr;
    return header ? header->encoding : Encoding::kF4;
  };
  EXPECT_EQ(encoding("<f2", 2), Encoding::kF16);
  EXPECT_EQ(encoding("<f8", 8), Encoding::kF64);
  EXPECT_EQ(encoding("<V2", 2), Encoding::kBF16);
  EXPECT_EQ(encoding("bfloat16", 2), Encoding::kBF16);
  EXPECT_EQ(encoding("|i1", 1), Encoding::kRawI8);
  EXPECT_EQ(encoding("<i1", 1), Encoding::kRawI8);
  EXPECT_EQ(encoding(">u1", 1), Encoding::kRawU8);
  EXPECT_EQ(encoding("<b1", 1), Encoding::kBool);
  EXPECT_EQ(encoding("<u8", 8), Encoding::kRawU64);
  EXPECT_EQ(encoding("<c8", 8), Encoding::kC64);
}

TEST(ReadNpy, RefusesDtypesWithoutAnEncodingByName) {
  for (const char* descr :
       {">f4", ">V2", "|V2", "<V1", "<f1", "<f16", "<c16", "|O", "<U3", "|S5", "f4", "=f4", "<M8[ns]", ""}) {
    const std::string file = file_of(header_of(descr, "(1,)"), 64);
    expect_error(file, ErrorCode::kUnsupported, 20);
    EXPECT_EQ(read(file).error().detail.from, descr);
  }
  EXPECT_NE(read(file_of(header_of(">f4", "(1,)"), 4)).error().message.find("big-endian '>f4'"),
            std::string::npos);
  EXPECT_NE(read(file_of(header_of("|V2", "(1,)"), 2)).error().message.find("bfloat16"), std::string::npos);
  expect_bad_header("{'descr': @[('a', '<f4')], 'fortran_order': False, 'shape': (1,), }",
                    ErrorCode::kUnsupported);
  expect_bad_header("{'descr': @('<f4', (2,)), 'fortran_order': False, 'shape': (1,), }",
                    ErrorCode::kUnsupported);
}

TEST(ReadNpy, TakesFortranOrderOnlyWhereItIsCOrder) {
  for (const char* shape : {"()", "(3,)", "(1, 3)", "(3, 1)", "(1, 3, 1)"}) {
    const size_t bytes = std::string_view(shape) == "()" ? 1 : 3;
    EXPECT_THAT(read(file_of(header_of("|u1", shape, "True"), bytes)), is_ok()) << shape;
  }
  EXPECT_THAT(read(file_of(header_of("|u1", "(2, 0, 3)", "True"))), is_ok());
  const auto refused = read(file_of(header_of("|u1", "(2, 3)", "True"), 6));
  ASSERT_THAT(refused, fails_with(ErrorCode::kUnsupported));
  EXPECT_EQ(refused.error().detail.offset, 10u + header_of("|u1", "(2, 3)", "True").find("True"));
  EXPECT_NE(refused.error().message.find("Fortran order"), std::string::npos);
}

TEST(ReadNpy, TakesTheLiteralAsOtherWritersSpellIt) {
  for (const char* text : {
           R"({"shape":(2,1,),"descr":"<f4","fortran_order":False})",
           "\n{ 'fortran_order' : False , 'shape' : ( 2 , 1 ) ,\t'descr' : '<f4' , } \n\n",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 1L), }",  // Python 2
       }) {
    const auto header = read(file_of(text, 8));
    ASSERT_THAT(header, is_ok()) << text;
    EXPECT_EQ(header->shape, shape_of({2, 1}));
  }
  expect_bad_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1@L,), }", ErrorCode::kCorrupt, 3);
}

TEST(ReadNpy, RefusesKeysThatAreNotTheThree) {
  expect_bad_header("{'descr': '<f4', 'fortran_order': False@}");
  expect_bad_header("{'fortran_order': False, 'shape': (1,), @}  \n");
  expect_bad_header("{'descr': '<f4', 'shape': (1,)@}");
  expect_bad_header("{'descr': '<f4', @'descr': '<f4', 'fortran_order': False, 'shape': (1,), }");
  expect_bad_header("{'descr': '<f4', @'order': False, 'shape': (1,), }");
  expect_bad_header("{@descr: '<f4', 'fortran_order': False, 'shape': (1,), }");
  expect_bad_header("{@'des\\x63r': '<f4', 'fortran_order': False, 'shape': (1,), }");
  expect_bad_header("{'descr' @'<f4', 'fortran_order': False, 'shape': (1,), }");
  expect_bad_header("{@, }");
  expect_bad_header("@");
  expect_bad_header("@[1]");
  expect_bad_header("{'descr': '<f4' @'fortran_order': False, 'shape': (1,), }");
  expect_bad_header("{'descr': '<f4',@");
  expect_bad_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } @# comment");
}

TEST(ReadNpy, RefusesValuesOfAnotherForm) {
  expect_bad_header("{'descr': @4, 'fortran_order': False, 'shape': (1,), }");
  expect_bad_header("{'descr': @'<f4, }");
  expect_bad_header("{'descr': '<f4', 'fortran_order': @0, 'shape': (1,), }");
  expect_bad_header("{'descr': '<f4', 'fortran_order': @false, 'shape': (1,), }");
  expect_bad_header("{'descr': '<f4', 'fortran_order': False@ly, 'shape': (1,), }");
  expect_bad_header("{'descr': '<f4', 'fortran_order': False, 'shape': @[1], }");
  expect_bad_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1@), }");
  expect_bad_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1 @1), }");
  expect_bad_header("{'descr': '<f4', 'fortran_order': False, 'shape': (@,), }");
  expect_bad_header("{'descr': '<f4', 'fortran_order': False, 'shape': (@-1,), }");
  expect_bad_header("{'descr': '<f4', 'fortran_order': False, 'shape': (@01,), }");
  expect_bad_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1@.0,), }");
  expect_bad_header("{'descr': '<f4', 'fortran_order': False, 'shape': (@True,), }");
  expect_bad_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1, @");
}

TEST(ReadNpy, RefusesShapesThatDoNotFit) {
  expect_bad_header("{'descr': '<f4', 'fortran_order': False, 'shape': (@9223372036854775808,), }");
  expect_bad_header("{'descr': '<f4', 'fortran_order': False, 'shape': @(4294967296, 4294967296), }");
  expect_bad_header("{'descr': '<f4', 'fortran_order': False, 'shape': @(0, 4294967296, 4294967296), }");
  expect_bad_header("@{'descr': '<f4', 'fortran_order': False, 'shape': (2305843009213693952,), }");
  expect_bad_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, @1), }",
                    ErrorCode::kUnsupported);
  EXPECT_THAT(read(file_of(header_of("<f4", "(1, 1, 1, 1, 1, 1, 1, 1)"), 4)), is_ok());
}

TEST(ReadNpy, RefusesEveryPrefixOfAFile) {
  for (const char version : {'\1', '\2'}) {
    const std::string file = file_of(header_of("<f4", "(2,)"), 8, version);
    for (size_t bytes = 0; bytes < file.size(); ++bytes) {
      const auto header = read(std::string_view(file).substr(0, bytes));
      ASSERT_THAT(header, fails_with(ErrorCode::kCorrupt)) << bytes;
      ASSERT_LE(*header.error().detail.offset, bytes);
    }
    const auto cut = read(std::string_view(file).substr(0, file.size() - 3));
    EXPECT_EQ(cut.error().detail.required, 8u);
    EXPECT_EQ(cut.error().detail.available, 5u);
    expect_error(file + 'x', ErrorCode::kUnsupported, file.size());
  }
}

TEST(ReadNpy, RefusesOtherFilesAndVersions) {
  expect_error("GGUF\3\0\0\0 and so on", ErrorCode::kCorrupt, 0);
  std::string file = file_of(header_of("<f4", "(2,)"), 8);
  file[6] = 4;
  expect_error(file, ErrorCode::kUnsupported, 6);
  file[6] = 1;
  file[7] = 1;
  expect_error(file, ErrorCode::kUnsupported, 6);
}

TEST(ReadNpy, RefusesHugeHeaders) {
  std::string file = file_of(header_of("<f4", "(2,)"), 8, 2);
  file[11] = '\xFF';
  expect_error(file, ErrorCode::kCorrupt, 8);
  const std::string padding(kNpyMaxHeader - header_of("<f4", "(2,)").size(), ' ');
  EXPECT_THAT(read(file_of(header_of("<f4", "(2,)") + padding, 8, 2)), is_ok());
  expect_error(file_of(header_of("<f4", "(2,)") + padding + ' ', 8, 2), ErrorCode::kLimit, 8);
}

TEST(LayoutNpy, WritesTheBytesOfNumPy) {
  const auto header = [](std::initializer_list<int64_t> extents, Encoding encoding) {
    const auto layout = layout_npy(shape_of(extents), encoding);
    EXPECT_THAT(layout, is_ok());
    return layout->header;
  };
  EXPECT_EQ(header({2, 3}, Encoding::kF32),
            std::string("\x93NUMPY\1\0v\0", 10) +
                "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }" + std::string(58, ' ') + "\n");
  EXPECT_EQ(header({3}, Encoding::kBF16), std::string("\x93NUMPY\1\0v\0", 10) +
                                              "{'descr': '<V2', 'fortran_order': False, 'shape': (3,), }" +
                                              std::string(60, ' ') + "\n");
  EXPECT_EQ(header({}, Encoding::kBool), std::string("\x93NUMPY\1\0v\0", 10) +
                                             "{'descr': '|b1', 'fortran_order': False, 'shape': (), }" +
                                             std::string(62, ' ') + "\n");
}

TEST(LayoutNpy, ReadsBackForEveryEncodingOrSaysThatThereIsNoDtype) {
  int written = 0;
  for (const EncodingTraits& t : all_encodings()) {
    const Shape shape = shape_of({2, 512});
    const auto layout = layout_npy(shape, t.encoding);
    if (!layout) {
      EXPECT_THAT(layout, fails_with(ErrorCode::kUnsupported)) << t.name;
      EXPECT_EQ(layout.error().detail.from, t.name);
      continue;
    }
    ++written;
    EXPECT_EQ(layout->header.size() % kNpyAlignment, 0u);
    EXPECT_EQ(layout->offsets, std::vector<uint64_t>{layout->header.size()});
    std::string file = layout->header;
    file.resize(layout->file_bytes);
    const auto header = read(file);
    ASSERT_THAT(header, is_ok());
    EXPECT_EQ(header->encoding, t.encoding);
    EXPECT_EQ(header->shape, shape);
    EXPECT_EQ(header->data_bytes, 1024u * t.block_bytes);
  }
  EXPECT_EQ(written, 14);
}

TEST(LayoutNpy, RefusesFilesBeyondTheLargestSize) {
  EXPECT_THAT(layout_npy(shape_of({INT64_MAX}), Encoding::kRawU8), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(layout_npy(shape_of({INT64_MAX}), Encoding::kF32), fails_with(ErrorCode::kInvalidArgument));
}

TEST(WriteNpy, WritesAFileWholeOrNotAtAll) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "a.npy";
  std::string values(24, '\0');
  std::iota(values.begin(), values.end(), 'a');
  ASSERT_THAT(write_npy(path, shape_of({2, 3}), Encoding::kF32, std::as_bytes(std::span(values))), is_ok());
  const auto file = File::open(path);
  ASSERT_THAT(file, is_ok());
  const auto header = read_npy(*file);
  ASSERT_THAT(header, is_ok());
  std::string found(24, '\0');
  ASSERT_THAT(file->read_at(header->data_offset, std::as_writable_bytes(std::span(found))), is_ok());
  EXPECT_EQ(found, values);

  const auto old = read_file(path, 1000);
  const auto refused = write_npy(path, shape_of({2, 4}), Encoding::kF32, std::as_bytes(std::span(values)));
  ASSERT_THAT(refused, fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(refused.error().detail.required, 32u);
  EXPECT_EQ(refused.error().detail.available, 24u);
  EXPECT_EQ(*read_file(path, 1000), *old);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
  EXPECT_THAT(write_npy(folder.path() / "none" / "a.npy", shape_of({2, 3}), Encoding::kF32,
                        std::as_bytes(std::span(values))),
              fails_with(ErrorCode::kNotFound));
}

}  // namespace
}  // namespace lobit
