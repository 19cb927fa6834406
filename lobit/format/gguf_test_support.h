// For tests alone (not installed): GGUF files byte by byte, right and wrong ones.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "lobit/format/metadata.h"

namespace lobit {

class GgufBytes {
 public:
  // The magic, version and counts. The counts are 64 bits in every version that matters.
  GgufBytes(uint64_t tensors, uint64_t entries, uint32_t version = 3) {
    text_ = "GGUF";
    number(version).number(tensors).number(entries);
  }

  template <typename T>
  GgufBytes& number(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  GgufBytes& raw(std::string_view bytes) {
    text_ += bytes;
    return *this;
  }
  GgufBytes& string(std::string_view text) { return number<uint64_t>(text.size()).raw(text); }
  GgufBytes& key(std::string_view name, MetadataType type) {
    return string(name).number(static_cast<uint32_t>(type));
  }
  GgufBytes& u32(std::string_view name, uint32_t value) {
    return key(name, MetadataType::kU32).number(value);
  }
  GgufBytes& text(std::string_view name, std::string_view value) {
    return key(name, MetadataType::kString).string(value);
  }
  GgufBytes& array(std::string_view name, MetadataType element, uint64_t count) {
    return key(name, MetadataType::kArray).number(static_cast<uint32_t>(element)).number(count);
  }
  // `extents` as the file has them, innermost first.
  GgufBytes& tensor(std::string_view name, std::initializer_list<int64_t> extents, uint32_t type,
                    uint64_t offset) {
    string(name).number(static_cast<uint32_t>(extents.size()));
    for (const int64_t extent : extents) number(extent);
    return number(type).number(offset);
  }
  // Pads to the alignment and appends data.
  GgufBytes& data(size_t bytes, size_t alignment = 32) {
    text_.resize((text_.size() + alignment - 1) / alignment * alignment);
    text_.append(bytes, '\x5a');
    return *this;
  }

  uint64_t size() const { return text_.size(); }
  const std::string& str() const { return text_; }

 private:
  std::string text_;
};

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace lobit
