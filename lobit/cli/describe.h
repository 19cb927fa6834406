// Values as the commands show them.
#pragma once

#include <string>
#include <string_view>

#include "lobit/tensor/shape.h"

namespace lobit::cli {

// "4096x11008"; "scalar".
std::string shape_text(const Shape& shape);

// A word as a POSIX shell reads it back.
std::string shell_quoted(std::string_view word);

// 64 bits as 16 hexadecimal digits.
std::string hash_text(uint64_t hash);

}  // namespace lobit::cli
