#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/utf8.h"
#include "lobit/format/safetensors.h"
#include "lobit/format/safetensors_internal.h"

namespace lobit {
namespace safetensors {

tl::unexpected<Error> corrupt_at(const std::string& file, uint64_t at, std::string_view message,
                                 ErrorDetail detail) {
  detail.offset = at;
  return fail(ErrorCode::kCorrupt, fmt::format("{}: byte {}: {}", file, at, message), std::move(detail));
}

std::optional<Shape> stored_shape(const Shape& shape, Encoding encoding) {
  if (shape.rank() == 0) return std::nullopt;
  const std::optional<uint64_t> row_bytes = encoded_bytes(encoding, shape.row_elements());
  if (!row_bytes || *row_bytes > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
  std::vector<int64_t> extents(shape.extents().begin(), shape.extents().end());
  extents.back() = static_cast<int64_t>(*row_bytes);
  const Result<Shape> stored = Shape::create(extents);
  return stored ? std::optional<Shape>(*stored) : std::nullopt;
}

namespace {

// Positions in a header's list of tensors, in some order.
using Order = std::vector<uint32_t>;

Order identity(size_t count) {
  Order order(count);
  std::iota(order.begin(), order.end(), 0U);
  return order;
}

Result<uint64_t> read_header_bytes(const ByteSource& source) {
  const uint64_t size = source.size();
  if (size < kPrefixBytes) {
    return corrupt_at(source.name(), size,
                      fmt::format("expected 8 bytes with the header's size, found {}", size),
                      {.required = kPrefixBytes, .available = size});
  }
  std::array<std::byte, kPrefixBytes> prefix{};
  LOBIT_RETURN_IF_ERROR(source.read_at(0, prefix));
  uint64_t bytes = 0;
  for (size_t i = 0; i < kPrefixBytes; ++i) bytes |= std::to_integer<uint64_t>(prefix[i]) << 8 * i;
  if (bytes > kSafetensorsMaxHeader) {
    return fail(ErrorCode::kLimit,
                fmt::format("{}: byte 0: expected a header of at most {} bytes, found {}", source.name(),
                            kSafetensorsMaxHeader, bytes),
                {.offset = 0, .required = bytes, .available = kSafetensorsMaxHeader});
  }
  if (bytes > size - kPrefixBytes) {
    return corrupt_at(source.name(), 0,
                      fmt::format("the header has {} bytes, but only {} follow", bytes, size - kPrefixBytes),
                      {.required = bytes, .available = size - kPrefixBytes});
  }
  return bytes;
}

// The text lives only for this call: the rest of reading works on values.
Result<RawHeader> read_raw_header(const ByteSource& source, uint64_t bytes) {
  std::string text(bytes, '\0');
  LOBIT_RETURN_IF_ERROR(source.read_at(kPrefixBytes, std::as_writable_bytes(std::span(text))));
  return parse_header(text, source.name());
}

// Sorted by name, without duplicates. Sorting instead of hashing: no input makes it slow.
Result<Order> order_by_name(const RawHeader& raw, const std::string& file) {
  const auto& tensors = raw.tensors;
  Order order = identity(tensors.size());
  const auto less = [&](uint32_t a, uint32_t b) {
    const int names = tensors[a].name.compare(tensors[b].name);
    return names != 0 ? names < 0 : a < b;
  };
  if (!std::is_sorted(order.begin(), order.end(), less)) std::sort(order.begin(), order.end(), less);
  for (size_t i = 1; i < order.size(); ++i) {
    const TensorEntry& entry = tensors[order[i]];
    if (entry.name != tensors[order[i - 1]].name) continue;
    return corrupt_at(file, raw.tensor_at[order[i]],
                      fmt::format("a second tensor named {}", quoted(entry.name)), {.index = order[i]});
  }
  return order;
}

Status check_metadata_keys(const RawHeader& raw, const std::string& file) {
  const auto& entries = raw.metadata.entries();
  Order order = identity(entries.size());
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return std::tie(entries[a].key, a) < std::tie(entries[b].key, b);
  });
  for (size_t i = 1; i < order.size(); ++i) {
    const std::string& key = entries[order[i]].key;
    if (key != entries[order[i - 1]].key) continue;
    return corrupt_at(file, raw.metadata_at[order[i]], fmt::format("a second metadata key {}", quoted(key)));
  }
  return {};
}

// Sorted by place, which must be one run of bytes from the start of the data to the end of the file.
Result<Order> order_by_place(const RawHeader& raw, const ByteSource& source, uint64_t data_offset) {
  const auto& tensors = raw.tensors;
  Order order = identity(tensors.size());
  const auto less = [&](uint32_t a, uint32_t b) {
    return std::tuple(tensors[a].offset, tensors[a].bytes, a) <
           std::tuple(tensors[b].offset, tensors[b].bytes, b);
  };
  if (!std::is_sorted(order.begin(), order.end(), less)) std::sort(order.begin(), order.end(), less);
  uint64_t end = 0;
  for (const uint32_t i : order) {
    const TensorEntry& entry = tensors[i];
    if (entry.offset != end) {
      return corrupt_at(
          source.name(), raw.tensor_at[i],
          fmt::format("tensor {} starts at byte {} of the data, {} the end of the one before at {}",
                      quoted(entry.name), entry.offset, entry.offset < end ? "before" : "beyond", end),
          {.index = i, .required = end, .available = entry.offset});
    }
    end += entry.bytes;
  }
  const uint64_t data_bytes = source.size() - data_offset;
  if (end > data_bytes) {
    return corrupt_at(source.name(), source.size(),
                      fmt::format("the file ends after {} of {} bytes of data", data_bytes, end),
                      {.required = end, .available = data_bytes});
  }
  if (end < data_bytes) {
    return corrupt_at(source.name(), data_offset + end,
                      fmt::format("{} bytes follow the last tensor", data_bytes - end),
                      {.required = end, .available = data_bytes});
  }
  return order;
}

// "[4096, 11008]", exactly as it is written; nothing for other text.
std::optional<Shape> parse_shape(std::string_view text) {
  std::vector<int64_t> extents;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end && *at != ']' && extents.size() < Shape::kMaxRank) {
    at += extents.empty() ? 1 : std::min<std::ptrdiff_t>(2, end - at);
    int64_t extent = 0;
    const auto [next, error] = std::from_chars(at, end, extent);
    if (error != std::errc()) return std::nullopt;
    extents.push_back(extent);
    at = next;
  }
  const Result<Shape> shape = Shape::create(extents);
  return shape && shape->to_string() == text ? std::optional<Shape>(*shape) : std::nullopt;
}

// Gives one tensor of bytes the encoding and shape that the notes tell.
Status apply_note(const Note& encoding_note, const Note& shape_note, TensorEntry& entry,
                  const std::string& file) {
  const std::optional<Encoding> encoding = parse_encoding(encoding_note.value);
  // parse_encoding() also takes other spellings.
  if (!encoding || encoding_name(*encoding) != encoding_note.value || !traits(*encoding).is_block()) {
    return corrupt_at(file, encoding_note.at,
                      fmt::format("tensor {}: expected the name of a block encoding, found {}",
                                  quoted(entry.name), quoted(encoding_note.value)));
  }
  const std::optional<Shape> shape = parse_shape(shape_note.value);
  if (!shape) {
    return corrupt_at(file, shape_note.at,
                      fmt::format("tensor {}: expected a shape like [4096, 11008], found {}",
                                  quoted(entry.name), quoted(shape_note.value)));
  }
  if (entry.encoding != Encoding::kRawU8 || stored_shape(*shape, *encoding) != entry.shape) {
    return corrupt_at(
        file, shape_note.at,
        fmt::format("tensor {}: {} {} cannot lie in {} {}", quoted(entry.name), encoding_note.value,
                    shape_note.value, traits(entry.encoding).safetensors_name, entry.shape.to_string()));
  }
  entry.encoding = *encoding;
  entry.shape = *shape;
  return {};
}

// Resolves lobit's keys. `by_name` orders the tensors.
Status apply_notes(RawHeader& raw, const Order& by_name, const std::string& file) {
  if (raw.format && raw.format->value != kFormatVersion) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: byte {}: expected {} {}, found {}", file, raw.format->at, kFormatKey,
                            kFormatVersion, quoted(raw.format->value)),
                {.offset = raw.format->at});
  }
  auto& notes = raw.notes;
  if (!notes.empty() && !raw.format) {
    return corrupt_at(file, notes.front().at, fmt::format("{} is missing beside this key", kFormatKey));
  }
  std::sort(notes.begin(), notes.end(), [](const Note& a, const Note& b) {
    return std::tie(a.name, a.kind, a.at) < std::tie(b.name, b.kind, b.at);
  });
  for (size_t i = 0; i < notes.size(); i += 2) {
    const Note& note = notes[i];
    // An encoding and a shape for each name; a duplicate breaks the pairing.
    if (i + 1 == notes.size() || notes[i + 1].name != note.name || note.kind != Note::Kind::kEncoding ||
        notes[i + 1].kind != Note::Kind::kShape) {
      return corrupt_at(file, note.at,
                        fmt::format("tensor {}: expected one encoding and one shape", quoted(note.name)));
    }
    const auto found =
        std::lower_bound(by_name.begin(), by_name.end(), note.name,
                         [&](uint32_t t, const std::string& name) { return raw.tensors[t].name < name; });
    if (found == by_name.end() || raw.tensors[*found].name != note.name) {
      return corrupt_at(file, note.at, fmt::format("there is no tensor {}", quoted(note.name)));
    }
    LOBIT_RETURN_IF_ERROR(apply_note(note, notes[i + 1], raw.tensors[*found], file));
  }
  return {};
}

}  // namespace
}  // namespace safetensors

Result<SafetensorsHeader> read_safetensors(const ByteSource& source) {
  namespace st = safetensors;
  LOBIT_TRY(const uint64_t header_bytes, st::read_header_bytes(source));
  LOBIT_TRY(st::RawHeader raw, st::read_raw_header(source, header_bytes));
  LOBIT_RETURN_IF_ERROR(st::check_metadata_keys(raw, source.name()));
  LOBIT_TRY(const st::Order by_name, st::order_by_name(raw, source.name()));
  SafetensorsHeader header;
  header.data_offset = st::kPrefixBytes + header_bytes;
  LOBIT_TRY(const st::Order by_place, st::order_by_place(raw, source, header.data_offset));
  LOBIT_RETURN_IF_ERROR(st::apply_notes(raw, by_name, source.name()));

  header.metadata = std::move(raw.metadata);
  header.tensors.reserve(by_place.size());
  for (const uint32_t i : by_place) {
    header.tensors.push_back(std::move(raw.tensors[i]));
    header.tensors.back().offset += header.data_offset;
  }
  return header;
}

}  // namespace lobit
