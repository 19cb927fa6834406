// What parses must lay out again, and that must read back as the same. The input is taken as a file, and as a
// file of each version whose header size and values are made to fit (which mutations seldom do).
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lobit/base/check.h"
#include "lobit/format/npy.h"

namespace {

using namespace lobit;  // NOLINT(google-build-using-namespace): a program of its own

Result<NpyHeader> read(std::string_view file) {
  return read_npy(MemorySource(std::as_bytes(std::span(file)), "input"));
}

// Returns how many bytes of values the header asks for where it was all that is wrong.
uint64_t check_file(std::string_view file) {
  const Result<NpyHeader> header = read(file);
  if (!header) {
    const ErrorDetail& detail = header.error().detail;
    LOBIT_CHECK(detail.offset.has_value());
    LOBIT_CHECK(*detail.offset <= file.size());
    return header.error().code == ErrorCode::kCorrupt ? detail.required.value_or(0) : 0;
  }
  const Result<FileLayout> layout = layout_npy(header->shape, header->encoding);
  LOBIT_CHECK(layout.has_value());

  std::string again = layout->header;
  again.append(file.substr(header->data_offset));
  LOBIT_CHECK(again.size() == layout->file_bytes);
  const Result<NpyHeader> back = read(again);
  LOBIT_CHECK(back.has_value());
  LOBIT_CHECK(back->shape == header->shape && back->encoding == header->encoding);
  LOBIT_CHECK(back->data_offset == layout->offsets.front() && back->data_bytes == header->data_bytes);
  return 0;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  check_file(input);
  const size_t begin = input.find('{');
  const size_t end = input.rfind('}');
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin) return 0;
  const std::string_view text = input.substr(begin, end + 1 - begin);
  for (const char version : {'\1', '\2', '\3'}) {
    std::string file = std::string("\x93NUMPY") + version + '\0';
    for (size_t i = 0; i < (version == 1 ? 2 : 4); ++i) file += static_cast<char>(text.size() >> 8 * i);
    file += text;
    const uint64_t values = check_file(file);
    file.append(std::min<uint64_t>(values, 1 << 16), '\0');
    check_file(file);
  }
  return 0;
}
