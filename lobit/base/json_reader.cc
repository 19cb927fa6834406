#include "lobit/base/json_reader.h"

#include <cstddef>
#include <iterator>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace lobit {
namespace {

using Json = nlohmann::json;

// An input iterator that tells how far the lexer has read.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, const char** furthest) : at_(at), furthest_(furthest) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    ++at_;
    *furthest_ = at_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }

 private:
  const char* at_;
  const char** furthest_;
};

// Passes nlohmann's events on and keeps the first error.
class Bridge final : public Json::json_sax_t {
 public:
  explicit Bridge(JsonHandler& handler) : handler_(handler) {}

  bool null() override { return keep(handler_.on_null()); }
  bool boolean(bool value) override { return keep(handler_.on_bool(value)); }
  bool number_integer(number_integer_t value) override { return keep(handler_.on_negative(value)); }
  bool number_unsigned(number_unsigned_t value) override { return keep(handler_.on_unsigned(value)); }
  bool number_float(number_float_t value, const string_t&) override { return keep(handler_.on_float(value)); }
  bool string(string_t& value) override { return keep(handler_.on_string(std::move(value))); }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return keep(handler_.on_object_start()); }
  bool key(string_t& value) override { return keep(handler_.on_key(std::move(value))); }
  bool end_object() override { return keep(handler_.on_object_end()); }
  bool start_array(size_t) override { return keep(handler_.on_array_start()); }
  bool end_array() override { return keep(handler_.on_array_end()); }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& e) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error ..."
    std::string_view text = e.what();
    if (const size_t colon = text.find(": "); colon != std::string_view::npos) text.remove_prefix(colon + 2);
    status = fail(ErrorCode::kCorrupt, std::string(text));
    return false;
  }

  Status status;

 private:
  bool keep(Status result) {
    status = std::move(result);
    return status.has_value();
  }
  JsonHandler& handler_;
};

}  // namespace

Status JsonHandler::unexpected(std::string_view found) {
  return fail(ErrorCode::kCorrupt, fmt::format("unexpected {}", found));
}

Status parse_json(std::string_view text, JsonHandler& handler, std::string_view what, uint64_t base_offset) {
  const char* furthest = text.data();
  Bridge bridge(handler);
  if (text.starts_with("\xEF\xBB\xBF")) {
    bridge.status = fail(ErrorCode::kCorrupt, "a byte-order mark stands before the text");
  } else {
    Json::sax_parse(CountingIterator(text.data(), &furthest),
                    CountingIterator(text.data() + text.size(), &furthest), &bridge,
                    Json::input_format_t::json,
                    /*strict=*/true, /*ignore_comments=*/false);
  }
  if (bridge.status) return {};
  Error error = std::move(bridge.status).error();
  if (!error.detail.offset) error.detail.offset = base_offset + static_cast<uint64_t>(furthest - text.data());
  error.message = fmt::format("{}: near byte {}: {}", what, *error.detail.offset, error.message);
  return fail(std::move(error));
}

}  // namespace lobit
