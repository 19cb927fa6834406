#include <algorithm>

#include "lobit/base/test_support.h"
#include "lobit/format/safetensors.h"

namespace lobit {
namespace {

Shape shape_of(std::initializer_list<int64_t> extents) {
  return *Shape::create({extents.begin(), extents.size()});
}

Metadata metadata_of(std::initializer_list<std::pair<std::string, std::string>> entries) {
  Metadata metadata;
  for (const auto& [key, value] : entries) metadata.append({key, MetadataValue::string(value)});
  return metadata;
}

// A file with this layout and zeros as data.
std::string file_of(const FileLayout& layout) {
  std::string file = layout.header;
  file.resize(layout.file_bytes, '\0');
  return file;
}

Result<SafetensorsHeader> read(const std::string& file) {
  return read_safetensors(MemorySource(std::as_bytes(std::span(file))));
}

std::string json_of(const FileLayout& layout) {
  std::string text = layout.header.substr(8);
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

// A file whose one U8 tensor t of 18 bytes (as [1, 18]) comes with these metadata.
std::string annotated(const std::string& metadata) {
  FileLayout layout =
      *layout_safetensors(metadata_of({{"PLACE", "HOLDER"}}), {{{"t", shape_of({1, 18}), Encoding::kRawU8}}});
  std::string header = json_of(layout);
  const std::string place = R"("PLACE":"HOLDER")";
  header.replace(header.find(place), place.size(), metadata);
  std::string file(8, '\0');
  for (size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> 8 * i);
  return file + header + std::string(18, '\0');
}

TEST(LayoutSafetensors, WritesTheseBytes) {
  const std::vector<TensorSpec> tensors = {{"w", shape_of({2, 3}), Encoding::kF32},
                                           {"q", shape_of({2, 64}), Encoding::kQ4_0},
                                           {"\"\n\xC3\xBC", shape_of({}), Encoding::kBF16}};
  const auto layout = layout_safetensors(metadata_of({{"format", "pt"}}), tensors);
  ASSERT_THAT(layout, is_ok());
  EXPECT_EQ(json_of(*layout),
            R"({"__metadata__":{"format":"pt","lobit.format":"1","lobit.encoding.q":"q4_0",)"
            R"("lobit.shape.q":"[2, 64]"},)"
            R"("w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
            R"("q":{"dtype":"U8","shape":[2,36],"data_offsets":[24,96]},)"
            "\"\\\"\\u000a\xC3\xBC\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[96,98]}}");
  const uint64_t data = layout->header.size();
  EXPECT_EQ(data % kSafetensorsAlignment, 0u);
  EXPECT_EQ(layout->offsets, (std::vector<uint64_t>{data, data + 24, data + 96}));
  EXPECT_EQ(layout->file_bytes, data + 98);
  EXPECT_EQ(layout_safetensors(metadata_of({{"format", "pt"}}), tensors)->header, layout->header);
}

TEST(LayoutSafetensors, PadsEveryHeaderTo8) {
  for (size_t length = 0; length < 9; ++length) {
    const auto layout = layout_safetensors({}, {{{std::string(length, 'n'), shape_of({1}), Encoding::kF64}}});
    ASSERT_THAT(layout, is_ok());
    EXPECT_EQ(layout->header.size() % 8, 0u);
    EXPECT_EQ(layout->header[8], '{');
    ASSERT_THAT(read(file_of(*layout)), is_ok());
  }
  const auto empty = layout_safetensors({}, {});
  EXPECT_EQ(empty->header, std::string("\x08\0\0\0\0\0\0\0{}      ", 16));
  EXPECT_EQ(empty->file_bytes, 16u);
}

TEST(LayoutSafetensors, EveryEncodingReadsBack) {
  std::vector<TensorSpec> tensors;
  for (const EncodingTraits& t : all_encodings()) {
    tensors.push_back({std::string(t.name), shape_of({3, 1, 512}), t.encoding});
    tensors.push_back({std::string(t.name) + ".none", shape_of({0, 256}), t.encoding});
  }
  const Metadata metadata = metadata_of({{"z", "1"}, {"a", "\x01\"\\/"}, {"lobit.other", "stays"}});
  const auto layout = layout_safetensors(metadata, tensors);
  ASSERT_THAT(layout, is_ok());
  const auto header = read(file_of(*layout));
  ASSERT_THAT(header, is_ok());
  EXPECT_EQ(header->metadata.entries(), metadata.entries());
  EXPECT_EQ(header->data_offset, layout->header.size());
  ASSERT_EQ(header->tensors.size(), tensors.size());
  for (const TensorEntry& entry : header->tensors) {
    const auto spec = std::ranges::find(tensors, entry.name, &TensorSpec::name);
    ASSERT_NE(spec, tensors.end()) << entry.name;
    EXPECT_EQ(entry.encoding, spec->encoding) << entry.name;
    EXPECT_EQ(entry.shape, spec->shape) << entry.name;
    EXPECT_EQ(entry.offset, layout->offsets[static_cast<size_t>(spec - tensors.begin())]) << entry.name;
    EXPECT_EQ(entry.bytes, *encoded_bytes(spec->encoding, spec->shape.elements())) << entry.name;
  }
}

TEST(LayoutSafetensors, RefusesWhatTheFormatCannotHold) {
  const auto refuses = [](const Metadata& metadata, std::vector<TensorSpec> tensors) {
    EXPECT_THAT(layout_safetensors(metadata, tensors), fails_with(ErrorCode::kInvalidArgument));
  };
  const Shape row = shape_of({256});
  refuses({}, {{"a", row, Encoding::kF32}, {"b", row, Encoding::kF32}, {"a", row, Encoding::kF16}});
  refuses({}, {{"\xFF", row, Encoding::kF32}});
  refuses({}, {{"__metadata__", row, Encoding::kF32}});
  refuses({}, {{"a", shape_of({3, 33}), Encoding::kQ8_0}});
  refuses({}, {{"a", shape_of({32, 3}), Encoding::kQ8_0}});
  refuses({}, {{"a", shape_of({}), Encoding::kQ8_0}});
  refuses({}, {{"a", shape_of({int64_t{1} << 57, 32}), Encoding::kQ8_K}});
  refuses({}, {{"a", shape_of({int64_t{1} << 62}), Encoding::kF32}});
  refuses({}, {{"a", shape_of({int64_t{1} << 62}), Encoding::kRawU8},
               {"b", shape_of({int64_t{1} << 62}), Encoding::kRawU8}});
  refuses({}, {{"a", shape_of({3}), Encoding::kF4}});
  refuses(metadata_of({{"a", "1"}, {"b", "1"}, {"a", "2"}}), {});
  refuses(metadata_of({{"\xC3", "1"}}), {});
  refuses(metadata_of({{"a", "\xC3"}}), {});
  refuses(metadata_of({{"lobit.format", "1"}}), {});
  refuses(metadata_of({{"lobit.encoding.x", "q8_0"}}), {});
  refuses(metadata_of({{"lobit.shape.x", "[1]"}}), {});
  Metadata number;
  number.append({"a", MetadataValue::u32(1)});
  refuses(number, {});
}

TEST(LayoutSafetensors, RefusesHeadersThatAreTooLarge) {
  const std::string name(kSafetensorsMaxHeader, 'n');
  const auto layout = layout_safetensors({}, {{{name, shape_of({1}), Encoding::kF32}}});
  ASSERT_THAT(layout, fails_with(ErrorCode::kLimit));
  EXPECT_EQ(layout.error().detail.available, kSafetensorsMaxHeader);
}

TEST(SafetensorsBlocks, AreReadUnderTheirEncoding) {
  const auto header =
      read(annotated(R"("lobit.shape.t":"[1, 32]","x":"y","lobit.encoding.t":"q4_0","lobit.format":"1")"));
  ASSERT_THAT(header, is_ok());
  EXPECT_EQ(header->tensors.at(0).encoding, Encoding::kQ4_0);
  EXPECT_EQ(header->tensors.at(0).shape, shape_of({1, 32}));
  EXPECT_EQ(header->tensors.at(0).bytes, 18u);
  ASSERT_EQ(header->metadata.size(), 1u);
  EXPECT_EQ(header->metadata.entries()[0].key, "x");
}

TEST(SafetensorsBlocks, RefuseNotesThatDoNotFit) {
  const auto refuses = [](const std::string& metadata, const std::string& at,
                          ErrorCode code = ErrorCode::kCorrupt) {
    const std::string file = annotated(metadata);
    const auto header = read(file);
    ASSERT_THAT(header, fails_with(code)) << metadata;
    EXPECT_EQ(header.error().detail.offset, file.find(at)) << header.error().message;
  };
  const std::string v1 = R"("lobit.format":"1",)";
  const std::string encoding = R"("lobit.encoding.t":"q4_0")";
  const std::string shape = R"("lobit.shape.t":"[1, 32]")";
  refuses(R"("lobit.format":"2",)" + encoding + "," + shape, R"("lobit.format)", ErrorCode::kUnsupported);
  refuses(R"("lobit.format":"2")", R"("lobit.format)", ErrorCode::kUnsupported);
  refuses(encoding + "," + shape, R"("lobit.encoding)");
  refuses(v1 + encoding, R"("lobit.encoding)");
  refuses(v1 + shape, R"("lobit.shape)");
  refuses(v1 + encoding + "," + shape + "," + R"("lobit.shape.t":"[1, 64]")", R"("lobit.shape.t":"[1, 64])");
  refuses(v1 + encoding + "," + encoding + "," + shape, R"("lobit.encoding)");
  refuses(v1 + R"("lobit.encoding.u":"q4_0","lobit.shape.u":"[1, 32]")", R"("lobit.encoding)");
  for (const char* name : {"Q4_0", "i4", "f32", "raw_u8", "f4", "q4", ""}) {
    refuses(v1 + R"("lobit.encoding.t":")" + name + "\"," + shape, R"("lobit.encoding)");
  }
  refuses(v1 + R"("lobit.encoding.t":"q8_0",)" + shape, R"("lobit.shape)");
  for (const char* text :
       {"[32]", "[2, 32]", "[1, 64]", "[1, 31]", "[1,32]", "[1, 32", "1, 32]", "[]", "", "[1, -32]",
        "[01, 32]", "[1, 32] ", "[1, 32, ]", "[1, 1, 1, 1, 1, 1, 1, 1, 32]", "[1, 99999999999999999999]"}) {
    refuses(v1 + encoding + R"(,"lobit.shape.t":")" + text + "\"", R"("lobit.shape)");
  }
}

TEST(SafetensorsBlocks, AreBytes) {
  std::string file = annotated(R"("lobit.format":"1","lobit.encoding.t":"q4_0","lobit.shape.t":"[1, 32]")");
  file.replace(file.find("\"U8\""), 4, "\"I8\"");
  EXPECT_THAT(read(file), fails_with(ErrorCode::kCorrupt));
}

}  // namespace
}  // namespace lobit
