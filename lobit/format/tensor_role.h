// What a tensor does in a transformer, told by its name in Hugging Face's or GGUF's convention.
#pragma once

#include <cstdint>
#include <string_view>

#include "lobit/base/export.h"

namespace lobit {

enum class TensorRole : uint8_t {
  kEmbedding,  // token, position and token-type embeddings
  kOutput,     // the projection to the vocabulary
  kAttention,  // q, k, v, o projections
  kFfn,        // gate, up, down projections and experts
  kNorm,
  kRouter,  // the gate that chooses experts
  kBias,
  kOther,
};

LOBIT_API std::string_view tensor_role_name(TensorRole role);

// "model.layers.3.self_attn.q_proj.weight", "blk.3.attn_q.weight" -> kAttention; kOther when nothing fits.
LOBIT_API TensorRole tensor_role(std::string_view name);

// The layer that a name belongs to ("model.layers.12.mlp...", "blk.12..."), or -1.
LOBIT_API int64_t tensor_layer(std::string_view name);

}  // namespace lobit
