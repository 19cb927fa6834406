// RandomOptions: what Tensor::random() fills a tensor with. The values are a function of the seed and the
// element's index, the same on every machine and for any number of threads. A plain value.
#pragma once

#include <cstdint>

#include "lobit/base/export.h"
#include "lobit/base/result.h"

namespace lobit {

enum class Distribution : uint8_t { kUniform, kNormal };

struct RandomOptions {
  uint64_t seed = 0;
  Distribution distribution = Distribution::kUniform;
  // Of kUniform: low <= value < high (or = low when they are equal).
  float low = -1.0f;
  float high = 1.0f;
  // Of kNormal. No value is more than 4.5 deviations from the mean.
  float mean = 0.0f;
  float deviation = 1.0f;
};

// kInvalidArgument for limits that are not finite or out of order, or a deviation below 0.
LOBIT_API Status check_random_options(const RandomOptions& options);

// out[i] = value `first` + i of the sequence. The default floating-point environment is expected.
LOBIT_API void fill_random(const RandomOptions& options, uint64_t first, float* out, size_t count);

}  // namespace lobit
