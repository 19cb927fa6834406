// UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing above U+10FFFF. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lobit/base/export.h"

namespace lobit {

// Bytes of the character that `text` starts with, 1 to 4; 0 when they are not UTF-8 or `text` is empty.
LOBIT_API size_t utf8_character_bytes(std::string_view text);

// Bytes from the start of `text` that are UTF-8: text.size() when all are.
LOBIT_API size_t utf8_valid_prefix(std::string_view text);

// Appends a code point below 0x110000 that is no surrogate.
LOBIT_API void append_utf8(std::string& out, uint32_t code_point);

// A name from a file as messages show it: in single quotes, what is not printable as \xNN, at most about
// `max_bytes` of it.
LOBIT_API std::string quoted(std::string_view name, size_t max_bytes = 80);

}  // namespace lobit
