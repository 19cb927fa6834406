#include "lobit/quant/quantize_method.h"

#include <algorithm>
#include <array>
#include <string>

#include "lobit/dtype/block_codes.h"

namespace lobit {
namespace {

constexpr std::array<std::string_view, 3> kNames{"direct", "scaled", "exact"};
constexpr std::array<std::string_view, 4> kScaledNames{"i4", "i2", "i1", "bitnet158"};

}  // namespace

std::string_view quantize_method_name(QuantizeMethod method) {
  return kNames[static_cast<size_t>(method)];
}

std::optional<QuantizeMethod> parse_quantize_method(std::string_view name) {
  const auto found = std::ranges::find(kNames, name);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<QuantizeMethod>(found - kNames.begin());
}

QuantizeMethod method_of_name(std::string_view encoding_name) {
  std::string lower(encoding_name);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return std::ranges::find(kScaledNames, lower) != kScaledNames.end() ? QuantizeMethod::kScaled
                                                                      : QuantizeMethod::kDirect;
}

bool has_scale_search(Encoding to) {
  return code_range(to) || affine_top_code(to);
}

}  // namespace lobit
