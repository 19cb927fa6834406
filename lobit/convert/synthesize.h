// Makes up a Llama-shaped model of any size: seeded weights with the heavy tails that trained ones have, for
// trials and benchmarks. The same arguments give the same bytes on every machine, with any number of threads.
#pragma once

#include <cstdint>
#include <filesystem>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/convert/chunks.h"
#include "lobit/convert/execute.h"

namespace lobit {

struct SynthesizeOptions {
  uint64_t size = 0;                   // the most bytes of the file, which has nearly as many
  Encoding encoding = Encoding::kF16;  // F16, F32 or BF16, of matrices; norms are F32
  uint64_t seed = 1;
  size_t threads = 0;  // 0: one for each processor
  ExistingFiles existing = ExistingFiles::kRefuse;
  RunControl control = {};
};

// The shape of the model: a multiple of 256 columns everywhere, so that every encoding divides its rows.
struct SynthesizedShape {
  int64_t layers = 1;
  int64_t width = 256;  // columns of the residual stream
  int64_t ffn = 512;    // of the feed-forward part
  int64_t vocab = 256;  // rows of embedding and output
  int64_t heads = 4;    // of 64 columns
  int64_t kv_heads = 1;
};

// The shape whose file comes nearest to `options.size` from below. kInvalidArgument, naming the least, for a
// size under that of the smallest model (744 KiB in 16 bits, 1.5 MiB in F32).
LOBIT_API Result<SynthesizedShape> synthesized_shape(const SynthesizeOptions& options);

// Writes `target` (.gguf or .safetensors, in Llama's GGUF names or Hugging Face's), whole or not at all.
LOBIT_API Result<SynthesizedShape> synthesize(const std::filesystem::path& target,
                                              const SynthesizeOptions& options);

}  // namespace lobit
