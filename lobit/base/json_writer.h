// The one part of writing JSON that is easy to get wrong.
#pragma once

#include <string>
#include <string_view>

#include "lobit/base/export.h"

namespace lobit {

// Appends `text`, which is UTF-8, as a JSON string in double quotes. Characters beyond ASCII stand for
// themselves.
LOBIT_API void append_json_string(std::string& out, std::string_view text);

}  // namespace lobit
