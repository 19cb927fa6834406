// The metadata of a conversion's output: the source's, translated between the formats without loss, and what
// lobit itself has to say.
#pragma once

#include <span>
#include <string_view>

#include "lobit/base/result.h"
#include "lobit/convert/plan.h"
#include "lobit/format/metadata.h"
#include "lobit/format/model.h"

namespace lobit {

// What the output records of how it was made. No times, paths or host names: the same input gives the same
// bytes.
struct Provenance {
  Encoding encoding = Encoding::kF32;
  TernaryRule ternary = TernaryRule::kDirect;
  QuantizeMethod method = QuantizeMethod::kDirect;
};

// Whether a key of safetensors metadata holds a value of GGUF.
bool is_gguf_key(std::string_view key);

// Whether a safetensors file was made from a GGUF file by lobit, so that its metadata can become GGUF's
// again.
bool carries_gguf_metadata(const Metadata& metadata);

// GGUF values become safetensors strings under "gguf.KEY" as JSON ({"type":"u32","value":32}) and back;
// safetensors strings become GGUF strings under their own key. For GGUF, general.file_type (llama.cpp's
// numbers) and general.quantization_version are set. kUnsupported for a value that JSON cannot hold (a string
// that is not UTF-8, a NaN), kCorrupt for a "gguf.KEY" that is not such JSON.
Result<Metadata> target_metadata(const Model& model, FileFormat target, const Provenance& provenance,
                                 std::span<const TensorSpec> tensors);

}  // namespace lobit
