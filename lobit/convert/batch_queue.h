// BatchQueue: which tensors of a batch conversion are in work together. Groups them once, then hands out one
// batch after the other, smaller ones while memory is short. Pure but for its place in the list; one thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/convert/conversion_config.h"
#include "lobit/device/device.h"
#include "lobit/dtype/value_format.h"
#include "lobit/memory/memory_pressure_level.h"

namespace lobit {

// By the source's stored bytes.
enum class BatchSizeClass : uint8_t {
  kSmall,   // under 1 MiB
  kMedium,  // under 100 MiB
  kLarge,
};

BatchSizeClass batch_size_class(uint64_t source_bytes);

struct BatchItem {
  size_t index = 0;  // in the caller's list
  ValueFormat from = {};
  ValueFormat to = {};
  Device device = {};
  uint64_t source_bytes = 0;
  uint64_t result_bytes = 0;  // new memory
};

// Tensors that were in work together.
struct Batch {
  std::vector<size_t> tensors;  // their places in the caller's list, ascending
  uint64_t result_bytes = 0;    // of them together
  BatchSizeClass size_class = BatchSizeClass::kSmall;
  MemoryPressureLevel pressure = MemoryPressureLevel::kNone;  // when it was put together
  size_t threads = 1;                                         // that were allowed to work on it
};

// What a batch conversion did, beside its results.
struct BatchReport {
  std::vector<Batch> batches;  // in the order in which they were carried out
};

class BatchQueue {
 public:
  BatchQueue(std::span<const BatchItem> items, const BatchConfig& config);

  bool empty() const { return next_ == order_.size(); }
  // The next batch: at most config.max_batch_size tensors of one group with at most max_batch_memory of
  // results; half of both under medium pressure, a quarter under high, one tensor under critical pressure. At
  // least one tensor. Not to be called when empty.
  Batch next(MemoryPressureLevel pressure);

 private:
  bool same_group(const BatchItem& a, const BatchItem& b) const;

  const BatchConfig config_;
  std::vector<BatchItem> order_;  // group after group
  size_t next_ = 0;
};

}  // namespace lobit
