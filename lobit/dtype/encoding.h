// Encoding: how values lie in memory and in files. One table says, for each, its name, its group of values
// that share a scale ("block"), the block's bytes, and what it is called in the two file formats. The
// quantized encodings are GGUF's blocks, bit for bit (ggml-common.h of ggml 0.25), little endian on every
// machine.
//
// All functions here are pure and may be called from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "lobit/base/export.h"
#include "lobit/dtype/dtype.h"

namespace lobit {

enum class Encoding : uint8_t {
  // Values as themselves.
  kF32,
  kF16,
  kBF16,
  // Block encodings that lobit writes and reads.
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ2_0,
  kQ1_0,
  kTQ2_0,
  kTQ1_0,
  // Block encodings that lobit reads.
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kQ8_K,
  // Block encodings of GGUF that lobit lists and copies.
  kQ8_1,
  kIQ2_XXS,
  kIQ2_XS,
  kIQ3_XXS,
  kIQ1_S,
  kIQ4_NL,
  kIQ3_S,
  kIQ2_S,
  kIQ4_XS,
  kIQ1_M,
  kMXFP4,
  kNVFP4,
  // Plain numbers that lobit lists and copies.
  kRawI8,
  kRawI16,
  kRawI32,
  kRawI64,
  kF64,
  kBool,
  kRawU8,
  kRawU16,
  kRawU32,
  kRawU64,
  kF8E4M3,
  kF8E5M2,
  kF8E8M0,
  kF8E4M3FNUZ,
  kF8E5M2FNUZ,
  kF6E2M3,
  kF6E3M2,
  kF4,
  kC64,
};
inline constexpr int kEncodingCount = static_cast<int>(Encoding::kC64) + 1;

struct EncodingTraits {
  Encoding encoding;
  std::string_view name;              // as ggml spells it, lower case: "q8_0"; raw integers "raw_i8"
  uint32_t block_elements;            // values in a block, 1 for plain numbers
  uint32_t block_bytes;               // bytes of a block
  bool can_encode;                    // F32 -> it
  bool can_decode;                    // it -> F32
  std::optional<uint32_t> ggml_type;  // number in a GGUF file
  std::string_view safetensors_name;  // name in a safetensors header, "" when it has none

  double bits_per_weight() const { return 8.0 * block_bytes / block_elements; }
  bool is_block() const { return block_elements > 1 && safetensors_name.empty(); }
};

LOBIT_API const EncodingTraits& traits(Encoding encoding);
inline std::string_view encoding_name(Encoding encoding) {
  return traits(encoding).name;
}

// All encodings in the order of the enumeration.
LOBIT_API std::span<const EncodingTraits> all_encodings();

// "Q8_0", "tq2_0", "raw_i8", or a dtype ("i8", "i4", "i2", "i1", "bitnet158") for its default encoding; any
// case. Nothing when the name is unknown.
LOBIT_API std::optional<Encoding> parse_encoding(std::string_view name);
LOBIT_API std::optional<Encoding> encoding_from_ggml(uint32_t type);
LOBIT_API std::optional<Encoding> encoding_from_safetensors(std::string_view name);

// The encoding that a dtype means when nothing else is said.
LOBIT_API Encoding default_encoding(DType dtype);

// The dtype whose values an encoding holds: the inverse of default_encoding(), and BitNet158 for TQ1_0 too.
// Nothing for encodings that no dtype stands for.
LOBIT_API std::optional<DType> dtype_of(Encoding encoding);

// Bytes of `elements` values; nothing when they do not fill whole blocks or the product does not fit.
LOBIT_API std::optional<uint64_t> encoded_bytes(Encoding encoding, uint64_t elements);

}  // namespace lobit
