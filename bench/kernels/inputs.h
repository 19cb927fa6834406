// What the kernels are fed: values distributed like a model's weights, and blocks made of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lobit/dtype/encoding.h"

namespace lobit::bench {

// `count` values: a bell curve of width 0.02 and, one in about 500, an outlier up to 16 times that. The same
// on every machine.
std::vector<float> heavy_tailed(size_t count);

// Fills `bytes` with valid blocks of `encoding`. Encodings that lobit writes hold `values`, over and over;
// the others hold random bytes below 64, which keeps every scale finite.
void fill_blocks(Encoding encoding, const std::vector<float>& values, std::vector<uint8_t>& bytes);

// Repeats the first `period` bytes through all of `bytes`.
void repeat(std::vector<uint8_t>& bytes, size_t period);

}  // namespace lobit::bench
