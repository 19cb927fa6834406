// BitNet b1.58's scale: gamma = mean |w| over a whole tensor.
#pragma once

#include <span>
#include <vector>

#include "lobit/base/result.h"
#include "lobit/convert/chunks.h"
#include "lobit/convert/workers.h"
#include "lobit/format/tensor_entry.h"
#include "lobit/io/source.h"

namespace lobit {

struct AbsMeanJob {
  const TensorEntry* tensor = nullptr;  // its encoding can be decoded
  const ByteSource* file = nullptr;
};

// The mean magnitude of each tensor. The workers' buffers hold at least Recoder::kTileBytes +
// kLeastChunkBytes and their table what absmean_bytes() says of each tensor. Sums are taken in double over
// runs of fixed length and added in order, so the result depends on nothing but the values. NaN and Inf: left
// out with `skip_non_finite`, else kDataLoss.
Result<std::vector<float>> absmean(Workers& workers, std::span<const AbsMeanJob> jobs,
                                   const RunControl& control, bool skip_non_finite);

// What absmean() needs of the table for a tensor of so many elements.
uint64_t absmean_bytes(uint64_t elements);

}  // namespace lobit
