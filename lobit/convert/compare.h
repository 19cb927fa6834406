// Compares two models tensor by tensor: how far the values are apart, and whether the bytes are the same.
#pragma once

#include <string>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/convert/chunks.h"
#include "lobit/format/model.h"
#include "lobit/kernels/measure.h"
#include "lobit/memory/memory_resource.h"

namespace lobit {

enum class ComparisonStatus : uint8_t {
  kIdentical,  // same encoding, same bytes
  kMeasured,   // `error` says how far B is from A
  kOnlyInA,
  kOnlyInB,
  kShapeDiffers,
  kNotComparable,  // one side cannot be decoded and the bytes differ
};

struct TensorComparison {
  std::string name;
  ComparisonStatus status = ComparisonStatus::kMeasured;
  const TensorEntry* a = nullptr;  // of the models compared
  const TensorEntry* b = nullptr;
  kernels::ErrorSums error;  // with kMeasured and, all zero error, kIdentical
  // Of the elements that `error` leaves out: those that are neither the same Inf nor NaN on both sides.
  uint64_t unequal_non_finite = 0;
  // XXH3-64 of the stored bytes; of a tensor over 262,144 elements, of the little-endian hashes of its runs
  // of 262,144 elements.
  uint64_t hash_a = 0;
  uint64_t hash_b = 0;
};

struct CompareOptions {
  uint64_t memory_limit = 0;  // these three as in ExecuteOptions
  MemoryResource* memory = nullptr;
  size_t threads = 0;
  RunControl control = {};
};

// The least memory limit with which `model` can be compared with a conversion of itself.
LOBIT_API uint64_t least_comparison_limit(const Model& model);

// In the order of A's tensors, then those only B has. Errors: the readers', kLimit, those of `memory`.
LOBIT_API Result<std::vector<TensorComparison>> compare_models(const Model& a, const Model& b,
                                                               const CompareOptions& options);

}  // namespace lobit
