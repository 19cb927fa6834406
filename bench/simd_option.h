// The option --simd of measuring programs.
#pragma once

#include <algorithm>
#include <string_view>

#include "lobit/kernels/simd.h"

namespace lobit::bench {

// Makes the kernels use the level of that name; "" leaves the one in use. False when there is no such level
// here.
inline bool choose_simd(std::string_view name) {
  if (name.empty()) return true;
  const auto named = [&](SimdLevel level) { return simd_level_name(level) == name; };
  const auto found = std::ranges::find_if(simd_levels(), named);
  return found != simd_levels().end() && set_simd_level(*found);
}

}  // namespace lobit::bench
