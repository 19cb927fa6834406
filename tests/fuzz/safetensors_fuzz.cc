// What parses must lay out again, and that must read back as the same. The input is taken as a file, as a
// file whose header size is set right (which mutations seldom do), and as an index.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lobit/base/check.h"
#include "lobit/format/safetensors.h"

namespace {

using namespace lobit;  // NOLINT(google-build-using-namespace): a program of its own

Result<SafetensorsHeader> read(std::string_view file) {
  return read_safetensors(MemorySource(std::as_bytes(std::span(file)), "input"));
}

void check_file(std::string_view file) {
  const Result<SafetensorsHeader> header = read(file);
  if (!header) {
    LOBIT_CHECK(header.error().detail.offset.has_value());
    LOBIT_CHECK(*header.error().detail.offset <= file.size());
    return;
  }
  std::vector<TensorSpec> specs;
  specs.reserve(header->tensors.size());
  for (const TensorEntry& t : header->tensors) specs.push_back({t.name, t.shape, t.encoding});
  const Result<FileLayout> layout = layout_safetensors(header->metadata, specs);
  LOBIT_CHECK(layout.has_value());

  std::string again = layout->header;
  again.append(file.substr(header->data_offset));
  LOBIT_CHECK(again.size() == layout->file_bytes);
  const Result<SafetensorsHeader> back = read(again);
  LOBIT_CHECK(back.has_value());
  LOBIT_CHECK(back->metadata.entries() == header->metadata.entries());
  LOBIT_CHECK(back->tensors.size() == header->tensors.size());
  for (size_t i = 0; i < back->tensors.size(); ++i) {
    const TensorEntry& a = header->tensors[i];
    const TensorEntry& b = back->tensors[i];
    LOBIT_CHECK(a.name == b.name && a.encoding == b.encoding && a.shape == b.shape && a.bytes == b.bytes);
    LOBIT_CHECK(a.offset - header->data_offset == b.offset - back->data_offset);
    LOBIT_CHECK(b.offset == layout->offsets[i]);
  }
}

void check_index(std::string_view text) {
  const Result<SafetensorsIndex> index = read_safetensors_index(text, "input");
  if (!index) return;
  const Result<SafetensorsIndex> back =
      read_safetensors_index(write_safetensors_index(*index, text.size()), "input");
  LOBIT_CHECK(back.has_value());
  LOBIT_CHECK(back->weight_map == index->weight_map);
  LOBIT_CHECK(back->metadata.at("total_size") == std::to_string(text.size()));
  for (const auto& [key, value] : index->metadata) {
    LOBIT_CHECK(key == "total_size" || back->metadata.at(key) == value);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  check_file(input);
  check_index(input);
  if (size > 8) {
    std::string repaired(input);
    const size_t header = repaired.rfind('}') + 1;  // 0 when there is none
    for (size_t i = 0; header > 8 && i < 8; ++i) repaired[i] = static_cast<char>((header - 8) >> 8 * i);
    check_file(repaired);
  }
  return 0;
}
