#include "lobit/format/tensor_role.h"

#include <string_view>

#include <gtest/gtest.h>

namespace lobit {
namespace {

struct NamedRole {
  std::string_view name;
  TensorRole role;
  int64_t layer;
};

using enum TensorRole;

// Names as published models carry them.
constexpr NamedRole kNames[] = {
    // Llama, Mistral, Qwen (Hugging Face)
    {"model.embed_tokens.weight", kEmbedding, -1},
    {"model.layers.0.self_attn.q_proj.weight", kAttention, 0},
    {"model.layers.0.self_attn.q_proj.bias", kBias, 0},
    {"model.layers.31.self_attn.k_proj.weight", kAttention, 31},
    {"model.layers.31.self_attn.v_proj.weight", kAttention, 31},
    {"model.layers.31.self_attn.o_proj.weight", kAttention, 31},
    {"model.layers.7.self_attn.q_norm.weight", kNorm, 7},
    {"model.layers.7.self_attn.rotary_emb.inv_freq", kOther, 7},
    {"model.layers.125.mlp.gate_proj.weight", kFfn, 125},
    {"model.layers.125.mlp.up_proj.weight", kFfn, 125},
    {"model.layers.125.mlp.down_proj.weight", kFfn, 125},
    {"model.layers.2.input_layernorm.weight", kNorm, 2},
    {"model.layers.2.post_attention_layernorm.weight", kNorm, 2},
    {"model.norm.weight", kNorm, -1},
    {"lm_head.weight", kOutput, -1},
    {"lm_head.bias", kBias, -1},
    // Llama's own checkpoint
    {"tok_embeddings.weight", kEmbedding, -1},
    {"layers.4.attention.wq.weight", kAttention, 4},
    {"layers.4.feed_forward.w2.weight", kFfn, 4},
    {"layers.4.attention_norm.weight", kNorm, 4},
    {"output.weight", kOutput, -1},
    // Gemma
    {"model.layers.9.pre_feedforward_layernorm.weight", kNorm, 9},
    {"model.layers.9.post_feedforward_layernorm.weight", kNorm, 9},
    {"language_model.model.layers.5.mlp.up_proj.weight", kFfn, 5},
    // BitNet
    {"model.layers.0.self_attn.attn_sub_norm.weight", kNorm, 0},
    {"model.layers.0.mlp.ffn_sub_norm.weight", kNorm, 0},
    {"model.layers.0.mlp.down_proj.weight_scale", kOther, 0},
    // Mixtral, DeepSeek, Qwen MoE
    {"model.layers.3.block_sparse_moe.gate.weight", kRouter, 3},
    {"model.layers.3.block_sparse_moe.experts.7.w1.weight", kFfn, 3},
    {"model.layers.3.mlp.gate.weight", kRouter, 3},
    {"model.layers.3.mlp.gate.e_score_correction_bias", kRouter, 3},
    {"model.layers.3.mlp.experts.255.down_proj.weight", kFfn, 3},
    {"model.layers.3.mlp.shared_experts.gate_proj.weight", kFfn, 3},
    {"model.layers.3.mlp.shared_expert_gate.weight", kRouter, 3},
    {"model.layers.3.mlp.router.weight", kRouter, 3},
    {"model.layers.3.mlp.router.bias", kRouter, 3},
    {"model.layers.3.mlp.experts.gate_up_proj", kFfn, 3},
    {"model.layers.3.self_attn.q_a_proj.weight", kAttention, 3},
    {"model.layers.3.self_attn.q_a_layernorm.weight", kNorm, 3},
    {"model.layers.3.self_attn.kv_a_proj_with_mqa.weight", kAttention, 3},
    {"model.layers.3.self_attn.kv_b_proj.weight", kAttention, 3},
    // BERT
    {"embeddings.word_embeddings.weight", kEmbedding, -1},
    {"embeddings.position_embeddings.weight", kEmbedding, -1},
    {"embeddings.token_type_embeddings.weight", kEmbedding, -1},
    {"embeddings.position_ids", kOther, -1},
    {"embeddings.LayerNorm.bias", kNorm, -1},
    {"encoder.layer.5.attention.self.query.weight", kAttention, 5},
    {"encoder.layer.5.attention.self.value.bias", kBias, 5},
    {"encoder.layer.5.attention.output.dense.weight", kAttention, 5},
    {"encoder.layer.5.attention.output.LayerNorm.weight", kNorm, 5},
    {"encoder.layer.5.intermediate.dense.weight", kFfn, 5},
    {"encoder.layer.5.output.dense.weight", kFfn, 5},
    {"encoder.layer.5.output.dense.bias", kBias, 5},
    {"pooler.dense.weight", kOther, -1},
    {"cls.predictions.decoder.weight", kOutput, -1},
    // GPT-2, GPT-NeoX, Falcon, Phi
    {"wte.weight", kEmbedding, -1},
    {"transformer.wpe.weight", kEmbedding, -1},
    {"h.11.attn.c_attn.weight", kAttention, 11},
    {"transformer.h.11.attn.c_proj.weight", kAttention, 11},
    {"transformer.h.11.mlp.c_proj.weight", kFfn, 11},
    {"transformer.h.11.ln_1.weight", kNorm, 11},
    {"ln_f.weight", kNorm, -1},
    {"gpt_neox.layers.1.attention.query_key_value.weight", kAttention, 1},
    {"gpt_neox.layers.1.mlp.dense_4h_to_h.weight", kFfn, 1},
    {"embed_out.weight", kOutput, -1},
    {"model.layers.1.self_attn.qkv_proj.weight", kAttention, 1},
    {"model.layers.1.mlp.gate_up_proj.weight", kFfn, 1},
    {"model.layers.1.mlp.fc1.bias", kBias, 1},
    // GGUF
    {"token_embd.weight", kEmbedding, -1},
    {"token_types.weight", kEmbedding, -1},
    {"position_embd.weight", kEmbedding, -1},
    {"token_embd_norm.weight", kNorm, -1},
    {"output_norm.weight", kNorm, -1},
    {"rope_freqs.weight", kOther, -1},
    {"blk.0.attn_q.weight", kAttention, 0},
    {"blk.0.attn_q.bias", kBias, 0},
    {"blk.0.attn_output.weight", kAttention, 0},
    {"blk.0.attn_kv_a_mqa.weight", kAttention, 0},
    {"blk.0.attn_kv_a_norm.weight", kNorm, 0},
    {"blk.0.attn_norm.weight", kNorm, 0},
    {"blk.0.attn_sub_norm.weight", kNorm, 0},
    {"blk.0.post_ffw_norm.weight", kNorm, 0},
    {"blk.61.ffn_gate.weight", kFfn, 61},
    {"blk.61.ffn_down_exps.weight", kFfn, 61},
    {"blk.61.ffn_gate_shexp.weight", kFfn, 61},
    {"blk.61.ffn_gate_inp.weight", kRouter, 61},
    {"blk.61.ffn_gate_inp_shexp.weight", kRouter, 61},
    {"blk.61.exp_probs_b.bias", kRouter, 61},
    // Not a model's names
    {"", kOther, -1},
    {".", kOther, -1},
    {"weight", kOther, -1},
    {"layers.", kOther, -1},
    {"layers.-3.x", kOther, -1},
    {"layers.99999999999.x", kOther, -1},
    {"layers.12a.x", kOther, -1},
    {"myrouters.weight", kOther, -1},
};

TEST(TensorRole, IsToldByPublishedNames) {
  for (const NamedRole& n : kNames)
    EXPECT_EQ(tensor_role_name(tensor_role(n.name)), tensor_role_name(n.role)) << n.name;
}

TEST(TensorRole, LayerIsTheNumberAfterTheLayerWord) {
  for (const NamedRole& n : kNames) EXPECT_EQ(tensor_layer(n.name), n.layer) << n.name;
}

TEST(TensorRole, HasOneNameEach) {
  EXPECT_EQ(tensor_role_name(kEmbedding), "embedding");
  EXPECT_EQ(tensor_role_name(kFfn), "ffn");
  EXPECT_EQ(tensor_role_name(kOther), "other");
}

}  // namespace
}  // namespace lobit
