#include "lobit/base/json_writer.h"

#include <iterator>

#include <fmt/format.h>

#include "lobit/base/check.h"
#include "lobit/base/utf8.h"

namespace lobit {

void append_json_string(std::string& out, std::string_view text) {
  LOBIT_CHECK(utf8_valid_prefix(text) == text.size());
  out += '"';
  size_t copied = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.append(text, copied, i - copied);
    copied = i + 1;
    if (c < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += '\\';
      out += text[i];
    }
  }
  out.append(text, copied);
  out += '"';
}

}  // namespace lobit
