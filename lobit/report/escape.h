// Escaping for HTML. Internal to report.
#pragma once

#include <string>
#include <string_view>

namespace lobit::detail {

// `text` made printable() and safe both between tags and inside a quoted attribute.
std::string escape_html(std::string_view text);

// JSON as the content of a <script> element: the same document, without a character that could end it.
std::string escape_script_json(std::string_view json);

}  // namespace lobit::detail
