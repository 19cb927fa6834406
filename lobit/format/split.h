// Models split over several GGUF files, NAME-00001-of-00003.gguf and so on: their names and the keys that say
// what part of what a file is. docs/formats/gguf.md has the rules. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lobit/base/export.h"

namespace lobit {

inline constexpr std::string_view kSplitNumberKey = "split.no";              // u16, from 0
inline constexpr std::string_view kSplitCountKey = "split.count";            // u16
inline constexpr std::string_view kSplitTensorsKey = "split.tensors.count";  // i32, of all parts together
inline constexpr uint32_t kMaxSplitParts = 65535;

struct SplitName {
  std::string stem;     // what precedes "-00001-of-00003.gguf"
  uint32_t number = 1;  // from 1, as people and file names count
  uint32_t count = 1;
};

// ("model", 1, 3) -> "model-00001-of-00003.gguf". `number` is from 1.
LOBIT_API std::string split_part_name(std::string_view stem, uint32_t number, uint32_t count);

// The reverse, of a file name without its folder; nothing when it is no part's name.
LOBIT_API std::optional<SplitName> parse_split_part_name(std::string_view file_name);

}  // namespace lobit
