#include <cstring>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/checked.h"
#include "lobit/base/utf8.h"
#include "lobit/format/gguf.h"
#include "lobit/format/gguf_internal.h"

namespace lobit {
namespace gguf {
namespace {

tl::unexpected<Error> invalid(std::string_view what, std::string_view name, size_t index,
                              std::string_view text) {
  return fail(ErrorCode::kInvalidArgument, fmt::format("GGUF: {} {}: {}", what, quoted(name), text),
              {.index = index});
}

// Whether the bytes of an array of strings are `count` strings.
bool holds_strings(std::string_view bytes, uint64_t count) {
  for (; count > 0; --count) {
    uint64_t length = 0;
    if (bytes.size() < sizeof length) return false;
    std::memcpy(&length, bytes.data(), sizeof length);
    bytes.remove_prefix(sizeof length);
    if (length > bytes.size()) return false;
    bytes.remove_prefix(length);
  }
  return bytes.empty();
}

bool only_bools(std::string_view bytes) {
  return std::ranges::all_of(bytes, [](char c) { return c == 0 || c == 1; });
}

bool is_well_formed(const MetadataValue& value) {
  if (value.type == MetadataType::kString) return true;
  const bool is_array = value.type == MetadataType::kArray;
  const MetadataType element = is_array ? value.element : value.type;
  if (element == MetadataType::kArray) return false;
  if (element == MetadataType::kString) return holds_strings(value.bytes, value.count);
  const auto bytes = checked_mul<uint64_t>(is_array ? value.count : 1, metadata_type_bytes(element));
  return bytes == value.bytes.size() && (element != MetadataType::kBool || only_bools(value.bytes));
}

Status check_metadata(const Metadata& metadata) {
  const std::vector<MetadataEntry>& entries = metadata.entries();
  for (size_t i = 0; i < entries.size(); ++i) {
    const MetadataEntry& entry = entries[i];
    if (entry.key.empty() || entry.key.size() > kMaxKeyBytes) {
      return invalid("key", entry.key, i,
                     fmt::format("expected 1 to {} bytes, found {}", kMaxKeyBytes, entry.key.size()));
    }
    if (!is_well_formed(entry.value)) {
      return invalid("key", entry.key, i,
                     fmt::format("expected a value of {}, found {} bytes that are none",
                                 metadata_type_name(entry.value.type), entry.value.bytes.size()));
    }
  }
  if (const auto i =
          first_repeated(entries.size(), [&](size_t k) { return std::string_view(entries[k].key); })) {
    return invalid("key", entries[*i].key, *i, "is there twice");
  }
  return {};
}

Status check_tensor(const TensorSpec& tensor, size_t index) {
  const EncodingTraits& t = traits(tensor.encoding);
  if (tensor.name.empty() || tensor.name.size() > kMaxNameBytesWrite) {
    return invalid(
        "tensor", tensor.name, index,
        fmt::format("expected a name of 1 to {} bytes, found {}", kMaxNameBytesWrite, tensor.name.size()));
  }
  if (tensor.shape.rank() > kMaxRank) {
    return invalid("tensor", tensor.name, index,
                   fmt::format("expected at most {} dimensions, found {}", kMaxRank, tensor.shape.rank()));
  }
  if (std::ranges::find(tensor.shape.extents(), 0) != tensor.shape.extents().end()) {
    return invalid("tensor", tensor.name, index,
                   fmt::format("expected extents from 1, found {}", tensor.shape.to_string()));
  }
  if (!t.ggml_type) {
    return invalid("tensor", tensor.name, index, fmt::format("{} has no form in GGUF", t.name));
  }
  if (tensor.shape.row_elements() % t.block_elements != 0) {
    return invalid("tensor", tensor.name, index,
                   fmt::format("{}: expected rows of whole blocks of {} values, found {}", t.name,
                               t.block_elements, tensor.shape.row_elements()));
  }
  return {};
}

Status check_tensors(std::span<const TensorSpec> tensors) {
  for (size_t i = 0; i < tensors.size(); ++i) LOBIT_RETURN_IF_ERROR(check_tensor(tensors[i], i));
  if (const auto i =
          first_repeated(tensors.size(), [&](size_t k) { return std::string_view(tensors[k].name); })) {
    return invalid("tensor", tensors[*i].name, *i, "is there twice");
  }
  return {};
}

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_string(std::string& out, std::string_view text) {
  put<uint64_t>(out, text.size());
  out += text;
}

void put_entry(std::string& out, std::string_view key, const MetadataValue& value) {
  put_string(out, key);
  put(out, static_cast<uint32_t>(value.type));
  if (value.type == MetadataType::kString) return put_string(out, value.bytes);
  if (value.type == MetadataType::kArray) {
    put(out, static_cast<uint32_t>(value.element));
    put(out, value.count);
  }
  out += value.bytes;
}

void put_tensor(std::string& out, const TensorSpec& tensor, uint64_t offset) {
  put_string(out, tensor.name);
  put(out, static_cast<uint32_t>(tensor.shape.rank()));
  for (size_t axis = tensor.shape.rank(); axis > 0; --axis) put(out, tensor.shape[axis - 1]);
  put(out, *traits(tensor.encoding).ggml_type);
  put(out, offset);
}

// The header's bytes or a little more, so that the text is allocated once. Nothing when they do not fit.
std::optional<uint64_t> header_bound(const Metadata& metadata, std::span<const TensorSpec> tensors,
                                     uint32_t alignment) {
  constexpr uint64_t kFixed = 64;         // magic, version, counts; an alignment of its own
  constexpr uint64_t kMostPerEntry = 24;  // lengths and types of a key with an array
  constexpr uint64_t kMostPerTensor = 8 + 4 + 8 * kMaxRank + 4 + 8;
  uint64_t bytes = kFixed + alignment + tensors.size() * (kMostPerTensor + kMaxNameBytesWrite);
  for (const MetadataEntry& e : metadata.entries())
    bytes += kMostPerEntry + e.key.size() + e.value.bytes.size();
  return bytes <= kGgufMaxHeader ? std::optional<uint64_t>(bytes) : std::nullopt;
}

std::string write_metadata(const Metadata& metadata, size_t tensor_count, uint32_t alignment,
                           uint64_t bound) {
  // A file that already says its alignment keeps the key where it stands.
  const bool has_alignment = metadata.find(kAlignmentKey) != nullptr;
  const bool add_alignment = !has_alignment && alignment != kGgufDefaultAlignment;
  std::string out;
  out.reserve(bound);
  out += kMagic;
  put<uint32_t>(out, 3);
  put<uint64_t>(out, tensor_count);
  put<uint64_t>(out, metadata.size() + (add_alignment ? 1 : 0));
  for (const MetadataEntry& entry : metadata.entries()) {
    put_entry(out, entry.key, entry.key == kAlignmentKey ? MetadataValue::u32(alignment) : entry.value);
  }
  if (add_alignment) put_entry(out, kAlignmentKey, MetadataValue::u32(alignment));
  return out;
}

Result<FileLayout> lay_out(const Metadata& metadata, std::span<const TensorSpec> tensors, uint32_t alignment,
                           uint64_t bound) {
  FileLayout layout;
  layout.header = write_metadata(metadata, tensors.size(), alignment, bound);
  layout.offsets.reserve(tensors.size());
  uint64_t data_bytes = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    put_tensor(layout.header, tensors[i], data_bytes);
    layout.offsets.push_back(data_bytes);
    // Each tensor is padded, the last one too: ggml reads the padding with the data.
    const auto bytes = encoded_bytes(tensors[i].encoding, tensors[i].shape.elements());
    const auto padded = bytes ? checked_round_up<uint64_t>(*bytes, alignment) : std::nullopt;
    const auto end = padded ? checked_add(data_bytes, *padded) : std::nullopt;
    // File offsets are signed; the header adds less than kGgufMaxHeader.
    if (!end || *end > static_cast<uint64_t>(INT64_MAX) - kGgufMaxHeader) {
      return invalid("tensor", tensors[i].name, i, "expected a file below 2^63 bytes");
    }
    data_bytes = *end;
  }
  layout.header.resize(*checked_round_up<uint64_t>(layout.header.size(), alignment), '\0');
  for (uint64_t& offset : layout.offsets) offset += layout.header.size();
  layout.file_bytes = layout.header.size() + data_bytes;
  return layout;
}

}  // namespace
}  // namespace gguf

Result<FileLayout> layout_gguf(const Metadata& metadata, std::span<const TensorSpec> tensors,
                               uint32_t alignment) {
  if (!gguf::is_alignment(alignment) || alignment > gguf::kMaxAlignment) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("GGUF: alignment: expected a power of two from 8 to {}, found {}",
                            gguf::kMaxAlignment, alignment));
  }
  LOBIT_RETURN_IF_ERROR(gguf::check_metadata(metadata));
  LOBIT_RETURN_IF_ERROR(gguf::check_tensors(tensors));
  const std::optional<uint64_t> bound = gguf::header_bound(metadata, tensors, alignment);
  if (!bound) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("GGUF: expected a header of at most {} bytes", kGgufMaxHeader),
                {.available = kGgufMaxHeader});
  }
  return gguf::lay_out(metadata, tensors, alignment, *bound);
}

}  // namespace lobit
