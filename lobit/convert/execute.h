// Carries out a conversion plan: reads, converts and writes chunks on all cores, in buffers that a limit
// bounds.
#pragma once

#include <cstdint>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/convert/chunks.h"
#include "lobit/convert/overflow_rule.h"
#include "lobit/convert/plan.h"
#include "lobit/format/model.h"
#include "lobit/io/file.h"
#include "lobit/memory/memory_resource.h"

namespace lobit {

enum class ExistingFiles : uint8_t { kRefuse, kReplace };

struct ExecuteOptions {
  // The most bytes that the conversion holds: headers, plan and buffers. 0: no limit but the buffers' usual
  // size, about 1 MiB for each thread.
  uint64_t memory_limit = 0;
  // Where the buffers come from, and what the caller bounds, counts or shares them with; it outlives the
  // call, which gives everything back however it ends. None: a pool that keeps them within the memory limit.
  MemoryResource* memory = nullptr;
  size_t threads = 0;  // 0: one for each processor. Fewer are used when the limit holds no more buffers.
  OverflowRule overflow = OverflowRule::kRefuse;
  ExistingFiles existing = ExistingFiles::kRefuse;
  Durability durability = Durability::kNone;
  RunControl control = {};
};

// What happened to one tensor.
struct TensorCounts {
  uint64_t flushed = 0;    // groups too small for their scale, stored as zeros
  uint64_t saturated = 0;  // groups changed by OverflowRule::kSaturate (values, for F16 and BF16)
};

struct ConversionResult {
  std::vector<TensorCounts> tensors;  // in the plan's order
  size_t threads = 0;
  uint64_t buffer_bytes = 0;  // held by all threads together
  double seconds = 0;
};

// The errors that execute() would give before it writes anything: an existing target, a limit that is too
// small.
LOBIT_API Status check_execution(const Model& model, const ConversionPlan& plan,
                                 const ExecuteOptions& options);

// Writes the planned files, whole or not at all: they appear under their names when all are complete, the
// first part or the index last. `model` is the one that the plan was made from. Errors: kInvalidArgument when
// a target exists and may not be replaced; kLimit, before anything is written, naming the least limit that
// works; the errors of `memory`, before anything is written too; kDataLoss, kCorrupt (invalid codes in the
// source), kIo, kCancelled.
LOBIT_API Result<ConversionResult> execute(const Model& model, const ConversionPlan& plan,
                                           const ExecuteOptions& options);

}  // namespace lobit
