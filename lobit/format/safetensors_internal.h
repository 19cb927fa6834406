// What the parts of safetensors.h share. Not installed.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lobit/base/result.h"
#include "lobit/dtype/encoding.h"
#include "lobit/format/metadata.h"
#include "lobit/format/tensor_entry.h"

namespace lobit::safetensors {

inline constexpr uint64_t kPrefixBytes = 8;  // the header's size, u64 little endian
inline constexpr std::string_view kMetadataKey = "__metadata__";
// lobit's own keys in __metadata__; docs/formats/safetensors.md.
inline constexpr std::string_view kFormatKey = "lobit.format";
inline constexpr std::string_view kFormatVersion = "1";
inline constexpr std::string_view kEncodingPrefix = "lobit.encoding.";
inline constexpr std::string_view kShapePrefix = "lobit.shape.";

// Keys of __metadata__ other than lobit's. An entry of 9 bytes in the header costs 80 in memory, so memory
// linear in the header needs a limit; files in use have some dozens.
inline constexpr size_t kMaxMetadataKeys = 65536;

// A value under lobit.encoding.NAME or lobit.shape.NAME.
struct Note {
  enum class Kind : uint8_t { kEncoding, kShape };
  std::string name;  // NAME
  std::string value;
  Kind kind = Kind::kEncoding;
  uint32_t at = 0;  // offset of the key in the file; headers end below 2^32
};

// A header's text as values, each checked on its own, in the header's order.
struct RawHeader {
  Metadata metadata;  // without lobit's keys
  std::vector<uint32_t> metadata_at;
  std::optional<Note> format;  // lobit.format
  std::deque<Note> notes;
  std::vector<TensorEntry> tensors;  // offsets from the start of the data
  std::vector<uint32_t> tensor_at;   // of each tensor's name in the file
};

// Parses the JSON of a header, which follows the prefix. Does not compare tensors or keys with each other.
Result<RawHeader> parse_header(std::string_view text, const std::string& file);

// The dimensions under which a tensor of blocks is stored as bytes: the same, the last one in bytes. Nothing
// for a scalar, rows that do not fill whole blocks, and products beyond 2^63-1.
std::optional<Shape> stored_shape(const Shape& shape, Encoding encoding);

// The error for byte `at` of `file`.
tl::unexpected<Error> corrupt_at(const std::string& file, uint64_t at, std::string_view message,
                                 ErrorDetail detail = {});

}  // namespace lobit::safetensors
