#include "lobit/convert/synthesize.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/base/fp_env.h"
#include "lobit/convert/budget.h"
#include "lobit/convert/weight_table.h"
#include "lobit/convert/workers.h"
#include "lobit/format/gguf.h"
#include "lobit/format/safetensors.h"
#include "lobit/kernels/philox.h"

namespace lobit {
namespace {

// Elements of a chunk: its values in F32 and two buffers of random words stay in the second-level cache.
constexpr uint64_t kChunk = 1 << 16;
constexpr int64_t kMaxLayers = 512;  // LLAMA_MAX_LAYERS of llama.cpp

struct Width {
  int64_t width, ffn, vocab, kv_heads;
};
// Model widths from toy to 70B, each with the vocabulary it starts from.
constexpr std::array<Width, 7> kWidths{{{256, 256, 32, 1},
                                        {256, 512, 256, 1},
                                        {512, 1536, 4096, 2},
                                        {1024, 2816, 16384, 4},
                                        {2048, 5632, 32000, 4},
                                        {4096, 11008, 32000, 8},
                                        {8192, 28672, 32000, 8}}};

int64_t kv_columns(const SynthesizedShape& s) {
  return s.width / s.heads * s.kv_heads;
}

// Matrix elements of one layer.
int64_t layer_elements(const SynthesizedShape& s) {
  return 2 * s.width * s.width + 2 * s.width * kv_columns(s) + 3 * s.width * s.ffn;
}

SynthesizedShape one_layer(const Width& w) {
  return {1, w.width, w.ffn, w.vocab, w.width / 64, w.kv_heads};
}

// Bytes of a layer in the file: matrices, two norms in F32, and at most what its nine tensors take in the
// header and as padding.
int64_t layer_bytes(const SynthesizedShape& s, int64_t element_bytes) {
  return layer_elements(s) * element_bytes + 2 * s.width * 4 + 1400;
}

// Bytes of the rest: embedding and output, the last norm, and at most the header's other parts.
int64_t fixed_bytes(const SynthesizedShape& s, int64_t element_bytes) {
  return 2 * s.vocab * s.width * element_bytes + s.width * 4 + 2048;
}

class Names {
 public:
  explicit Names(bool gguf) : gguf_(gguf) {}
  std::string top(std::string_view gguf, std::string_view hf) const { return std::string(gguf_ ? gguf : hf); }
  std::string layer(int64_t n, std::string_view gguf, std::string_view hf) const {
    return gguf_ ? fmt::format("blk.{}.{}", n, gguf) : fmt::format("model.layers.{}.{}", n, hf);
  }

 private:
  bool gguf_;
};

std::vector<TensorSpec> tensors_of(const SynthesizedShape& s, Encoding encoding, bool gguf) {
  std::vector<TensorSpec> specs;
  const auto add = [&](std::string name, std::initializer_list<int64_t> extents) {
    const Encoding e = extents.size() == 1 ? Encoding::kF32 : encoding;
    specs.push_back({std::move(name), *Shape::create({extents.begin(), extents.size()}), e});
  };
  const Names names(gguf);
  const int64_t kv = kv_columns(s);
  add(names.top("token_embd.weight", "model.embed_tokens.weight"), {s.vocab, s.width});
  for (int64_t n = 0; n < s.layers; ++n) {
    add(names.layer(n, "attn_norm.weight", "input_layernorm.weight"), {s.width});
    add(names.layer(n, "attn_q.weight", "self_attn.q_proj.weight"), {s.width, s.width});
    add(names.layer(n, "attn_k.weight", "self_attn.k_proj.weight"), {kv, s.width});
    add(names.layer(n, "attn_v.weight", "self_attn.v_proj.weight"), {kv, s.width});
    add(names.layer(n, "attn_output.weight", "self_attn.o_proj.weight"), {s.width, s.width});
    add(names.layer(n, "ffn_norm.weight", "post_attention_layernorm.weight"), {s.width});
    add(names.layer(n, "ffn_gate.weight", "mlp.gate_proj.weight"), {s.ffn, s.width});
    add(names.layer(n, "ffn_up.weight", "mlp.up_proj.weight"), {s.ffn, s.width});
    add(names.layer(n, "ffn_down.weight", "mlp.down_proj.weight"), {s.width, s.ffn});
  }
  add(names.top("output_norm.weight", "model.norm.weight"), {s.width});
  add(names.top("output.weight", "lm_head.weight"), {s.vocab, s.width});
  return specs;
}

// What llama.cpp needs to open a model; "no_vocab" because there is no text behind the tokens.
Metadata gguf_metadata(const SynthesizedShape& s, Encoding encoding) {
  const auto u32 = [](int64_t value) { return MetadataValue::u32(static_cast<uint32_t>(value)); };
  MetadataValue epsilon;
  epsilon.type = MetadataType::kF32;
  const float value = 1e-5f;
  epsilon.bytes.assign(reinterpret_cast<const char*>(&value), sizeof value);
  Metadata m;
  m.set("general.architecture", MetadataValue::string("llama"));
  m.set("general.name", MetadataValue::string("lobit synthetic"));
  m.set("general.file_type", u32(encoding == Encoding::kF32 ? 0 : encoding == Encoding::kF16 ? 1 : 32));
  m.set("llama.block_count", u32(s.layers));
  m.set("llama.context_length", u32(2048));
  m.set("llama.embedding_length", u32(s.width));
  m.set("llama.feed_forward_length", u32(s.ffn));
  m.set("llama.attention.head_count", u32(s.heads));
  m.set("llama.attention.head_count_kv", u32(s.kv_heads));
  m.set("llama.attention.layer_norm_rms_epsilon", epsilon);
  m.set("llama.rope.dimension_count", u32(s.width / s.heads));
  m.set("llama.vocab_size", u32(s.vocab));
  m.set("tokenizer.ggml.model", MetadataValue::string("no_vocab"));
  return m;
}

// Fills chunks of the model's tensors: matrices from the table, norms around one.
class Generator {
 public:
  Generator(Encoding encoding, uint64_t seed)
      : table_(weight_table(encoding == Encoding::kBF16 ? Encoding::kBF16 : Encoding::kF16)),
        encoding_(encoding),
        seed_(seed) {}

  // `buffer` holds 8 bytes for each of the chunk's elements; the returned part of it is the chunk's bytes.
  std::span<const std::byte> fill(const TensorSpec& spec, const Chunk& chunk,
                                  std::span<std::byte> buffer) const {
    auto* const words = reinterpret_cast<uint16_t*>(buffer.data());
    const std::span<std::byte> wide = buffer.subspan(chunk.count * 4, chunk.count * 4);
    kernels::fill_from_table(seed_, 2 * chunk.item, chunk.first, table_.data(), words, chunk.count);
    if (spec.encoding != Encoding::kF32) return buffer.first(chunk.count * 2);
    auto* const values = reinterpret_cast<float*>(wide.data());
    kernels::decoder(encoding_ == Encoding::kBF16 ? Encoding::kBF16 : Encoding::kF16)(words, values,
                                                                                      chunk.count);
    if (spec.shape.rank() == 1) {
      for (size_t i = 0; i < chunk.count; ++i) values[i] = 1.0f + values[i];
    } else {
      fill_low_bits(chunk, words, values);
    }
    return wide;
  }

 private:
  // F32 weights use their whole mantissa: the 13 bits that F16 lacks are random too.
  void fill_low_bits(const Chunk& chunk, uint16_t* words, float* values) const {
    static const std::vector<uint16_t> kIdentity = [] {
      std::vector<uint16_t> identity(65536);
      for (size_t i = 0; i < identity.size(); ++i) identity[i] = static_cast<uint16_t>(i);
      return identity;
    }();
    kernels::fill_from_table(seed_, 2 * chunk.item + 1, chunk.first, kIdentity.data(), words, chunk.count);
    for (size_t i = 0; i < chunk.count; ++i) {
      values[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(values[i]) ^ (words[i] & 0x1FFFu));
    }
  }

  std::vector<uint16_t> table_;
  Encoding encoding_;
  uint64_t seed_;
};

Status write_tensors(OutputFile& file, const FileLayout& layout, std::span<const TensorSpec> specs,
                     const SynthesizeOptions& options) {
  LOBIT_TRY(
      Workers workers,
      Workers::create({.threads = options.threads, .usual_bytes = kChunk * 8, .least_bytes = kChunk * 8}));
  std::vector<ChunkedItem> items;
  for (const TensorSpec& spec : specs) {
    const uint64_t elements = spec.shape.elements();
    items.push_back({spec.name, elements, kChunk, bytes_before(spec.encoding, elements)});
  }
  const Generator generator(options.encoding, options.seed);
  return for_each_chunk(workers.threads, items, options.control, [&](size_t worker, const Chunk& chunk) {
    const TensorSpec& spec = specs[chunk.item];
    const uint64_t at = layout.offsets[chunk.item] + bytes_before(spec.encoding, chunk.first);
    return file.write_at(at, generator.fill(spec, chunk, workers.buffers[worker].bytes()));
  });
}

}  // namespace

Result<SynthesizedShape> synthesized_shape(const SynthesizeOptions& options) {
  const bool known = options.encoding == Encoding::kF16 || options.encoding == Encoding::kF32 ||
                     options.encoding == Encoding::kBF16;
  if (!known) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("synthetic model: expected f16, f32 or bf16, found {}", encoding_name(options.encoding)));
  }
  const int64_t element_bytes = traits(options.encoding).block_bytes;
  const auto size = static_cast<int64_t>(std::min<uint64_t>(options.size, uint64_t{1} << 60));
  const SynthesizedShape smallest = one_layer(kWidths[0]);
  const int64_t least = fixed_bytes(smallest, element_bytes) + layer_bytes(smallest, element_bytes);
  if (size < least) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("synthetic model: expected a size of at least {} for {}, found {}",
                            format_bytes(static_cast<uint64_t>(least)), encoding_name(options.encoding),
                            format_bytes(options.size)),
                {.required = static_cast<uint64_t>(least), .available = options.size});
  }
  // The widest model that still gets a few layers; then as many layers as fit, and the rest into the
  // vocabulary.
  SynthesizedShape best;
  for (const Width& w : kWidths) {
    const SynthesizedShape s = one_layer(w);
    const int64_t few = w.width == kWidths[0].width ? 1 : 8;
    const int64_t free = size - fixed_bytes(s, element_bytes);
    if (&w != kWidths.data() && few * layer_bytes(s, element_bytes) > free) break;
    best = s;
    best.layers = std::clamp<int64_t>(free / layer_bytes(s, element_bytes), 1, kMaxLayers);
  }
  const int64_t rest =
      size - best.layers * layer_bytes(best, element_bytes) - fixed_bytes(best, element_bytes);
  best.vocab += std::max<int64_t>(0, rest / (2 * best.width * element_bytes));
  return best;
}

Result<SynthesizedShape> synthesize(const std::filesystem::path& target, const SynthesizeOptions& options) {
  const ScopedFpEnv fp_env;
  const bool gguf = target.extension() == ".gguf";
  if (!gguf && target.extension() != ".safetensors") {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: expected a name that ends in .gguf or .safetensors", target.native()));
  }
  LOBIT_TRY(const SynthesizedShape shape, synthesized_shape(options));
  std::error_code ignored;
  if (options.existing == ExistingFiles::kRefuse && std::filesystem::exists(target, ignored)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: exists and is not to be replaced (--overwrite allows it)", target.native()));
  }
  const std::vector<TensorSpec> specs = tensors_of(shape, options.encoding, gguf);
  LOBIT_TRY(const FileLayout layout, gguf ? layout_gguf(gguf_metadata(shape, options.encoding), specs)
                                          : layout_safetensors(Metadata{}, specs));
  std::vector<OutputFile> files;
  LOBIT_TRY(OutputFile file, OutputFile::create(target, layout.file_bytes));
  LOBIT_RETURN_IF_ERROR(file.write_at(0, std::as_bytes(std::span(layout.header))));
  LOBIT_RETURN_IF_ERROR(write_tensors(file, layout, specs, options));
  files.push_back(std::move(file));
  LOBIT_RETURN_IF_ERROR(commit_all(files, Durability::kNone));
  return shape;
}

}  // namespace lobit
