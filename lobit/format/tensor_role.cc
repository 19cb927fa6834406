#include "lobit/format/tensor_role.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>

#include "lobit/base/check.h"

namespace lobit {
namespace {

using enum TensorRole;

// How a rule is held against a name without its ".weight" or ".bias", in lower case.
enum class Match : uint8_t {
  kWhole,     // the whole name
  kEnd,       // the last parts of the name, from a dot on
  kStart,     // the start of the last part
  kAnywhere,  // somewhere in the last part
};

struct Rule {
  Match match;
  std::string_view text;
  TensorRole role;
};

// The first rule that fits decides, so the narrower stand above the wider: a norm inside attention is a norm,
// the gate of a mixture of experts is a router and the gate of a gated feed-forward layer is not.
constexpr Rule kRules[] = {
    {Match::kAnywhere, "norm", kNorm},
    {Match::kEnd, "ln_1", kNorm},  // GPT-2
    {Match::kEnd, "ln_2", kNorm},
    {Match::kEnd, "ln_f", kNorm},
    {Match::kEnd, "ln_attn", kNorm},  // Falcon
    {Match::kEnd, "ln_mlp", kNorm},

    {Match::kStart, "ffn_gate_inp", kRouter},  // GGUF
    {Match::kStart, "exp_probs_b", kRouter},
    {Match::kEnd, "block_sparse_moe.gate", kRouter},  // Mixtral
    {Match::kEnd, "mlp.gate", kRouter},               // DeepSeek, Qwen MoE
    {Match::kEnd, "mlp.gate.e_score_correction_bias", kRouter},
    {Match::kEnd, "shared_expert_gate", kRouter},
    {Match::kEnd, "router", kRouter},

    {Match::kEnd, "embed_tokens", kEmbedding},
    {Match::kEnd, "embed_positions", kEmbedding},
    {Match::kEnd, "embed_in", kEmbedding},  // GPT-NeoX
    {Match::kEnd, "tok_embeddings", kEmbedding},
    {Match::kEnd, "word_embeddings", kEmbedding},  // BERT, Falcon
    {Match::kEnd, "position_embeddings", kEmbedding},
    {Match::kEnd, "token_type_embeddings", kEmbedding},
    {Match::kEnd, "wte", kEmbedding},  // GPT-2
    {Match::kEnd, "wpe", kEmbedding},
    {Match::kEnd, "token_embd", kEmbedding},  // GGUF
    {Match::kEnd, "per_layer_token_embd", kEmbedding},
    {Match::kEnd, "position_embd", kEmbedding},
    {Match::kEnd, "token_types", kEmbedding},

    {Match::kEnd, "lm_head", kOutput},
    {Match::kEnd, "embed_out", kOutput},
    {Match::kEnd, "predictions.decoder", kOutput},
    {Match::kWhole, "output", kOutput},

    {Match::kEnd, "q_proj", kAttention},
    {Match::kEnd, "k_proj", kAttention},
    {Match::kEnd, "v_proj", kAttention},
    {Match::kEnd, "o_proj", kAttention},
    {Match::kEnd, "qkv_proj", kAttention},
    {Match::kEnd, "q_a_proj", kAttention},  // DeepSeek's latent attention
    {Match::kEnd, "q_b_proj", kAttention},
    {Match::kEnd, "kv_a_proj_with_mqa", kAttention},
    {Match::kEnd, "kv_b_proj", kAttention},
    {Match::kEnd, "attention.wq", kAttention},
    {Match::kEnd, "attention.wk", kAttention},
    {Match::kEnd, "attention.wv", kAttention},
    {Match::kEnd, "attention.wo", kAttention},
    {Match::kEnd, "attn.c_attn", kAttention},  // GPT-2
    {Match::kEnd, "attn.c_proj", kAttention},
    {Match::kEnd, "attn.out_proj", kAttention},
    {Match::kEnd, "attn.wqkv", kAttention},
    {Match::kEnd, "self.query", kAttention},  // BERT
    {Match::kEnd, "self.key", kAttention},
    {Match::kEnd, "self.value", kAttention},
    {Match::kEnd, "attention.output.dense", kAttention},
    {Match::kEnd, "query_key_value", kAttention},  // Falcon, GPT-NeoX
    {Match::kEnd, "attention.dense", kAttention},
    {Match::kEnd, "self_attention.dense", kAttention},
    {Match::kEnd, "self_attn.dense", kAttention},  // Phi
    {Match::kEnd, "self_attn.out_proj", kAttention},
    {Match::kStart, "attn_", kAttention},  // GGUF

    {Match::kEnd, "gate_proj", kFfn},
    {Match::kEnd, "up_proj", kFfn},
    {Match::kEnd, "down_proj", kFfn},
    {Match::kEnd, "gate_up_proj", kFfn},
    {Match::kEnd, "w1", kFfn},  // Mixtral's experts, Llama's own names
    {Match::kEnd, "w2", kFfn},
    {Match::kEnd, "w3", kFfn},
    {Match::kEnd, "mlp.c_fc", kFfn},  // GPT-2
    {Match::kEnd, "mlp.c_proj", kFfn},
    {Match::kEnd, "fc1", kFfn},  // Phi
    {Match::kEnd, "fc2", kFfn},
    {Match::kEnd, "dense_h_to_4h", kFfn},
    {Match::kEnd, "dense_4h_to_h", kFfn},
    {Match::kEnd, "intermediate.dense", kFfn},  // BERT
    {Match::kEnd, "output.dense", kFfn},
    {Match::kStart, "ffn_", kFfn},  // GGUF
};

constexpr std::string_view kLayerWords[] = {"layers", "layer", "blk", "h", "blocks", "block"};

bool ends_at_dot(std::string_view name, std::string_view end) {
  return name.ends_with(end) && (name.size() == end.size() || name[name.size() - end.size() - 1] == '.');
}

bool matches(const Rule& rule, std::string_view name) {
  const std::string_view last = name.substr(name.rfind('.') + 1);  // npos + 1 is 0
  switch (rule.match) {
    case Match::kWhole:
      return name == rule.text;
    case Match::kEnd:
      return ends_at_dot(name, rule.text);
    case Match::kStart:
      return last.starts_with(rule.text);
    case Match::kAnywhere:
      return last.find(rule.text) != std::string_view::npos;
  }
  return false;
}

}  // namespace

std::string_view tensor_role_name(TensorRole role) {
  constexpr std::string_view kNames[] = {"embedding", "output", "attention", "ffn",
                                         "norm",      "router", "bias",      "other"};
  const auto index = static_cast<size_t>(role);
  LOBIT_CHECK(index < std::size(kNames));
  return kNames[index];
}

TensorRole tensor_role(std::string_view name) {
  std::string lower(name);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); });
  std::string_view stem = lower;
  const bool is_bias = stem.ends_with("bias");
  for (const std::string_view parameter : {".weight", ".bias"}) {
    if (stem.ends_with(parameter)) stem.remove_suffix(parameter.size());
  }
  const Rule* rule = std::ranges::find_if(kRules, [&](const Rule& r) { return matches(r, stem); });
  const TensorRole role = rule == std::end(kRules) ? kOther : rule->role;
  // The bias of a norm or router is kept as precise as the rest of it, so it shares its role.
  return is_bias && role != kNorm && role != kRouter ? kBias : role;
}

int64_t tensor_layer(std::string_view name) {
  bool after_layer_word = false;
  while (!name.empty()) {
    const std::string_view part = name.substr(0, name.find('.'));
    if (after_layer_word) {
      int32_t number = 0;
      const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), number);
      if (error == std::errc() && end == part.data() + part.size() && number >= 0) return number;
    }
    after_layer_word = std::ranges::find(kLayerWords, part) != std::end(kLayerWords);
    name.remove_prefix(std::min(name.size(), part.size() + 1));
  }
  return -1;
}

}  // namespace lobit
