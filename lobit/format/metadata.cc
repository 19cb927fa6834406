#include "lobit/format/metadata.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/check.h"

namespace lobit {
namespace {

template <typename T>
std::string little_endian(T value) {
  static_assert(std::endian::native == std::endian::little);
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

// The number at the start of `bytes`, which may be too short when a caller filled a value wrongly.
template <typename T>
std::optional<T> load(std::string_view bytes) {
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value{};
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

template <typename T>
std::string number_text(std::string_view bytes) {
  const std::optional<T> value = load<T>(bytes);
  return value ? fmt::format("{}", *value) : std::string("?");
}

std::string scalar_text(MetadataType type, std::string_view bytes) {
  switch (type) {
    case MetadataType::kU8:
      return number_text<uint8_t>(bytes);
    case MetadataType::kI8:
      return number_text<int8_t>(bytes);
    case MetadataType::kU16:
      return number_text<uint16_t>(bytes);
    case MetadataType::kI16:
      return number_text<int16_t>(bytes);
    case MetadataType::kU32:
      return number_text<uint32_t>(bytes);
    case MetadataType::kI32:
      return number_text<int32_t>(bytes);
    case MetadataType::kF32:
      return number_text<float>(bytes);
    case MetadataType::kU64:
      return number_text<uint64_t>(bytes);
    case MetadataType::kI64:
      return number_text<int64_t>(bytes);
    case MetadataType::kF64:
      return number_text<double>(bytes);
    case MetadataType::kBool:
      return bytes.empty() ? "?" : bytes[0] != 0 ? "true" : "false";
    case MetadataType::kString:
    case MetadataType::kArray:
      break;
  }
  return "?";
}

// The length of the UTF-8 sequence at the start of `text` that a terminal may be shown as it is; 0 for
// control characters (C0, DEL, C1) and bytes that are not UTF-8.
size_t printable_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned char second = byte(1);
  const bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool surrogate = first == 0xed && second >= 0xa0;
  const bool too_large = first == 0xf4 && second >= 0x90;
  const bool c1_control = first == 0xc2 && second < 0xa0;
  return overlong || surrogate || too_large || c1_control ? 0 : length;
}

// At most about `max_chars` bytes of `text` with control characters and stray bytes as escapes.
std::string string_text(std::string_view text, size_t max_chars) {
  std::string out;
  while (!text.empty()) {
    if (out.size() >= max_chars) return out + "...";
    size_t length = printable_length(text);
    if (length > 0) {
      out.append(text.substr(0, length));
    } else {
      length = 1;
      const char c = text[0];
      if (c == '\n') {
        out += "\\n";
      } else if (c == '\t') {
        out += "\\t";
      } else if (c == '\r') {
        out += "\\r";
      } else {
        fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(c));
      }
    }
    text.remove_prefix(length);
  }
  return out;
}

// Cuts the next element of an array off `bytes`; nothing when they are too short.
std::optional<std::string_view> next_element(MetadataType type, std::string_view& bytes) {
  uint64_t length = metadata_type_bytes(type);
  if (type == MetadataType::kString) {
    const std::optional<uint64_t> stored = load<uint64_t>(bytes);
    if (!stored) return std::nullopt;
    bytes.remove_prefix(sizeof(uint64_t));
    length = *stored;
  }
  if (length > bytes.size()) return std::nullopt;
  const std::string_view element = bytes.substr(0, length);
  bytes.remove_prefix(length);
  return element;
}

std::string array_text(const MetadataValue& value, size_t max_chars) {
  std::string out = "[";
  std::string_view rest = value.bytes;
  for (uint64_t i = 0; i < value.count; ++i) {
    if (i > 0) out += ", ";
    const auto element =
        out.size() < max_chars ? next_element(value.element, rest) : std::optional<std::string_view>();
    if (!element) {
      fmt::format_to(std::back_inserter(out), "... {} {}s", value.count, metadata_type_name(value.element));
      break;
    }
    out += value.element == MetadataType::kString
               ? fmt::format("\"{}\"", string_text(*element, max_chars - out.size()))
               : scalar_text(value.element, *element);
  }
  return out + "]";
}

}  // namespace

uint32_t metadata_type_bytes(MetadataType type) {
  switch (type) {
    case MetadataType::kU8:
    case MetadataType::kI8:
    case MetadataType::kBool:
      return 1;
    case MetadataType::kU16:
    case MetadataType::kI16:
      return 2;
    case MetadataType::kU32:
    case MetadataType::kI32:
    case MetadataType::kF32:
      return 4;
    case MetadataType::kU64:
    case MetadataType::kI64:
    case MetadataType::kF64:
      return 8;
    case MetadataType::kString:
    case MetadataType::kArray:
      return 0;
  }
  return 0;
}

std::string_view metadata_type_name(MetadataType type) {
  constexpr std::string_view kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                         "bool", "string", "array", "u64", "i64", "f64"};
  const auto index = static_cast<size_t>(type);
  LOBIT_CHECK(index < std::size(kNames));
  return kNames[index];
}

MetadataValue MetadataValue::string(std::string_view text) {
  return {.type = MetadataType::kString, .bytes = std::string(text)};
}
MetadataValue MetadataValue::u16(uint16_t value) {
  return {.type = MetadataType::kU16, .bytes = little_endian(value)};
}
MetadataValue MetadataValue::u32(uint32_t value) {
  return {.type = MetadataType::kU32, .bytes = little_endian(value)};
}
MetadataValue MetadataValue::i32(int32_t value) {
  return {.type = MetadataType::kI32, .bytes = little_endian(value)};
}
MetadataValue MetadataValue::boolean(bool value) {
  return {.type = MetadataType::kBool, .bytes = std::string(1, value ? '\1' : '\0')};
}

std::optional<uint64_t> MetadataValue::as_unsigned() const {
  const auto non_negative = [](auto value) -> std::optional<uint64_t> {
    if (!value || *value < 0) return std::nullopt;
    return static_cast<uint64_t>(*value);
  };
  switch (type) {
    case MetadataType::kU8:
      return load<uint8_t>(bytes);
    case MetadataType::kU16:
      return load<uint16_t>(bytes);
    case MetadataType::kU32:
      return load<uint32_t>(bytes);
    case MetadataType::kU64:
      return load<uint64_t>(bytes);
    case MetadataType::kI8:
      return non_negative(load<int8_t>(bytes));
    case MetadataType::kI16:
      return non_negative(load<int16_t>(bytes));
    case MetadataType::kI32:
      return non_negative(load<int32_t>(bytes));
    case MetadataType::kI64:
      return non_negative(load<int64_t>(bytes));
    default:
      return std::nullopt;
  }
}

std::optional<std::string_view> MetadataValue::as_string() const {
  if (type != MetadataType::kString) return std::nullopt;
  return bytes;
}

std::string MetadataValue::to_string(size_t max_chars) const {
  if (type == MetadataType::kString) return string_text(bytes, max_chars);
  if (type == MetadataType::kArray) return array_text(*this, max_chars);
  return scalar_text(type, bytes);
}

const MetadataValue* Metadata::find(std::string_view key) const {
  const auto it = std::ranges::find(entries_, key, &MetadataEntry::key);
  return it == entries_.end() ? nullptr : &it->value;
}

void Metadata::set(std::string_view key, MetadataValue value) {
  const auto it = std::ranges::find(entries_, key, &MetadataEntry::key);
  if (it != entries_.end()) {
    it->value = std::move(value);
  } else {
    entries_.push_back({std::string(key), std::move(value)});
  }
}

void Metadata::erase(std::string_view key) {
  std::erase_if(entries_, [&](const MetadataEntry& entry) { return entry.key == key; });
}

}  // namespace lobit
