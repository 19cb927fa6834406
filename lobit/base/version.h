// The version of lobit, as in `lobit --version` and in the files that it writes.
#pragma once

#include <string_view>

namespace lobit {

inline constexpr std::string_view kVersion = "0.1.0";

}  // namespace lobit
