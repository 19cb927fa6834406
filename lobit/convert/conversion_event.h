// ConversionEvent: what one conversion did. Every entry point of an engine records one for each tensor, and
// all statistics come from these. A plain value.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "lobit/base/error.h"
#include "lobit/convert/conversion_strategy.h"
#include "lobit/device/device.h"
#include "lobit/dtype/dtype.h"
#include "lobit/dtype/value_format.h"

namespace lobit {

struct ConversionEvent {
  uint64_t number = 0;  // 1, 2, ... since the engine was made or its statistics cleared
  std::chrono::system_clock::time_point started = {};
  std::chrono::nanoseconds duration = {};  // in a batch, of the tensor's own chunks, added up

  bool success = false;
  ErrorCode error_code = ErrorCode::kInvalidArgument;  // without success
  std::string error_message = {};

  ConversionStrategy strategy = ConversionStrategy::kStandard;  // the one that ran, never kAuto
  ConversionQuality quality = ConversionQuality::kBalanced;
  Device device = {};
  ValueFormat source_format = {};
  ValueFormat target_format = {};
  std::optional<DType> source_dtype = {};  // nothing when no dtype has the encoding
  std::optional<DType> target_dtype = {};

  uint64_t elements = 0;
  uint64_t input_bytes = 0;       // as stored, scales included
  uint64_t output_bytes = 0;      // 0 without success
  uint64_t allocated_bytes = 0;   // asked of the memory resource: the result and buffers
  uint64_t peak_bytes = 0;        // of those, at the same time
  uint64_t flushed = 0;           // groups too small for their scale, stored as zeros
  uint64_t saturated = 0;         // groups changed by OverflowRule::kSaturate
  uint64_t chunks = 0;            // that the work was cut into

  double duration_ms() const { return std::chrono::duration<double, std::milli>(duration).count(); }
};

}  // namespace lobit
