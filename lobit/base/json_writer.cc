#include "lobit/base/json_writer.h"

#include <iterator>

#include <fmt/format.h>

#include "lobit/base/check.h"
#include "lobit/base/utf8.h"

namespace lobit {

void append_json_string(std::string& out, std::string_view text) {
  LOBIT_CHECK(utf8_valid_prefix(text) == text.size());
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace lobit
