#include <array>
#include <charconv>
#include <new>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include "lobit/base/json_reader.h"
#include "lobit/base/json_writer.h"
#include "lobit/base/utf8.h"
#include "lobit/format/tensor_file_internal.h"

namespace lobit::tensor_file {
namespace {

constexpr size_t kChecksumDigits = 16;

// {"format":"i4 per row","shape":[3,70],"tags":["a"],"xxh3":"0123456789abcdef"}
class NoteHandler final : public JsonHandler {
 public:
  Note note;
  std::vector<int64_t> extents;

  Status on_object_start() override {
    if (depth_ != 0) return unexpected("an object");
    depth_ = 1;
    return {};
  }
  Status on_object_end() override {
    depth_ = 0;
    return {};
  }
  Status on_key(std::string&& key) override {
    for (size_t i = 0; i < kFields.size(); ++i) {
      if (kFields[i] != key) continue;
      if ((seen_ >> i & 1) != 0)
        return fail(ErrorCode::kCorrupt, fmt::format("a second {}", lobit::quoted(key)));
      seen_ |= 1U << i;
      field_ = static_cast<Field>(i);
      return {};
    }
    return fail(ErrorCode::kUnsupported,
                fmt::format("expected one of {}, found {}", fmt::join(kFields, ", "), lobit::quoted(key)));
  }
  Status on_array_start() override {
    const bool list = field_ == Field::kShape || field_ == Field::kTags;
    if (depth_ != 1 || !list) return unexpected("an array");
    depth_ = 2;
    return {};
  }
  Status on_array_end() override {
    depth_ = 1;
    return {};
  }
  Status on_unsigned(uint64_t value) override {
    if (depth_ != 2 || field_ != Field::kShape || value > static_cast<uint64_t>(INT64_MAX) ||
        extents.size() == Shape::kMaxRank) {
      return unexpected("a number");
    }
    extents.push_back(static_cast<int64_t>(value));
    return {};
  }
  Status on_string(std::string&& text) override {
    if (depth_ == 2 && field_ == Field::kTags) return add_tag(std::move(text));
    if (depth_ == 1 && field_ == Field::kFormat) return read_format(text);
    if (depth_ == 1 && field_ == Field::kChecksum) return read_checksum(text);
    return unexpected("a string");
  }

  Status finish() {
    if (seen(Field::kShape) != note.format.has_value()) {
      return fail(ErrorCode::kCorrupt, "expected a format and a shape together");
    }
    if (!note.format) return {};
    const Result<Shape> shape = Shape::create(extents);
    if (!shape) return fail(ErrorCode::kCorrupt, shape.error().message);
    note.shape = *shape;
    return {};
  }

 private:
  enum class Field : uint8_t { kFormat, kShape, kTags, kChecksum };
  static constexpr std::array<std::string_view, 4> kFields{"format", "shape", "tags", "xxh3"};

  bool seen(Field field) const { return (seen_ >> static_cast<unsigned>(field) & 1) != 0; }

  Status add_tag(std::string&& text) {
    if (note.tags.size() == kMaxTags) {
      return fail(ErrorCode::kLimit, fmt::format("expected at most {} tags", kMaxTags),
                  {.required = kMaxTags + 1, .available = kMaxTags});
    }
    note.tags.push_back(std::move(text));
    return {};
  }
  Status read_format(std::string_view text) {
    note.format = parse_value_format(text);
    if (note.format) return {};
    return fail(ErrorCode::kCorrupt,
                fmt::format("expected the name of a format, found {}", lobit::quoted(text)));
  }
  Status read_checksum(std::string_view text) {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (error != std::errc() || text != fmt::format("{:016x}", value)) {
      return fail(ErrorCode::kCorrupt, fmt::format("expected {} hexadecimal digits, found {}",
                                                   kChecksumDigits, lobit::quoted(text)));
    }
    note.checksum = value;
    return {};
  }

  unsigned seen_ = 0;
  int depth_ = 0;
  Field field_ = Field::kFormat;
};

}  // namespace

std::string note_text(const Note& note) {
  std::string text = "{";
  const auto next = [&](std::string_view key) {
    if (text.size() > 1) text += ',';
    append_json_string(text, key);
    text += ':';
  };
  if (note.format) {
    next("format");
    append_json_string(text, to_string(*note.format));
    next("shape");
    text += fmt::format("[{}]", fmt::join(note.shape->extents(), ","));
  }
  if (!note.tags.empty()) {
    next("tags");
    for (size_t i = 0; i < note.tags.size(); ++i) {
      text += i == 0 ? '[' : ',';
      append_json_string(text, note.tags[i]);
    }
    text += ']';
  }
  if (note.checksum) {
    next("xxh3");
    append_json_string(text, fmt::format("{:016x}", *note.checksum));
  }
  return text += '}';
}

Result<Note> parse_note(std::string_view text, const std::string& where) {
  NoteHandler handler;
  Status parsed = parse_json(text, handler, where);
  if (parsed) parsed = handler.finish();
  if (parsed) return std::move(handler.note);
  Error error = std::move(parsed).error();
  if (!error.message.starts_with(where)) error.message = fmt::format("{}: {}", where, error.message);
  error.detail.offset.reset();  // of the text; where it lies in the file is not known here
  return fail(std::move(error));
}

void Checksum::Free::operator()(void* state) const {
  XXH3_freeState(static_cast<XXH3_state_t*>(state));
}

Checksum::Checksum(std::string_view name, std::span<const std::string> tags, const Shape& shape,
                   ValueFormat format)
    : state_(XXH3_createState()) {
  if (state_ == nullptr) throw std::bad_alloc();
  XXH3_64bits_reset(static_cast<XXH3_state_t*>(state_.get()));
  add_text(name);
  for (const std::string& tag : tags) add_text(tag);
  add_text(shape.to_string());
  add_text(to_string(format));
}

void Checksum::add(std::span<const std::byte> bytes) {
  XXH3_64bits_update(static_cast<XXH3_state_t*>(state_.get()), bytes.data(), bytes.size());
}

void Checksum::add_text(std::string_view text) {
  // The length as text, so that the sum is the same on every machine and no two lists of texts are alike.
  const std::string length = fmt::format("{}:", text.size());
  add(std::as_bytes(std::span(length)));
  add(std::as_bytes(std::span(text)));
}

uint64_t Checksum::value() const {
  return XXH3_64bits_digest(static_cast<const XXH3_state_t*>(state_.get()));
}

}  // namespace lobit::tensor_file
