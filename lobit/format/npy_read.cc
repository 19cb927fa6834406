#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "lobit/base/checked.h"
#include "lobit/base/utf8.h"
#include "lobit/format/npy.h"
#include "lobit/format/npy_internal.h"

namespace lobit {
namespace npy {
namespace {

tl::unexpected<Error> error_at(ErrorCode code, const std::string& file, uint64_t at, std::string_view message,
                               ErrorDetail detail = {}) {
  detail.offset = at;
  return fail(code, fmt::format("{}: byte {}: {}", file, at, message), std::move(detail));
}

// The file's first bytes, up to the header's text.
struct Prefix {
  int major = 0;
  uint64_t text_offset = 0;
  uint64_t text_bytes = 0;
};

Result<Prefix> read_prefix(const ByteSource& source) {
  const std::string& file = source.name();
  // A version, and a size of 2 bytes in version 1 and of 4 in the later ones.
  std::array<std::byte, kVersionEnd + 4> bytes{};
  const size_t present = std::min<uint64_t>(source.size(), bytes.size());
  LOBIT_RETURN_IF_ERROR(source.read_at(0, std::span(bytes).first(present)));

  std::array<char, kVersionEnd> start{};
  std::ranges::transform(std::span(bytes).first(kVersionEnd), start.begin(), std::to_integer<char>);
  const std::string_view magic(start.data(), std::min(present, kMagic.size()));
  if (magic != kMagic) {
    return error_at(
        ErrorCode::kCorrupt, file, 0,
        fmt::format("expected {} as every .npy file begins, found {}", quoted(kMagic), quoted(magic)));
  }
  const int major = std::to_integer<int>(bytes[kMagic.size()]);
  const int minor = std::to_integer<int>(bytes[kMagic.size() + 1]);
  if (present >= kVersionEnd && (major < 1 || major > 3 || minor != 0)) {
    return error_at(ErrorCode::kUnsupported, file, kMagic.size(),
                    fmt::format("expected version 1.0, 2.0 or 3.0, found {}.{}", major, minor));
  }
  const size_t size_bytes = major == 1 ? 2 : 4;
  if (present < kVersionEnd + size_bytes) {
    return error_at(
        ErrorCode::kCorrupt, file, present,
        fmt::format("expected a version and the header's size, found the end after {} bytes", present),
        {.required = kVersionEnd + size_bytes, .available = present});
  }
  Prefix prefix{.major = major, .text_offset = kVersionEnd + size_bytes};
  for (size_t i = 0; i < size_bytes; ++i) {
    prefix.text_bytes |= std::to_integer<uint64_t>(bytes[kVersionEnd + i]) << 8 * i;
  }
  return prefix;
}

Result<std::string> read_text(const ByteSource& source, const Prefix& prefix) {
  const uint64_t available = source.size() - prefix.text_offset;
  if (prefix.text_bytes > available) {
    return error_at(
        ErrorCode::kCorrupt, source.name(), kVersionEnd,
        fmt::format("expected a header of {} bytes, found the end after {}", prefix.text_bytes, available),
        {.required = prefix.text_bytes, .available = available});
  }
  if (prefix.text_bytes > kNpyMaxHeader) {
    return error_at(ErrorCode::kLimit, source.name(), kVersionEnd,
                    fmt::format("expected a header of at most {} bytes, found one of {}", kNpyMaxHeader,
                                prefix.text_bytes),
                    {.required = prefix.text_bytes, .available = kNpyMaxHeader});
  }
  std::string text(prefix.text_bytes, '\0');
  LOBIT_RETURN_IF_ERROR(source.read_at(prefix.text_offset, std::as_writable_bytes(std::span(text))));
  return text;
}

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f';
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Reads the header: the literal of a Python dictionary, of which only the few forms are taken that NumPy's
// three keys can have.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const Prefix& prefix, const std::string& file)
      : text_(text), prefix_(prefix), file_(file) {}

  Status parse() {
    LOBIT_RETURN_IF_ERROR(expect('{'));
    while (!take('}')) {
      LOBIT_RETURN_IF_ERROR(parse_field());
      // A comma may follow the last field, and NumPy writes one.
      if (take(',')) continue;
      LOBIT_RETURN_IF_ERROR(expect('}'));
      break;
    }
    const size_t end = at_ - 1;
    skip_spaces();
    if (at_ != text_.size()) return wrong("the end of the header");
    if (!encoding || !fortran_order || !shape) {
      at_ = end;
      return wrong(!encoding ? "the key 'descr'" : !shape ? "the key 'shape'" : "the key 'fortran_order'");
    }
    return {};
  }

  std::optional<Encoding> encoding;
  std::optional<bool> fortran_order;
  uint64_t fortran_order_at = 0;  // of the value, in the file
  std::optional<Shape> shape;

 private:
  tl::unexpected<Error> error(ErrorCode code, size_t at, std::string_view message,
                              ErrorDetail detail = {}) const {
    return error_at(code, file_, prefix_.text_offset + at, message, std::move(detail));
  }
  tl::unexpected<Error> wrong(std::string_view expected) const {
    const std::string_view rest = text_.substr(at_, 24);
    return error(ErrorCode::kCorrupt, at_,
                 fmt::format("expected {}, found {}", expected,
                             rest.empty() ? std::string("the end of the header") : quoted(rest)));
  }

  void skip_spaces() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
  }
  bool next_is(char c) {
    skip_spaces();
    return at_ < text_.size() && text_[at_] == c;
  }
  bool take(char c) {
    if (!next_is(c)) return false;
    ++at_;
    return true;
  }
  Status expect(char c) {
    if (!take(c)) return wrong(fmt::format("'{}'", c));
    return {};
  }
  bool take_word(std::string_view word) {
    skip_spaces();
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  // 'text' or "text". Nothing that NumPy writes has an escape in it.
  Result<std::string_view> parse_string(std::string_view expected) {
    const char quote = next_is('"') ? '"' : '\'';
    if (!next_is(quote)) return wrong(expected);
    const size_t begin = at_ + 1;
    const size_t end = text_.find_first_of(std::array{quote, '\\', '\n', '\0'}.data(), begin);
    if (end == std::string_view::npos || text_[end] != quote) return wrong(expected);
    at_ = end + 1;
    return text_.substr(begin, end - begin);
  }

  Status parse_field() {
    skip_spaces();
    const size_t key_at = at_;
    LOBIT_TRY(const std::string_view key, parse_string("a key in quotes"));
    const bool again = key == "descr"           ? encoding.has_value()
                       : key == "fortran_order" ? fortran_order.has_value()
                                                : shape.has_value();
    if (key != "descr" && key != "fortran_order" && key != "shape") {
      return error(
          ErrorCode::kCorrupt, key_at,
          fmt::format("expected the key 'descr', 'fortran_order' or 'shape', found {}", quoted(key)));
    }
    if (again) {
      return error(ErrorCode::kCorrupt, key_at,
                   fmt::format("expected each key once, found a second {}", quoted(key)));
    }
    LOBIT_RETURN_IF_ERROR(expect(':'));
    skip_spaces();
    if (key == "descr") return parse_descr();
    if (key == "fortran_order") return parse_order();
    return parse_shape();
  }

  Status parse_descr() {
    const size_t at = at_;
    if (next_is('[') || next_is('(')) {
      return error(ErrorCode::kUnsupported, at, "expected one number per element, found a structured dtype");
    }
    LOBIT_TRY(const std::string_view written, parse_string("a dtype in quotes"));
    std::string descr(written);
    // A single byte has no order, but some writers name one; ml_dtypes' own name is legal beside it.
    const bool ordered = descr.starts_with('<') || descr.starts_with('>');
    if (ordered && descr.ends_with('1') && descr.size() == 3) descr[0] = '|';
    if (descr == "bfloat16") descr = "<V2";
    encoding = named(descr);
    if (encoding) return {};
    if (descr.starts_with('>') && named('<' + descr.substr(1))) {
      return error(ErrorCode::kUnsupported, at,
                   fmt::format("expected little-endian values, found big-endian {}", quoted(written)),
                   {.from = std::string(written)});
    }
    return error(
        ErrorCode::kUnsupported, at,
        fmt::format("expected a dtype like '<f4' that lobit has an encoding for, found {}{}", quoted(written),
                    descr == "|V2" ? " (numpy.save of a reloaded bfloat16 array loses its type)" : ""),
        {.from = std::string(written)});
  }

  static std::optional<Encoding> named(std::string_view descr) {
    const auto* const found = std::ranges::find(kDescrNames, descr, &DescrName::descr);
    return found == kDescrNames.end() ? std::nullopt : std::optional(found->encoding);
  }

  Status parse_order() {
    fortran_order_at = prefix_.text_offset + at_;
    const bool is_true = take_word("True");
    if (!is_true && !take_word("False")) return wrong("True or False");
    fortran_order = is_true;
    return {};
  }

  // (), (3,), (2, 3)
  Status parse_shape() {
    const size_t begin = at_;
    LOBIT_RETURN_IF_ERROR(expect('('));
    std::vector<int64_t> extents;
    bool comma = true;  // in front of the next extent
    while (!take(')')) {
      if (!comma) return wrong("',' or ')'");
      if (extents.size() == Shape::kMaxRank) {
        return error(ErrorCode::kUnsupported, at_,
                     fmt::format("expected at most {} dimensions, found another", Shape::kMaxRank),
                     {.available = Shape::kMaxRank});
      }
      LOBIT_TRY(const int64_t extent, parse_extent());
      extents.push_back(extent);
      comma = take(',');
    }
    // (3) is a number in Python.
    if (extents.size() == 1 && !comma) {
      --at_;
      return wrong("',' after the only dimension");
    }
    const Result<Shape> checked = Shape::create(extents);
    if (!checked) return error(ErrorCode::kCorrupt, begin, checked.error().message);
    shape = *checked;
    return {};
  }

  Result<int64_t> parse_extent() {
    constexpr std::string_view kExpected = "a dimension from 0 to 2^63 - 1";
    skip_spaces();
    const std::string_view rest = text_.substr(at_);
    int64_t extent = 0;
    const auto [end, status] = std::from_chars(rest.data(), rest.data() + rest.size(), extent);
    const auto digits = static_cast<size_t>(end - rest.data());
    if (status != std::errc() || !is_digit(rest.front()) || (rest.front() == '0' && digits > 1)) {
      return wrong(kExpected);
    }
    at_ += digits;
    // Python 2 marked some integers as long: (3L,).
    if (prefix_.major < 3 && at_ < text_.size() && text_[at_] == 'L') ++at_;
    return extent;
  }

  const std::string_view text_;
  const Prefix prefix_;
  const std::string& file_;
  size_t at_ = 0;
};

// Whether the first dimension varying fastest is the same order as the last one: nothing to vary, or one
// dimension alone.
bool orders_agree(const Shape& shape) {
  return shape.elements() == 0 ||
         std::ranges::count_if(shape.extents(), [](int64_t e) { return e > 1; }) <= 1;
}

Status check_data(const ByteSource& source, const NpyHeader& header) {
  const uint64_t present = source.size() - header.data_offset;
  if (present < header.data_bytes) {
    return error_at(
        ErrorCode::kCorrupt, source.name(), source.size(),
        fmt::format("expected {} bytes of values, found the end after {}", header.data_bytes, present),
        {.required = header.data_bytes, .available = present});
  }
  if (present > header.data_bytes) {
    return error_at(
        ErrorCode::kUnsupported, source.name(), header.data_offset + header.data_bytes,
        fmt::format("expected the end of the file behind the array of {} bytes, found {} more bytes",
                    header.data_bytes, present - header.data_bytes),
        {.required = header.data_bytes, .available = present});
  }
  return {};
}

}  // namespace
}  // namespace npy

Result<NpyHeader> read_npy(const ByteSource& source) {
  LOBIT_TRY(const npy::Prefix prefix, npy::read_prefix(source));
  LOBIT_TRY(const std::string text, npy::read_text(source, prefix));
  npy::HeaderParser parser(text, prefix, source.name());
  LOBIT_RETURN_IF_ERROR(parser.parse());

  NpyHeader header{.shape = *parser.shape, .encoding = *parser.encoding};
  header.data_offset = prefix.text_offset + prefix.text_bytes;
  const std::optional<uint64_t> bytes = encoded_bytes(header.encoding, header.shape.elements());
  if (!bytes || *bytes > static_cast<uint64_t>(INT64_MAX)) {
    return npy::error_at(ErrorCode::kCorrupt, source.name(), prefix.text_offset,
                         fmt::format("expected an array below 2^63 bytes, found {} of {}",
                                     header.shape.to_string(), encoding_name(header.encoding)));
  }
  header.data_bytes = *bytes;
  if (*parser.fortran_order && !npy::orders_agree(header.shape)) {
    return npy::error_at(
        ErrorCode::kUnsupported, source.name(), parser.fortran_order_at,
        fmt::format("expected C order, found Fortran order (first dimension together in memory) of {}; save "
                    "numpy.ascontiguousarray(a)",
                    header.shape.to_string()));
  }
  LOBIT_RETURN_IF_ERROR(npy::check_data(source, header));
  return header;
}

}  // namespace lobit
