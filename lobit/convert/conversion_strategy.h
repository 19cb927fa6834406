// How a tensor is converted: the strategies, the qualities, and what is known of a conversion before it runs.
// Plain values; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lobit/base/export.h"
#include "lobit/quant/quantize_method.h"

namespace lobit {

enum class ConversionStrategy : uint8_t {
  kAuto,       // whichever of the others fits: zero copy, in place, streaming, standard, asked in this order
  kZeroCopy,   // the result shares the source's storage
  kInPlace,    // the result lies where the source lay
  kStreaming,  // into new storage, in chunks of a chosen size by a chosen number of threads
  kStandard,   // into new storage, in chunks that fit the second-level cache, by all threads
};
inline constexpr size_t kConversionStrategyCount = 5;

// How much time the scales of a low-bit target may take. Fast is ggml's direct rule, Balanced searches and
// refines, Precise finds the least squared error. F16 and BF16 are the same at every quality.
enum class ConversionQuality : uint8_t { kFast, kBalanced, kPrecise };

// "auto", "zero-copy", "in-place", "streaming", "standard".
LOBIT_API std::string_view conversion_strategy_name(ConversionStrategy strategy);
LOBIT_API std::optional<ConversionStrategy> parse_conversion_strategy(std::string_view name);

// "fast", "balanced", "precise".
LOBIT_API std::string_view conversion_quality_name(ConversionQuality quality);
LOBIT_API std::optional<ConversionQuality> parse_conversion_quality(std::string_view name);

// The method that a quality stands for.
constexpr QuantizeMethod quantize_method(ConversionQuality quality) {
  switch (quality) {
    case ConversionQuality::kFast:
      return QuantizeMethod::kDirect;
    case ConversionQuality::kBalanced:
      return QuantizeMethod::kScaled;
    case ConversionQuality::kPrecise:
      return QuantizeMethod::kExact;
  }
  return QuantizeMethod::kDirect;
}

// What a conversion will do, said before it runs.
struct LOBIT_API StrategyInfo {
  ConversionStrategy strategy = ConversionStrategy::kStandard;  // never kAuto
  bool is_supported = false;                                    // that convert() succeeds, as far as dtypes and
                                                                // device decide
  double estimated_time_ms = 0;                                 // from speeds measured on this machine
  uint64_t memory_overhead_bytes = 0;  // taken beside the source at the same time, the result included
  double compression_ratio = 1;        // stored bytes of the source to those of the result
  bool is_zero_copy = false;
  bool is_in_place = false;

  // "standard: about 0.41 ms, 2.1 MiB of new memory, 3.76x smaller"
  std::string description() const;
};

}  // namespace lobit
