#include "lobit/report/text.h"

#include <algorithm>
#include <array>
#include <span>

#include <fmt/format.h>

namespace lobit {
namespace {

struct CodePoint {
  char32_t value;
  size_t bytes;  // 0: the byte does not start a valid sequence
};

struct Range {
  char32_t first;
  char32_t last;
};

// Marks that stand on the character before them.
constexpr std::array<Range, 7> kZeroWidth{{{0x300, 0x36F},
                                           {0x1AB0, 0x1AFF},
                                           {0x1DC0, 0x1DFF},
                                           {0x20D0, 0x20FF},
                                           {0xFE00, 0xFE0F},
                                           {0xFE20, 0xFE2F},
                                           {0xE0100, 0xE01EF}}};
constexpr std::array<Range, 11> kWide{{{0x1100, 0x115F},
                                       {0x2E80, 0x303E},
                                       {0x3041, 0xA4CF},
                                       {0xAC00, 0xD7A3},
                                       {0xF900, 0xFAFF},
                                       {0xFE30, 0xFE6F},
                                       {0xFF00, 0xFF60},
                                       {0xFFE0, 0xFFE6},
                                       {0x1F300, 0x1F64F},
                                       {0x1F900, 0x1F9FF},
                                       {0x20000, 0x3FFFD}}};
// Invisible characters, separators of lines, and marks that change the direction of text.
constexpr std::array<Range, 7> kDeceptive{{{0xAD, 0xAD},
                                           {0x61C, 0x61C},
                                           {0x200B, 0x200F},
                                           {0x2028, 0x202E},
                                           {0x2060, 0x206F},
                                           {0xFEFF, 0xFEFF},
                                           {0xE0000, 0xE007F}}};

// Anything smaller in so many bytes is an overlong form.
constexpr std::array<char32_t, 5> kSmallestOfLength{0, 0, 0x80, 0x800, 0x10000};

bool in(char32_t c, std::span<const Range> ranges) {
  return std::any_of(ranges.begin(), ranges.end(), [c](Range r) { return c >= r.first && c <= r.last; });
}

// The character at the start of `text` (not empty); `bytes` is 0 for overlong forms, surrogates, values above
// U+10FFFF and sequences that are cut off.
CodePoint decode(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return {lead, 0};
  char32_t value = lead & (0xFFU >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return {lead, 0};
    value = (value << 6U) | (byte(i) & 0x3FU);
  }
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < kSmallestOfLength[length] || value > 0x10FFFF || surrogate) return {lead, 0};
  return {value, length};
}

size_t width_of(char32_t c) {
  if (in(c, kZeroWidth)) return 0;
  return in(c, kWide) ? 2 : 1;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const CodePoint c = decode(text);
    const size_t bytes = std::max<size_t>(c.bytes, 1);
    if (c.bytes == 0 || c.value < 0x20 || (c.value >= 0x7F && c.value < 0xA0)) {
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(c.value));
    } else if (in(c.value, kDeceptive)) {
      out += fmt::format("\\u{{{:x}}}", static_cast<uint32_t>(c.value));
    } else {
      out += text.substr(0, bytes);
    }
    text.remove_prefix(bytes);
  }
  return out;
}

size_t display_width(std::string_view text) {
  size_t width = 0;
  while (!text.empty()) {
    const CodePoint c = decode(text);
    width += width_of(c.value);
    text.remove_prefix(std::max<size_t>(c.bytes, 1));
  }
  return width;
}

std::string shorten_middle(std::string_view text, size_t width) {
  if (display_width(text) <= width) return std::string(text);
  const size_t head_width = (width - 1) / 2;
  const size_t tail_width = width - 1 - head_width;
  size_t head_end = 0;
  for (size_t used = 0; head_end < text.size();) {
    const CodePoint c = decode(text.substr(head_end));
    used += width_of(c.value);
    if (used > head_width) break;
    head_end += std::max<size_t>(c.bytes, 1);
  }
  size_t tail_start = head_end;
  for (size_t left = display_width(text.substr(head_end)); left > tail_width;) {
    const CodePoint c = decode(text.substr(tail_start));
    left -= width_of(c.value);
    tail_start += std::max<size_t>(c.bytes, 1);
  }
  return fmt::format("{}…{}", text.substr(0, head_end), text.substr(tail_start));
}

}  // namespace lobit
