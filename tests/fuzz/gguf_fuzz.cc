// What parses must lie within the file, lay out again, and that must read back as the same. The input is
// taken as a file, as a file with more data after it, and as the name of a split file.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lobit/base/check.h"
#include "lobit/format/gguf.h"
#include "lobit/format/split.h"

namespace {

using namespace lobit;  // NOLINT(google-build-using-namespace): a program of its own

// Files whose names the format allows to be read but not to be written.
bool is_writable(const GgufHeader& header) {
  for (const TensorEntry& t : header.tensors) {
    if (t.name.size() > 63) return false;
  }
  return true;
}

void check_places(const GgufHeader& header, uint64_t file_bytes) {
  uint64_t end = header.data_offset;
  for (const TensorEntry& t : header.tensors) {
    LOBIT_CHECK(t.offset >= end && t.offset - end < header.alignment);
    LOBIT_CHECK(t.offset <= file_bytes && t.bytes <= file_bytes - t.offset);
    LOBIT_CHECK(t.bytes == encoded_bytes(t.encoding, t.shape.elements()));
    end = t.offset + t.bytes;
  }
}

void check_round_trip(const GgufHeader& header) {
  std::vector<TensorSpec> specs;
  for (const TensorEntry& t : header.tensors) specs.push_back({t.name, t.shape, t.encoding});
  const Result<FileLayout> layout = layout_gguf(header.metadata, specs, header.alignment);
  LOBIT_CHECK(layout.has_value());

  std::string again = layout->header;
  again.resize(layout->file_bytes);
  const Result<GgufHeader> back = read_gguf(MemorySource(std::as_bytes(std::span(again)), "output"));
  LOBIT_CHECK(back.has_value());
  LOBIT_CHECK(back->metadata == header.metadata);
  LOBIT_CHECK(back->alignment == header.alignment);
  LOBIT_CHECK(back->data_offset == layout->header.size());
  LOBIT_CHECK(back->tensors.size() == header.tensors.size());
  for (size_t i = 0; i < back->tensors.size(); ++i) {
    const TensorEntry& a = header.tensors[i];
    const TensorEntry& b = back->tensors[i];
    LOBIT_CHECK(a.name == b.name && a.encoding == b.encoding && a.shape == b.shape && a.bytes == b.bytes);
    LOBIT_CHECK(a.offset - header.data_offset == b.offset - back->data_offset);
    LOBIT_CHECK(b.offset == layout->offsets[i]);
  }
}

void check_file(std::string_view file) {
  const Result<GgufHeader> header = read_gguf(MemorySource(std::as_bytes(std::span(file)), "input"));
  if (!header) {
    LOBIT_CHECK(header.error().detail.offset.has_value());
    LOBIT_CHECK(*header.error().detail.offset <= file.size());
    return;
  }
  check_places(*header, file.size());
  for (const MetadataEntry& entry : header->metadata.entries())
    LOBIT_CHECK(!entry.value.to_string().empty() || entry.value.bytes.empty());
  if (is_writable(*header)) check_round_trip(*header);
}

void check_part_name(std::string_view text) {
  if (const auto name = parse_split_part_name(text)) {
    LOBIT_CHECK(split_part_name(name->stem, name->number, name->count) == text);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  check_file(input);
  check_part_name(input);
  // Mutations seldom keep the data large enough for the tensors.
  if (size < 4096) check_file(std::string(input) + std::string(65536, '\0'));
  return 0;
}
