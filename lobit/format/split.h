// Names of the files of a split model.
#pragma once
#include <string>
#include <string_view>
#include "lobit/base/export.h"
namespace lobit {
inline constexpr size_t kMaxSplitParts = 65535;
LOBIT_API std::string split_part_name(std::string_view stem, size_t part, size_t parts, std::string_view suffix);
}
