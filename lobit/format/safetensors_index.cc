#include <charconv>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/json_reader.h"
#include "lobit/base/json_writer.h"
#include "lobit/base/utf8.h"
#include "lobit/format/safetensors.h"

namespace lobit {
namespace {

constexpr std::string_view kTotalSize = "total_size";

// A name that stays in the index's folder on every system.
bool is_file_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

// Whether `text` is how a 64-bit integer is written in JSON.
bool is_unsigned(std::string_view text) {
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [next, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && next == end && fmt::format("{}", value) == text;
}

class IndexHandler final : public JsonHandler {
 public:
  SafetensorsIndex index;

  // Everything under other keys than the two known ones is passed over, whatever it is, and so are values of
  // "metadata" that are neither strings nor numbers.
  Status on_null() override { return other("null"); }
  Status on_bool(bool) override { return other("a boolean"); }
  Status on_unsigned(uint64_t value) override { return number(fmt::format("{}", value)); }
  Status on_negative(int64_t value) override { return number(fmt::format("{}", value)); }
  Status on_float(double value) override { return number(fmt::format("{}", value)); }

  Status on_string(std::string&& text) override {
    if (depth_ == 2 && section_ == Section::kWeightMap) return add_weight(std::move(text));
    if (depth_ != 2 || section_ != Section::kMetadata) return other("a string");
    index.metadata[key_] = std::move(text);
    return {};
  }

  Status on_object_start() override {
    if (depth_ > 1 || (depth_ == 1 && section_ == Section::kOther)) return open_other("an object");
    ++depth_;
    return {};
  }
  Status on_object_end() override { return close(); }
  Status on_array_start() override { return open_other("an array"); }
  Status on_array_end() override { return close(); }

  Status on_key(std::string&& key) override {
    if (depth_ == 1) return start_section(key);
    if (depth_ != 2 || section_ == Section::kOther) return {};
    const auto& seen = section_ == Section::kWeightMap ? index.weight_map : index.metadata;
    if (seen.contains(key)) return fail(ErrorCode::kCorrupt, fmt::format("a second {}", quoted(key)));
    key_ = std::move(key);
    return {};
  }

  bool has_weight_map() const { return has_weight_map_; }

 private:
  enum class Section : uint8_t { kWeightMap, kMetadata, kOther };

  Status start_section(std::string_view key) {
    section_ = key == "weight_map" ? Section::kWeightMap
               : key == "metadata" ? Section::kMetadata
                                   : Section::kOther;
    if (section_ == Section::kOther) return {};
    bool& seen = section_ == Section::kWeightMap ? has_weight_map_ : has_metadata_;
    if (std::exchange(seen, true)) return fail(ErrorCode::kCorrupt, fmt::format("a second {}", key));
    return {};
  }

  Status open_other(std::string_view found) {
    LOBIT_RETURN_IF_ERROR(other(found));
    ++depth_;
    return {};
  }

  Status close() {
    --depth_;
    return {};
  }

  // A value that is wrong in the known sections and ignored elsewhere.
  Status other(std::string_view found) const {
    const bool section_value = depth_ == 1 && section_ != Section::kOther;
    if (depth_ == 0 || section_value) {
      return fail(ErrorCode::kCorrupt, fmt::format("expected an object, found {}", found));
    }
    if (section_ != Section::kWeightMap) return {};
    return fail(ErrorCode::kCorrupt,
                fmt::format("tensor {}: expected the name of a file, found {}", quoted(key_), found));
  }

  Status number(std::string text) {
    if (depth_ != 2 || section_ != Section::kMetadata) return other("a number");
    index.metadata[key_] = std::move(text);
    return {};
  }

  Status add_weight(std::string&& file) {
    if (!is_file_name(file)) {
      return fail(ErrorCode::kCorrupt,
                  fmt::format("tensor {}: expected the name of a file in this folder, found {}", quoted(key_),
                              quoted(file)));
    }
    index.weight_map.emplace(std::move(key_), std::move(file));
    return {};
  }

  uint64_t depth_ = 0;  // open containers
  Section section_ = Section::kOther;
  std::string key_;  // in a section
  bool has_weight_map_ = false;
  bool has_metadata_ = false;
};

void append_member(std::string& out, bool first, std::string_view key, std::string_view value, bool quote) {
  out += first ? "\n    " : ",\n    ";
  append_json_string(out, key);
  out += ": ";
  if (quote) {
    append_json_string(out, value);
  } else {
    out += value;
  }
}

}  // namespace

Result<SafetensorsIndex> read_safetensors_index(std::string_view text, const std::string& name) {
  if (text.size() > kSafetensorsMaxHeader) {
    return fail(ErrorCode::kLimit,
                fmt::format("{}: expected an index of at most {} bytes, found {}", name,
                            kSafetensorsMaxHeader, text.size()),
                {.required = text.size(), .available = kSafetensorsMaxHeader});
  }
  IndexHandler handler;
  LOBIT_RETURN_IF_ERROR(parse_json(text, handler, name));
  if (!handler.has_weight_map()) {
    return fail(ErrorCode::kCorrupt, fmt::format("{}: weight_map is missing", name), {.offset = text.size()});
  }
  return std::move(handler.index);
}

std::string write_safetensors_index(const SafetensorsIndex& index, uint64_t total_size) {
  std::string out = "{\n  \"metadata\": {";
  append_member(out, true, kTotalSize, fmt::format("{}", total_size), false);
  for (const auto& [key, value] : index.metadata) {
    if (key != kTotalSize) append_member(out, false, key, value, !is_unsigned(value));
  }
  out += "\n  },\n  \"weight_map\": {";
  bool first = true;
  for (const auto& [tensor, file] : index.weight_map) {
    append_member(out, std::exchange(first, false), tensor, file, true);
  }
  out += first ? "}\n}\n" : "\n  }\n}\n";
  return out;
}

}  // namespace lobit
