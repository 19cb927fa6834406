#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "lobit/base/checked.h"
#include "lobit/format/npy.h"
#include "lobit/format/npy_internal.h"

namespace lobit {
namespace npy {
namespace {

// NumPy leaves room for the first extent to grow to this many digits, so that others can append in place.
constexpr size_t kGrowthDigits = 21;

// As Python prints a tuple: (), (3,), (2, 3).
std::string tuple_text(const Shape& shape) {
  std::string text = "(";
  for (const int64_t extent : shape.extents()) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(extent);
  }
  return text += shape.rank() == 1 ? ",)" : ")";
}

// The whole header with its prefix. Always version 1.0, as NumPy does where the text fits 16 bits: Shape's 8
// dimensions always do.
std::string header_text(const Shape& shape, std::string_view descr) {
  std::string text =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}", descr, tuple_text(shape));
  if (shape.rank() > 0) text.append(kGrowthDigits - std::to_string(shape[0]).size(), ' ');
  constexpr size_t kPrefixBytes = kVersionEnd + 2;
  // Where the text ends at the alignment by itself NumPy pads by a whole unit.
  text.append(kNpyAlignment - (kPrefixBytes + text.size() + 1) % kNpyAlignment, ' ');
  text += '\n';

  std::string header(kMagic);
  header += '\x01';
  header += '\0';
  header += static_cast<char>(text.size() & 0xFF);
  header += static_cast<char>(text.size() >> 8);
  return header += text;
}

}  // namespace
}  // namespace npy

Result<FileLayout> layout_npy(const Shape& shape, Encoding encoding) {
  const auto* const found = std::ranges::find(npy::kDescrNames, encoding, &npy::DescrName::encoding);
  if (found == npy::kDescrNames.end()) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format(".npy: expected an encoding with a dtype in NumPy, found {}", encoding_name(encoding)),
        {.from = std::string(encoding_name(encoding))});
  }
  FileLayout layout;
  layout.header = npy::header_text(shape, found->descr);
  const std::optional<uint64_t> bytes = encoded_bytes(encoding, shape.elements());
  if (!bytes || *bytes > static_cast<uint64_t>(INT64_MAX) - layout.header.size()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format(".npy: expected a file below 2^63 bytes, found {} of {}", shape.to_string(),
                            encoding_name(encoding)));
  }
  layout.offsets.push_back(layout.header.size());
  layout.file_bytes = layout.header.size() + *bytes;
  return layout;
}

Status write_npy(const std::filesystem::path& target, const Shape& shape, Encoding encoding,
                 std::span<const std::byte> data, Durability durability) {
  LOBIT_TRY(const FileLayout layout, layout_npy(shape, encoding));
  const uint64_t expected = layout.file_bytes - layout.header.size();
  if (data.size() != expected) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: expected {} bytes for {} of {}, found {}", target.native(), expected,
                            shape.to_string(), encoding_name(encoding), data.size()),
                {.required = expected, .available = data.size()});
  }
  std::vector<OutputFile> files;
  LOBIT_TRY(OutputFile file, OutputFile::create(target, layout.file_bytes));
  LOBIT_RETURN_IF_ERROR(file.write_at(0, std::as_bytes(std::span(layout.header))));
  LOBIT_RETURN_IF_ERROR(file.write_at(layout.offsets.front(), data));
  files.push_back(std::move(file));
  return commit_all(files, durability);
}

}  // namespace lobit
