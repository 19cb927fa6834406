#include "lobit/base/json_reader.h"

#include <charconv>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "lobit/base/utf8.h"

namespace lobit {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Whether a byte can stand for itself in a string, alone or in a UTF-8 sequence.
bool is_plain(char c) {
  return static_cast<uint8_t>(c) >= 0x20 && c != '"' && c != '\\';
}

std::optional<uint32_t> parse_hex4(std::string_view digits) {
  uint32_t value = 0;
  if (digits.size() < 4) return std::nullopt;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + 4, value, 16);
  if (error != std::errc() || end != digits.data() + 4) return std::nullopt;
  return value;
}

std::optional<char> simple_escape(char c) {
  constexpr std::string_view kFrom = "\"\\/bfnrt";
  constexpr std::string_view kTo = "\"\\/\b\f\n\r\t";
  const size_t i = kFrom.find(c);
  return i == std::string_view::npos ? std::nullopt : std::optional<char>(kTo[i]);
}

}  // namespace

// Walks the text once. Nesting is a stack of bits, so that depth costs neither call frames nor much memory.
class JsonParser {
 public:
  JsonParser(std::string_view text, JsonHandler& handler, uint64_t base_offset)
      : text_(text), handler_(handler), base_offset_(base_offset) {}

  Status run() {
    if (text_.starts_with("\xEF\xBB\xBF")) return syntax(0, "a byte-order mark stands before the text");
    for (;;) {
      skip_space();
      if (expect_ == Expect::kEnd) {
        return at_ == text_.size() ? Status() : syntax(at_, "text follows the end of the document");
      }
      if (at_ == text_.size()) return syntax(at_, "the text ends too early");
      LOBIT_RETURN_IF_ERROR(step());
    }
  }

 private:
  enum class Expect : uint8_t { kValue, kValueOrClose, kKey, kKeyOrClose, kCommaOrClose, kEnd };

  tl::unexpected<Error> syntax(size_t at, std::string message) const {
    return fail(ErrorCode::kCorrupt, std::move(message), {.offset = base_offset_ + at});
  }

  // Passes on what a handler answered to the token at `start`.
  Status event(Status answer, size_t start) const {
    if (!answer && !answer.error().detail.offset) answer.error().detail.offset = base_offset_ + start;
    return answer;
  }

  void skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
      ++at_;
    }
  }

  // Reads one token; at_ is at its first byte.
  Status step() {
    const char c = text_[at_];
    handler_.offset_ = base_offset_ + at_;
    switch (expect_) {
      case Expect::kKeyOrClose:
        return c == '}' ? close() : key();
      case Expect::kKey:
        return key();
      case Expect::kValueOrClose:
        return c == ']' ? close() : value();
      case Expect::kCommaOrClose:
        return c == (in_object_.back() ? '}' : ']') ? close() : comma();
      case Expect::kValue:
      case Expect::kEnd:
        break;
    }
    return value();
  }

  void after_value() { expect_ = in_object_.empty() ? Expect::kEnd : Expect::kCommaOrClose; }

  Status open(bool object) {
    const size_t start = at_++;
    in_object_.push_back(object);
    expect_ = object ? Expect::kKeyOrClose : Expect::kValueOrClose;
    return event(object ? handler_.on_object_start() : handler_.on_array_start(), start);
  }

  Status close() {
    const size_t start = at_++;
    const bool object = in_object_.back();
    in_object_.pop_back();
    after_value();
    return event(object ? handler_.on_object_end() : handler_.on_array_end(), start);
  }

  Status comma() {
    const bool object = in_object_.back();
    if (text_[at_] != ',') return syntax(at_, fmt::format("expected ',' or '{}'", object ? '}' : ']'));
    ++at_;
    expect_ = object ? Expect::kKey : Expect::kValue;
    return {};
  }

  Status key() {
    const size_t start = at_;
    if (text_[at_] != '"') return syntax(at_, "expected a key in double quotes");
    LOBIT_TRY(std::string text, string());
    LOBIT_RETURN_IF_ERROR(event(handler_.on_key(std::move(text)), start));
    skip_space();
    if (at_ == text_.size() || text_[at_] != ':') return syntax(at_, "expected ':' after a key");
    ++at_;
    expect_ = Expect::kValue;
    return {};
  }

  Status value() {
    const char c = text_[at_];
    if (c == '{') return open(true);
    if (c == '[') return open(false);
    const size_t start = at_;
    after_value();
    if (c == '"') {
      LOBIT_TRY(std::string text, string());
      return event(handler_.on_string(std::move(text)), start);
    }
    if (c == '-' || is_digit(c)) return number();
    if (skip_word("true")) return event(handler_.on_bool(true), start);
    if (skip_word("false")) return event(handler_.on_bool(false), start);
    if (skip_word("null")) return event(handler_.on_null(), start);
    return syntax(at_, "expected a value");
  }

  bool skip_word(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  // The text of the string that starts at at_.
  Result<std::string> string() {
    std::string out;
    ++at_;
    for (;;) {
      // Runs without escapes are appended whole, so a string without any takes one allocation of its size.
      size_t end = at_;
      while (end < text_.size() && is_plain(text_[end])) {
        const bool ascii = static_cast<uint8_t>(text_[end]) < 0x80;
        const size_t bytes = ascii ? 1 : utf8_character_bytes(text_.substr(end));
        if (bytes == 0) return syntax(end, "a string is not UTF-8");
        end += bytes;
      }
      out.append(text_, at_, end - at_);
      at_ = end;
      if (at_ == text_.size()) return syntax(at_, "the text ends within a string");
      if (text_[at_] == '"') {
        ++at_;
        return out;
      }
      if (text_[at_] != '\\') return syntax(at_, "a string holds a control character");
      LOBIT_RETURN_IF_ERROR(escape(out));
    }
  }

  // Decodes the escape sequence at at_.
  Status escape(std::string& out) {
    const size_t start = at_++;
    if (at_ == text_.size()) return syntax(at_, "the text ends within a string");
    const char c = text_[at_++];
    if (const std::optional<char> plain = simple_escape(c)) {
      out += *plain;
      return {};
    }
    std::optional<uint32_t> unit = c == 'u' ? parse_hex4(text_.substr(at_)) : std::nullopt;
    if (!unit) return syntax(start, "a string holds an unknown escape sequence");
    at_ += 4;
    if (*unit >= 0xD800 && *unit <= 0xDFFF) {
      std::optional<uint32_t> low;
      if (*unit <= 0xDBFF && skip_word("\\u")) low = parse_hex4(text_.substr(at_));
      if (!low || *low < 0xDC00 || *low > 0xDFFF)
        return syntax(start, "a string holds half a surrogate pair");
      at_ += 4;
      unit = 0x10000 + ((*unit - 0xD800) << 10) + (*low - 0xDC00);
    }
    append_utf8(out, *unit);
    return {};
  }

  // Skips digits; false when there is none.
  bool skip_digits() {
    const size_t start = at_;
    while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
    return at_ > start;
  }

  Status number() {
    const size_t start = at_;
    const bool negative = skip_word("-");
    const size_t digits = at_;
    if (!skip_digits()) return syntax(at_, "expected a digit");
    if (text_[digits] == '0' && at_ - digits > 1) return syntax(digits, "a number starts with a zero");
    bool integer = true;
    if (skip_word(".")) {
      integer = false;
      if (!skip_digits()) return syntax(at_, "expected a digit");
    }
    if (skip_word("e") || skip_word("E")) {
      integer = false;
      if (!skip_word("+")) skip_word("-");
      if (!skip_digits()) return syntax(at_, "expected a digit");
    }
    const char* begin = text_.data() + start;
    const char* end = text_.data() + at_;
    if (uint64_t u = 0; integer && !negative && std::from_chars(begin, end, u).ec == std::errc()) {
      return event(handler_.on_unsigned(u), start);
    }
    if (int64_t i = 0; integer && negative && std::from_chars(begin, end, i).ec == std::errc()) {
      return event(handler_.on_negative(i), start);
    }
    double d = 0;
    if (std::from_chars(begin, end, d).ec != std::errc()) return syntax(start, "a number is out of range");
    return event(handler_.on_float(d), start);
  }

  std::string_view text_;
  JsonHandler& handler_;
  uint64_t base_offset_;
  size_t at_ = 0;
  Expect expect_ = Expect::kValue;
  std::vector<bool> in_object_;  // for each open container, the innermost last
};

Status JsonHandler::unexpected(std::string_view found) {
  return fail(ErrorCode::kCorrupt, fmt::format("unexpected {}", found));
}

Status parse_json(std::string_view text, JsonHandler& handler, std::string_view what, uint64_t base_offset) {
  Status status = JsonParser(text, handler, base_offset).run();
  if (status) return {};
  Error error = std::move(status).error();
  error.message = fmt::format("{}: byte {}: {}", what, *error.detail.offset, error.message);
  return fail(std::move(error));
}

}  // namespace lobit
