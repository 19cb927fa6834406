// Metadata: the keys and values beside a model's tensors, in file order, values as the exact little-endian
// bytes of GGUF. safetensors' strings are values of type string. A plain container; not thread-safe for
// writing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"

namespace lobit {

// GGUF's numbers for value types.
enum class MetadataType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// Bytes of a number; 0 for strings and arrays.
LOBIT_API uint32_t metadata_type_bytes(MetadataType type);
// "u32", "string", ...
LOBIT_API std::string_view metadata_type_name(MetadataType type);

struct LOBIT_API MetadataValue {
  MetadataType type = MetadataType::kString;
  MetadataType element = MetadataType::kString;  // of an array; never kArray
  uint64_t count = 1;                            // of an array
  // A number's bytes; a string's text; an array's elements one after the other (strings each with their u64
  // length, as in the file).
  std::string bytes = {};

  static MetadataValue string(std::string_view text);
  static MetadataValue u16(uint16_t value);
  static MetadataValue u32(uint32_t value);
  static MetadataValue i32(int32_t value);
  static MetadataValue boolean(bool value);

  // The value as a non-negative integer of any width; nothing for other types and negative numbers.
  std::optional<uint64_t> as_unsigned() const;
  // The text of a string; nothing for other types.
  std::optional<std::string_view> as_string() const;
  // For people: numbers and strings as themselves, arrays as "[1, 2, 3, ... 32000 u32s]", their strings
  // quoted; at most about `max_chars` characters, control characters escaped.
  std::string to_string(size_t max_chars = 80) const;

  friend bool operator==(const MetadataValue&, const MetadataValue&) = default;
};

struct MetadataEntry {
  std::string key;
  MetadataValue value;

  friend bool operator==(const MetadataEntry&, const MetadataEntry&) = default;
};

class LOBIT_API Metadata {
 public:
  const std::vector<MetadataEntry>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  const MetadataValue* find(std::string_view key) const;
  // Replaces the value of `key` where it stands, or appends it.
  void set(std::string_view key, MetadataValue value);
  // Appends without looking for the key: for readers that check duplicates themselves.
  void append(MetadataEntry entry) { entries_.push_back(std::move(entry)); }
  void erase(std::string_view key);
  void reserve(size_t count) { entries_.reserve(count); }

  friend bool operator==(const Metadata&, const Metadata&) = default;

 private:
  std::vector<MetadataEntry> entries_;
};

}  // namespace lobit
