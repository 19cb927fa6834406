// Text that comes from files, made safe to show and measured in terminal columns. Pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "lobit/base/export.h"

namespace lobit {

// `text` with everything spelled out that would act on a terminal or deceive a reader: control characters and
// bytes that are not UTF-8 as \x1b, invisible characters and those that reorder text as \u{202e}. The result
// is valid UTF-8 on one line.
LOBIT_API std::string printable(std::string_view text);

// The columns that valid UTF-8 fills in a terminal: 2 for wide East Asian characters and emoji, 0 for
// combining marks, 1 for all others.
LOBIT_API size_t display_width(std::string_view text);

// `text` if it fits `width` (> 0) columns, else its beginning and its end with an ellipsis between them. The
// end gets the odd column: the ends of tensor names tell more.
LOBIT_API std::string shorten_middle(std::string_view text, size_t width);

}  // namespace lobit
