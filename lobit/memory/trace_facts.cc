#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/utf8.h"
#include "lobit/memory/trace_text_internal.h"

namespace lobit::detail {
namespace {

constexpr std::string_view kHexDigits = "0123456789ABCDEF";
// Of an escaped text. So the innermost frame always fits its line, and a name too.
constexpr size_t kMaxTextCharacters = 8000;
constexpr size_t kMaxFileCharacters = 4000;

bool stands_for_itself(char c) {
  return c >= ' ' && c <= '~' && c != '%' && c != '|' && c != '@';
}

// At most `most` characters, no character of the text cut in two.
void append_escaped(std::string& out, std::string_view text, size_t most) {
  const size_t end = out.size() + most;
  while (!text.empty()) {
    const size_t bytes = utf8_character_bytes(text);
    const std::string_view character = bytes == 0 ? "?" : text.substr(0, bytes);
    const bool plain = character.size() == 1 && stands_for_itself(character[0]);
    if (out.size() + (plain ? 1 : 3 * character.size()) > end) return;
    for (const char c : character) {
      if (plain) {
        out += c;
        continue;
      }
      const auto byte = static_cast<unsigned char>(c);
      out += {'%', kHexDigits[byte >> 4], kHexDigits[byte & 15]};
    }
    text.remove_prefix(std::max<size_t>(bytes, 1));
  }
}

Result<std::string> parse_text(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (stands_for_itself(text[i])) {
      out += text[i];
      continue;
    }
    const size_t high = i + 2 < text.size() ? kHexDigits.find(text[i + 1]) : std::string_view::npos;
    const size_t low = i + 2 < text.size() ? kHexDigits.find(text[i + 2]) : std::string_view::npos;
    if (text[i] != '%' || high == std::string_view::npos || low == std::string_view::npos) {
      return malformed("text in which %XX stands for what is not printable", text.substr(i, 3));
    }
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  if (utf8_valid_prefix(out) != out.size()) return malformed("UTF-8", out);
  return out;
}

// function@file:line
Result<StackFrame> parse_frame(std::string_view text) {
  const size_t at = text.find('@');
  const size_t colon = text.rfind(':');
  if (at == std::string_view::npos || colon == std::string_view::npos || colon < at) {
    return malformed("a frame function@file:line", text);
  }
  StackFrame frame;
  LOBIT_TRY(frame.function, parse_text(text.substr(0, at)));
  LOBIT_TRY(frame.file, parse_text(text.substr(at + 1, colon - at - 1)));
  LOBIT_RETURN_IF_ERROR(parse_number("line of a frame", text.substr(colon + 1), frame.line));
  return frame;
}

// Takes what stands before `end` off `rest`, and `end`.
std::string_view take_until(std::string_view& rest, char end) {
  const size_t length = std::min(rest.find(end), rest.size());
  const std::string_view part = rest.substr(0, length);
  rest.remove_prefix(std::min(length + 1, rest.size()));
  return part;
}

Result<StackTrace> parse_frames(std::string_view text) {
  if (static_cast<size_t>(std::ranges::count(text, '|')) >= kMaxTraceFrames) {
    return malformed(fmt::format("at most {} frames", kMaxTraceFrames), text);
  }
  StackTrace frames;
  if (text.empty()) return frames;
  for (bool more = true; more;) {
    more = text.find('|') != std::string_view::npos;
    LOBIT_TRY(StackFrame frame, parse_frame(take_until(text, '|')));
    frames.push_back(std::move(frame));
  }
  return frames;
}

// Of the tree that holds them, about.
uint64_t memory_of(const StackTrace& frames) {
  uint64_t bytes = 2 * sizeof(std::pair<uint32_t, StackTrace>);
  for (const StackFrame& frame : frames) {
    bytes += sizeof(StackFrame) + frame.function.size() + frame.file.size();
  }
  return bytes;
}

Status parse_stack(std::string_view rest, const TraceLimits& limits, TraceFacts& facts) {
  uint32_t number = 0;
  LOBIT_RETURN_IF_ERROR(parse_number("number of a stack", take_until(rest, ' '), number));
  if (number == 0) return fail(ErrorCode::kCorrupt, "expected a stack above 0, found 0");
  if (facts.stacks.contains(number)) {
    return fail(ErrorCode::kCorrupt, fmt::format("expected each stack once, found {} again", number));
  }
  if (facts.stacks.size() >= limits.max_stacks) {
    return fail(ErrorCode::kLimit, fmt::format("expected at most {} stacks", limits.max_stacks),
                {.available = limits.max_stacks});
  }
  LOBIT_TRY(StackTrace frames, parse_frames(rest));
  const uint64_t bytes = facts.stack_bytes + memory_of(frames);
  if (bytes > limits.max_stack_bytes) {
    return fail(ErrorCode::kLimit, fmt::format("expected stacks of at most {} bytes", limits.max_stack_bytes),
                {.required = bytes, .available = limits.max_stack_bytes});
  }
  facts.stack_bytes = bytes;
  facts.stacks.emplace(number, std::move(frames));
  return {};
}

}  // namespace

Status parse_fact(std::string_view line, const TraceLimits& limits, TraceFacts& facts) {
  std::string_view rest = line.substr(1);
  const std::string_view word = take_until(rest, ' ');
  if (word == "stack") return parse_stack(rest, limits, facts);
  if ((word == "name" && facts.name.has_value()) || (word == "limit" && facts.limit.has_value())) {
    return fail(ErrorCode::kCorrupt, fmt::format("expected #{} once, found it again", word));
  }
  if (word == "name") {
    LOBIT_TRY(facts.name, parse_text(rest));
  } else if (word == "limit") {
    LOBIT_RETURN_IF_ERROR(parse_number("limit", rest, facts.limit.emplace()));
  }
  return {};
}

void append_name_fact(std::string& out, std::string_view name) {
  out += "#name ";
  append_escaped(out, name, kMaxTextCharacters);
  out += '\n';
}

void append_limit_fact(std::string& out, uint64_t bytes) {
  fmt::format_to(std::back_inserter(out), "#limit {}\n", bytes);
}

void append_stack_fact(std::string& out, uint32_t stack, const StackTrace& frames) {
  const size_t start = out.size();
  fmt::format_to(std::back_inserter(out), "#stack {} ", stack);
  for (size_t i = 0; i < std::min(frames.size(), kMaxTraceFrames); ++i) {
    const size_t before = out.size();
    if (i > 0) out += '|';
    append_escaped(out, frames[i].function, kMaxTextCharacters);
    out += '@';
    append_escaped(out, frames[i].file, kMaxFileCharacters);
    fmt::format_to(std::back_inserter(out), ":{}", frames[i].line);
    if (out.size() - start > kMaxFactCharacters) {
      out.resize(before);
      break;
    }
  }
  out += '\n';
}

}  // namespace lobit::detail
