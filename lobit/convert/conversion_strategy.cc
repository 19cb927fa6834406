#include "lobit/convert/conversion_strategy.h"

#include <algorithm>

#include <fmt/format.h>

#include "lobit/base/bytes.h"

namespace lobit {
namespace {

constexpr std::array<std::string_view, kConversionStrategyCount> kStrategyNames = {
    "auto", "zero-copy", "in-place", "streaming", "standard"};
constexpr std::array<std::string_view, 3> kQualityNames = {"fast", "balanced", "precise"};

template <typename Enum, size_t kCount>
std::optional<Enum> parse(const std::array<std::string_view, kCount>& names, std::string_view name) {
  const auto found = std::ranges::find(names, name);
  if (found == names.end()) return std::nullopt;
  return static_cast<Enum>(found - names.begin());
}

}  // namespace

std::string_view conversion_strategy_name(ConversionStrategy strategy) {
  return kStrategyNames[static_cast<size_t>(strategy)];
}

std::optional<ConversionStrategy> parse_conversion_strategy(std::string_view name) {
  return parse<ConversionStrategy>(kStrategyNames, name);
}

std::string_view conversion_quality_name(ConversionQuality quality) {
  return kQualityNames[static_cast<size_t>(quality)];
}

std::optional<ConversionQuality> parse_conversion_quality(std::string_view name) {
  return parse<ConversionQuality>(kQualityNames, name);
}

std::string StrategyInfo::description() const {
  if (!is_supported) return "not supported";
  const std::string memory =
      memory_overhead_bytes == 0 ? "no new memory" : format_bytes(memory_overhead_bytes) + " of new memory";
  const std::string size = compression_ratio == 1 ? "same size"
                           : compression_ratio > 1
                               ? fmt::format("{:.2f}x smaller", compression_ratio)
                               : fmt::format("{:.2f}x larger", 1 / compression_ratio);
  return fmt::format("{}: about {:.3g} ms, {}, {}", conversion_strategy_name(strategy), estimated_time_ms,
                     memory, size);
}

}  // namespace lobit
