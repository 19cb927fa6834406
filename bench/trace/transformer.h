// The tensors that a language model allocates and frees while it answers requests: 16 layers, hidden size
// 1024, weights in F16 that stay, up to 8 requests at a time. Each request is prefilled alone, then all
// active ones decode a token per step. A made-up program, but the same one every time.
#pragma once

#include <cstddef>

#include "bench/trace/block_trace.h"

namespace lobit::bench {

// How the keys and values of a growing context are kept.
enum class KvGrowth {
  kConcat,  // one tensor per layer for each; replaced by one that is 32 tokens longer when it is full
  kPaged,   // pages of 16 tokens
};

// Every tensor is two blocks, its data and a header of 176 bytes. Only the weights are live at the end.
BlockTrace transformer_trace(KvGrowth growth, size_t requests);

}  // namespace lobit::bench
