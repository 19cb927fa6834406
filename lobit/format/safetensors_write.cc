#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lobit/base/checked.h"
#include "lobit/base/json_writer.h"
#include "lobit/base/utf8.h"
#include "lobit/format/safetensors.h"
#include "lobit/format/safetensors_internal.h"

namespace lobit {
namespace safetensors {
namespace {

tl::unexpected<Error> refuse(std::string_view message, ErrorDetail detail = {}) {
  return fail(ErrorCode::kInvalidArgument, fmt::format("safetensors: {}", message), std::move(detail));
}

Status check_text(std::string_view what, std::string_view text) {
  if (utf8_valid_prefix(text) == text.size()) return {};
  return refuse(fmt::format("expected {} in UTF-8, found {}", what, quoted(text)));
}

Status check_duplicates(std::string_view what, std::vector<std::string_view> names) {
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return {};
  return refuse(fmt::format("two {} are named {}", what, quoted(*twice)));
}

bool is_own_key(std::string_view key) {
  return key == kFormatKey || key.starts_with(kEncodingPrefix) || key.starts_with(kShapePrefix);
}

Status check_metadata(const Metadata& metadata) {
  if (metadata.size() > kMaxMetadataKeys) {
    return fail(ErrorCode::kLimit,
                fmt::format("safetensors: expected at most {} metadata keys, found {}", kMaxMetadataKeys,
                            metadata.size()),
                {.required = metadata.size(), .available = kMaxMetadataKeys});
  }
  std::vector<std::string_view> keys;
  keys.reserve(metadata.size());
  for (const auto& [key, value] : metadata.entries()) {
    LOBIT_RETURN_IF_ERROR(check_text("a metadata key", key));
    if (is_own_key(key)) return refuse(fmt::format("the metadata key {} is lobit's own", quoted(key)));
    if (value.type != MetadataType::kString) {
      return refuse(fmt::format("metadata {}: expected a string, found {}", quoted(key),
                                metadata_type_name(value.type)),
                    {.from = std::string(metadata_type_name(value.type)), .to = "string"});
    }
    LOBIT_RETURN_IF_ERROR(check_text(fmt::format("the metadata {}", quoted(key)), value.bytes));
    keys.push_back(key);
  }
  return check_duplicates("metadata keys", std::move(keys));
}

Status check_names(std::span<const TensorSpec> tensors) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const TensorSpec& tensor : tensors) {
    LOBIT_RETURN_IF_ERROR(check_text("a tensor's name", tensor.name));
    if (tensor.name == kMetadataKey) return refuse("a tensor cannot be named __metadata__");
    names.push_back(tensor.name);
  }
  return check_duplicates("tensors", std::move(names));
}

// Under which dtype and dimensions a tensor is written, and its size.
struct Stored {
  std::string_view dtype;
  Shape shape;
  uint64_t bytes = 0;
};

Result<Stored> store(const TensorSpec& tensor, size_t index) {
  const EncodingTraits& encoding = traits(tensor.encoding);
  const auto refuse_tensor = [&](std::string_view message) {
    return refuse(fmt::format("tensor {}: {}", quoted(tensor.name), message),
                  {.index = index, .from = std::string(encoding.name)});
  };
  if (encoding.is_block()) {
    const std::optional<Shape> shape = stored_shape(tensor.shape, tensor.encoding);
    if (!shape) {
      return refuse_tensor(fmt::format("expected rows of whole blocks of {} for {}, found {}",
                                       encoding.block_elements, encoding.name, tensor.shape.to_string()));
    }
    return Stored{traits(Encoding::kRawU8).safetensors_name, *shape, shape->elements()};
  }
  const std::optional<uint64_t> bytes = encoded_bytes(tensor.encoding, tensor.shape.elements());
  if (!bytes) {
    return refuse_tensor(fmt::format("{} values of {} do not fill whole bytes, or are too many",
                                     tensor.shape.elements(), encoding.name));
  }
  return Stored{encoding.safetensors_name, tensor.shape, *bytes};
}

// The header's text under construction.
class HeaderText {
 public:
  void add_metadata(const Metadata& metadata, std::span<const TensorSpec> tensors) {
    const bool blocks = std::any_of(tensors.begin(), tensors.end(),
                                    [](const TensorSpec& t) { return traits(t.encoding).is_block(); });
    if (metadata.size() == 0 && !blocks) return;
    add_key(kMetadataKey);
    text_ += '{';
    first_ = true;
    for (const auto& [key, value] : metadata.entries()) add_string(key, value.bytes);
    if (blocks) add_string(kFormatKey, kFormatVersion);
    for (const TensorSpec& tensor : tensors) {
      if (!traits(tensor.encoding).is_block()) continue;
      add_string(std::string(kEncodingPrefix) + tensor.name, encoding_name(tensor.encoding));
      add_string(std::string(kShapePrefix) + tensor.name, tensor.shape.to_string());
    }
    text_ += '}';
    first_ = false;
  }

  void add_tensor(std::string_view name, const Stored& stored, uint64_t begin) {
    add_key(name);
    fmt::format_to(std::back_inserter(text_), R"({{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                   stored.dtype, fmt::join(stored.shape.extents(), ","), begin, begin + stored.bytes);
  }

  // The whole header with its size in front, padded so that the data is aligned.
  std::string finish() && {
    text_ += '}';
    const uint64_t bytes = *checked_round_up<uint64_t>(text_.size(), kSafetensorsAlignment);
    text_.resize(bytes, ' ');
    for (size_t i = 0; i < kPrefixBytes; ++i) text_[i] = static_cast<char>((bytes - kPrefixBytes) >> 8 * i);
    return std::move(text_);
  }

 private:
  void add_key(std::string_view key) {
    if (!std::exchange(first_, false)) text_ += ',';
    append_json_string(text_, key);
    text_ += ':';
  }
  void add_string(std::string_view key, std::string_view value) {
    add_key(key);
    append_json_string(text_, value);
  }

  std::string text_ = std::string(kPrefixBytes, '\0') + '{';
  bool first_ = true;  // in the object being written
};

}  // namespace
}  // namespace safetensors

Result<FileLayout> layout_safetensors(const Metadata& metadata, std::span<const TensorSpec> tensors) {
  namespace st = safetensors;
  LOBIT_RETURN_IF_ERROR(st::check_metadata(metadata));
  LOBIT_RETURN_IF_ERROR(st::check_names(tensors));

  st::HeaderText text;
  text.add_metadata(metadata, tensors);
  FileLayout layout;
  layout.offsets.reserve(tensors.size());
  uint64_t data_bytes = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    LOBIT_TRY(const st::Stored stored, st::store(tensors[i], i));
    text.add_tensor(tensors[i].name, stored, data_bytes);
    layout.offsets.push_back(data_bytes);
    const std::optional<uint64_t> end = checked_add(data_bytes, stored.bytes);
    // Below 2^63, so that a header can be added and a file can have the size.
    if (!end || *end > static_cast<uint64_t>(INT64_MAX) - 2 * kSafetensorsMaxHeader) {
      return st::refuse(fmt::format("tensor {}: the file would not stay below 2^63 bytes", i), {.index = i});
    }
    data_bytes = *end;
  }
  layout.header = std::move(text).finish();
  if (layout.header.size() - st::kPrefixBytes > kSafetensorsMaxHeader) {
    return fail(ErrorCode::kLimit,
                fmt::format("safetensors: expected a header of at most {} bytes, found {}",
                            kSafetensorsMaxHeader, layout.header.size() - st::kPrefixBytes),
                {.required = layout.header.size() - st::kPrefixBytes, .available = kSafetensorsMaxHeader});
  }
  for (uint64_t& offset : layout.offsets) offset += layout.header.size();
  layout.file_bytes = layout.header.size() + data_bytes;
  return layout;
}

}  // namespace lobit
