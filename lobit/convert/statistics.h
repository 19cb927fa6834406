// What a model's values look like: their range, mean and oddities, tensor by tensor.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/convert/chunks.h"
#include "lobit/format/model.h"
#include "lobit/memory/memory_resource.h"

namespace lobit {

// The first four are over the finite values, NaN when there is none.
struct ValueSummary {
  double min = 0;
  double max = 0;
  double mean = 0;
  double standard_deviation = 0;
  uint64_t zeros = 0;
  uint64_t nans = 0;
  uint64_t infinities = 0;
};

struct StatisticsOptions {
  uint64_t memory_limit = 0;  // these three as in ExecuteOptions
  MemoryResource* memory = nullptr;
  size_t threads = 0;
  RunControl control = {};
};

// One for each tensor, in order; nothing for those that cannot be decoded. Errors: kLimit, kIo, kCancelled,
// those of `memory`.
LOBIT_API Result<std::vector<std::optional<ValueSummary>>> model_statistics(const Model& model,
                                                                            const StatisticsOptions& options);

}  // namespace lobit
