// The distribution of made-up weights: quantiles of Student's t with 4 degrees of freedom, scaled to a
// standard deviation of 0.02, as 65,536 16-bit floats. Heavy tails (the largest is 17 standard deviations
// out) as in trained models. Computed with +, -, *, / and sqrt alone, which IEEE 754 defines to the last bit,
// so the table is the same everywhere.
#pragma once

#include <cstdint>
#include <vector>

#include "lobit/dtype/encoding.h"

namespace lobit {

// Entry i is the quantile at (i + 1/2) / 65536, in F16 or BF16.
std::vector<uint16_t> weight_table(Encoding encoding);

}  // namespace lobit
