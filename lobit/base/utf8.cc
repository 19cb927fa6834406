#include "lobit/base/utf8.h"

#include <iterator>

#include <fmt/format.h>

#include "lobit/base/check.h"

namespace lobit {
namespace {

bool in_range(std::string_view text, size_t at, uint8_t low, uint8_t high) {
  if (at >= text.size()) return false;
  const auto byte = static_cast<uint8_t>(text[at]);
  return byte >= low && byte <= high;
}

bool continues(std::string_view text, size_t at) {
  return in_range(text, at, 0x80, 0xBF);
}

}  // namespace

size_t utf8_character_bytes(std::string_view text) {
  if (text.empty()) return 0;
  const auto lead = static_cast<uint8_t>(text[0]);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return continues(text, 1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const uint8_t low = lead == 0xE0 ? 0xA0 : 0x80;   // below: overlong
    const uint8_t high = lead == 0xED ? 0x9F : 0xBF;  // above: surrogates
    return in_range(text, 1, low, high) && continues(text, 2) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const uint8_t low = lead == 0xF0 ? 0x90 : 0x80;   // below: overlong
    const uint8_t high = lead == 0xF4 ? 0x8F : 0xBF;  // above: U+10FFFF
    return in_range(text, 1, low, high) && continues(text, 2) && continues(text, 3) ? 4 : 0;
  }
  return 0;
}

size_t utf8_valid_prefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t bytes = utf8_character_bytes(text.substr(at));
    if (bytes == 0) break;
    at += bytes;
  }
  return at;
}

void append_utf8(std::string& out, uint32_t code_point) {
  LOBIT_CHECK(code_point < 0x110000 && (code_point < 0xD800 || code_point > 0xDFFF));
  const auto append = [&out](uint32_t byte) { out += static_cast<char>(byte); };
  if (code_point < 0x80) return append(code_point);
  if (code_point < 0x800) {
    append(0xC0 | code_point >> 6);
  } else if (code_point < 0x10000) {
    append(0xE0 | code_point >> 12);
    append(0x80 | (code_point >> 6 & 0x3F));
  } else {
    append(0xF0 | code_point >> 18);
    append(0x80 | (code_point >> 12 & 0x3F));
    append(0x80 | (code_point >> 6 & 0x3F));
  }
  append(0x80 | (code_point & 0x3F));
}

std::string quoted(std::string_view name, size_t max_bytes) {
  std::string out = "'";
  while (!name.empty()) {
    const size_t bytes = utf8_character_bytes(name);
    if (out.size() + bytes > max_bytes) return out + "...'";
    const auto lead = static_cast<uint8_t>(name[0]);
    // U+0080 to U+009F, which start with C2, are control characters too.
    const bool control =
        lead < 0x20 || lead == 0x7F || (lead == 0xC2 && static_cast<uint8_t>(name[1]) < 0xA0);
    if (bytes == 0 || control) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", lead);
      name.remove_prefix(1);
    } else {
      out += name.substr(0, bytes);
      name.remove_prefix(bytes);
    }
  }
  return out + "'";
}

}  // namespace lobit
