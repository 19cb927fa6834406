// Files of tensors: what a directory says can be read, and its notes are written again as the same. The input
// is taken as a file of each format, as a safetensors file whose header size is set right (which mutations
// seldom do), and as the note of a tensor.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "lobit/base/check.h"
#include "lobit/format/tensor_file.h"
#include "lobit/format/tensor_file_internal.h"
#include "lobit/memory/system_resource.h"

namespace {

using namespace lobit;  // NOLINT(google-build-using-namespace): a program of its own

void check_file(std::string_view file, TensorFileFormat format) {
  const MemorySource source(std::as_bytes(std::span(file)), "input");
  const Result<TensorDirectory> directory = read_tensor_directory(source, format);
  if (!directory) return;
  static SystemResource memory;
  for (const StoredTensor& stored : directory->tensors) {
    LOBIT_CHECK(stored.offset <= file.size() && stored.bytes <= file.size() - stored.offset);
    const Result<Tensor> tensor = read_tensor(source, stored, memory);
    if (!tensor) {
      const bool changed = tensor.error().code == ErrorCode::kCorrupt && stored.checksum.has_value();
      LOBIT_CHECK(changed || tensor.error().code == ErrorCode::kUnsupported);
      continue;
    }
    LOBIT_CHECK(tensor->size_bytes() == stored.bytes && tensor->shape() == stored.shape);
    LOBIT_CHECK(tensor->name() == stored.name && tensor->tags().size() == stored.tags.size());
  }
}

void check_note(std::string_view text) {
  const Result<tensor_file::Note> note = tensor_file::parse_note(text, "input");
  if (!note) return;
  const Result<tensor_file::Note> again = tensor_file::parse_note(tensor_file::note_text(*note), "again");
  LOBIT_CHECK(again.has_value());
  LOBIT_CHECK(again->format == note->format && again->shape == note->shape);
  LOBIT_CHECK(again->tags == note->tags && again->checksum == note->checksum);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  check_file(input, TensorFileFormat::kSafetensors);
  check_file(input, TensorFileFormat::kGguf);
  check_file(input, TensorFileFormat::kNpy);
  check_note(input);
  if (size <= 8) return 0;
  // Values behind the last brace may hold others; the first pair that ends two objects is the header's end.
  for (const size_t end : {input.find("}}"), input.rfind("}}")}) {
    if (end == std::string_view::npos || end < 8) continue;
    std::string repaired(input);
    for (size_t i = 0; i < 8; ++i) repaired[i] = static_cast<char>((end + 2 - 8) >> 8 * i);
    check_file(repaired, TensorFileFormat::kSafetensors);
  }
  return 0;
}
