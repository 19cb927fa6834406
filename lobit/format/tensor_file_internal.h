// What the parts of tensor_file.h share. Not installed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lobit/base/result.h"
#include "lobit/dtype/value_format.h"
#include "lobit/format/tensor_file.h"
#include "lobit/tensor/shape.h"

namespace lobit::tensor_file {

// Before a tensor's name: the metadata key under which its note lies.
inline constexpr std::string_view kNotePrefix = "lobit.tensor.";
inline constexpr size_t kMaxTags = 1024;

// What a file says of a tensor beside its entry, as JSON.
struct Note {
  std::optional<ValueFormat> format;  // of bytes for which the file has no type; then shape is there, too
  std::optional<Shape> shape;
  std::vector<std::string> tags;
  std::optional<uint64_t> checksum;

  bool empty() const { return !format && tags.empty() && !checksum; }
};

std::string note_text(const Note& note);
// kCorrupt for what note_text() does not write, kLimit for more than kMaxTags tags, kUnsupported for keys of
// a later version. `where` begins the message.
Result<Note> parse_note(std::string_view text, const std::string& where);

// The format that is meant, decided by the suffix of `name` where `format` leaves it open.
Result<TensorFileFormat> decide_format(TensorFileFormat format, std::string_view name);

// XXH3 over what a tensor is and its values, in order and in any number of pieces.
class Checksum {
 public:
  Checksum(std::string_view name, std::span<const std::string> tags, const Shape& shape, ValueFormat format);
  void add(std::span<const std::byte> bytes);
  uint64_t value() const;

 private:
  void add_text(std::string_view text);

  struct Free {
    void operator()(void* state) const;
  };
  std::unique_ptr<void, Free> state_;
};

}  // namespace lobit::tensor_file
