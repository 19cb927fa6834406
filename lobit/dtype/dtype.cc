#include "lobit/dtype/dtype.h"

#include <algorithm>

namespace lobit {
namespace {

constexpr std::array<std::string_view, kAllDTypes.size()> kNames{"f32", "f16", "bf16", "i8",
                                                                 "i4",  "i2",  "i1",   "bitnet158"};

char lower(char c) {
  return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

}  // namespace

std::string_view dtype_name(DType dtype) {
  return kNames[static_cast<size_t>(dtype)];
}

std::optional<DType> parse_dtype(std::string_view name) {
  for (const DType dtype : kAllDTypes) {
    const auto same = [](char typed, char known) { return lower(typed) == known; };
    if (std::ranges::equal(name, dtype_name(dtype), same)) return dtype;
  }
  return std::nullopt;
}

}  // namespace lobit
