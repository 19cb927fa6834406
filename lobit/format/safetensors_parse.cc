#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/json_reader.h"
#include "lobit/base/utf8.h"
#include "lobit/format/safetensors_internal.h"

namespace lobit::safetensors {
namespace {

// {"":{"dtype":"U8","shape":[],"data_offsets":[0,1]}} without the outer braces: no tensor takes less text.
constexpr size_t kLeastTensorText = 49;

class HeaderHandler final : public JsonHandler {
 public:
  explicit HeaderHandler(std::string_view text) {
    // Growing would need three times the memory for a moment. Every tensor has a brace, but so may names.
    const auto braces = static_cast<size_t>(std::count(text.begin(), text.end(), '{'));
    const size_t most = std::min(braces, text.size() / kLeastTensorText + 1);
    header.tensors.reserve(most);
    header.tensor_at.reserve(most);
  }

  RawHeader header;

  Status on_null() override { return wrong("null"); }
  Status on_bool(bool) override { return wrong("a boolean"); }
  Status on_negative(int64_t) override { return wrong("a negative number"); }
  Status on_float(double) override { return wrong("a number that is not a 64-bit integer"); }

  Status on_unsigned(uint64_t value) override {
    if (state_ == State::kExtent) return add_extent(value);
    if (state_ != State::kOffset) return wrong("a number");
    if (offset_count_ == 2) return fail(ErrorCode::kCorrupt, "expected two offsets, found a third");
    offsets_[offset_count_++] = value;
    return {};
  }

  Status on_string(std::string&& text) override {
    if (state_ == State::kMetadataValue) return add_metadata(std::move(text));
    if (state_ != State::kDType) return wrong("a string");
    const std::optional<Encoding> encoding = encoding_from_safetensors(text);
    if (!encoding) return fail(ErrorCode::kCorrupt, fmt::format("unknown dtype {}", quoted(text)));
    entry_.encoding = *encoding;
    state_ = State::kField;
    return {};
  }

  Status on_object_start() override {
    switch (state_) {
      case State::kStart:
        state_ = State::kName;
        return {};
      case State::kTensor:
        state_ = State::kField;
        return {};
      case State::kMetadata:
        state_ = State::kMetadataKey;
        return {};
      default:
        return wrong("an object");
    }
  }

  Status on_object_end() override {
    // The parser pairs brackets, so only the three states inside an object come here.
    if (state_ == State::kField) LOBIT_RETURN_IF_ERROR(add_tensor());
    state_ = state_ == State::kName ? State::kEnd : State::kName;
    return {};
  }

  Status on_key(std::string&& key) override {
    if (state_ == State::kField) return start_field(key);
    if (state_ == State::kMetadataKey) {
      key_ = std::move(key);
      key_at_ = here();
      state_ = State::kMetadataValue;
      return {};
    }
    if (key == kMetadataKey) {
      if (std::exchange(has_metadata_, true)) return fail(ErrorCode::kCorrupt, "a second __metadata__");
      state_ = State::kMetadata;
      return {};
    }
    entry_ = {};
    entry_.name = std::move(key);
    entry_at_ = here();
    fields_ = 0;
    extent_count_ = 0;
    offset_count_ = 0;
    state_ = State::kTensor;
    return {};
  }

  Status on_array_start() override {
    if (state_ == State::kShape) {
      state_ = State::kExtent;
    } else if (state_ == State::kOffsets) {
      state_ = State::kOffset;
    } else {
      return wrong("an array");
    }
    return {};
  }

  Status on_array_end() override {
    if (state_ == State::kOffset && offset_count_ != 2) {
      return fail(ErrorCode::kCorrupt, fmt::format("expected two offsets, found {}", offset_count_));
    }
    state_ = State::kField;
    return {};
  }

 private:
  // What is expected next.
  enum class State : uint8_t {
    kStart,
    kName,
    kTensor,
    kField,
    kDType,
    kShape,
    kExtent,
    kOffsets,
    kOffset,
    kMetadata,
    kMetadataKey,
    kMetadataValue,
    kEnd,
  };
  enum Field : uint8_t { kDTypeField = 1, kShapeField = 2, kOffsetsField = 4 };

  uint32_t here() const { return static_cast<uint32_t>(offset()); }

  Status wrong(std::string_view found) const {
    constexpr std::array<std::string_view, 13> kExpected = {
        "an object with the tensors",
        "a tensor's name",
        "an object that describes a tensor",
        "a field of a tensor",
        "a dtype in quotes",
        "an array of dimensions",
        "a dimension",
        "an array of two offsets",
        "an offset",
        "an object with strings",
        "a metadata key",
        "a string as metadata",
        "the end",
    };
    return fail(ErrorCode::kCorrupt,
                fmt::format("expected {}, found {}", kExpected[static_cast<size_t>(state_)], found));
  }

  Status start_field(std::string_view key) {
    Field field{};
    if (key == "dtype") {
      field = kDTypeField;
      state_ = State::kDType;
    } else if (key == "shape") {
      field = kShapeField;
      state_ = State::kShape;
      shape_at_ = offset();
    } else if (key == "data_offsets") {
      field = kOffsetsField;
      state_ = State::kOffsets;
      offsets_at_ = offset();
    } else {
      return fail(ErrorCode::kCorrupt,
                  fmt::format("tensor {}: expected dtype, shape and data_offsets, found {}",
                              quoted(entry_.name), quoted(key)));
    }
    if ((fields_ & field) != 0) {
      return fail(ErrorCode::kCorrupt, fmt::format("tensor {}: a second {}", quoted(entry_.name), key));
    }
    fields_ |= field;
    return {};
  }

  Status add_extent(uint64_t value) {
    if (extent_count_ == extents_.size()) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("tensor {}: expected at most {} dimensions, found more", quoted(entry_.name),
                              extents_.size()),
                  {.index = header.tensors.size(), .available = extents_.size()});
    }
    if (value > static_cast<uint64_t>(INT64_MAX)) {
      return fail(ErrorCode::kCorrupt, fmt::format("tensor {}: expected dimensions below 2^63, found {}",
                                                   quoted(entry_.name), value));
    }
    extents_[extent_count_++] = static_cast<int64_t>(value);
    return {};
  }

  // Checks the tensor whose closing brace has come.
  Status add_tensor() {
    const auto corrupt = [this](std::optional<uint64_t> at, const std::string& message, ErrorDetail detail) {
      detail.offset = at;
      detail.index = header.tensors.size();
      return fail(ErrorCode::kCorrupt, fmt::format("tensor {}: {}", quoted(entry_.name), message), detail);
    };
    for (const auto& [field, name] :
         {std::pair(kDTypeField, "dtype"), {kShapeField, "shape"}, {kOffsetsField, "data_offsets"}}) {
      if ((fields_ & field) == 0) return corrupt({}, fmt::format("its {} is missing", name), {});
    }
    const Result<Shape> shape = Shape::create({extents_.data(), extent_count_});
    if (!shape) return corrupt(shape_at_, shape.error().message, {});
    entry_.shape = *shape;
    const std::string_view dtype = traits(entry_.encoding).safetensors_name;
    const std::optional<uint64_t> bytes = encoded_bytes(entry_.encoding, shape->elements());
    if (!bytes) {
      return corrupt(shape_at_,
                     fmt::format("expected {} values of {} to fill whole bytes, and fewer than 2^64",
                                 shape->elements(), dtype),
                     {});
    }
    const auto [begin, end] = offsets_;
    if (begin > end) {
      return corrupt(offsets_at_, fmt::format("its data starts at {}, but ends at {}", begin, end), {});
    }
    if (end - begin != *bytes) {
      return corrupt(offsets_at_,
                     fmt::format("expected {} bytes for {} of {}, found {}", *bytes, shape->to_string(),
                                 dtype, end - begin),
                     {.required = *bytes, .available = end - begin});
    }
    entry_.offset = begin;
    entry_.bytes = *bytes;
    header.tensors.push_back(std::move(entry_));
    header.tensor_at.push_back(entry_at_);
    return {};
  }

  Status add_metadata(std::string&& text) {
    state_ = State::kMetadataKey;
    if (key_ == kFormatKey) {
      if (header.format) return corrupt_key("a second metadata key");
      header.format = Note{.name = {}, .value = std::move(text), .at = key_at_};
      return {};
    }
    for (const auto& [prefix, kind] :
         {std::pair(kEncodingPrefix, Note::Kind::kEncoding), {kShapePrefix, Note::Kind::kShape}}) {
      if (!key_.starts_with(prefix)) continue;
      key_.erase(0, prefix.size());
      header.notes.push_back({std::move(key_), std::move(text), kind, key_at_});
      return {};
    }
    if (header.metadata.size() == kMaxMetadataKeys) {
      return fail(ErrorCode::kLimit, fmt::format("more than {} metadata keys", kMaxMetadataKeys),
                  {.available = kMaxMetadataKeys});
    }
    header.metadata.append({std::move(key_), MetadataValue::string(text)});
    header.metadata_at.push_back(key_at_);
    return {};
  }

  Status corrupt_key(std::string_view message) const {
    return fail(ErrorCode::kCorrupt, fmt::format("{} {}", message, quoted(key_)), {.offset = key_at_});
  }

  State state_ = State::kStart;
  bool has_metadata_ = false;
  std::string key_;  // of the metadata entry being read
  uint32_t key_at_ = 0;
  TensorEntry entry_;  // being read
  uint32_t entry_at_ = 0;
  uint8_t fields_ = 0;  // Field bits seen
  uint64_t shape_at_ = 0;
  uint64_t offsets_at_ = 0;
  std::array<int64_t, Shape::kMaxRank> extents_{};
  size_t extent_count_ = 0;
  std::array<uint64_t, 2> offsets_{};
  size_t offset_count_ = 0;
};

}  // namespace

Result<RawHeader> parse_header(std::string_view text, const std::string& file) {
  HeaderHandler handler(text);
  LOBIT_RETURN_IF_ERROR(parse_json(text, handler, file, kPrefixBytes));
  return std::move(handler.header);
}

}  // namespace lobit::safetensors
