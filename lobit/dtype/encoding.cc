#include "lobit/dtype/encoding.h"

#include <algorithm>
#include <array>
#include <string>

#include "lobit/base/check.h"
#include "lobit/base/checked.h"

namespace lobit {
namespace {

using enum Encoding;
constexpr auto kNone = std::nullopt;

// Block sizes: ggml-common.h of ggml; type numbers: enum ggml_type of ggml.h; names of the last column: the
// safetensors format. Sub-byte plain numbers count a block as the fewest values that fill whole bytes.
constexpr std::array<EncodingTraits, kEncodingCount> kTable{{
    {kF32, "f32", 1, 4, true, true, 0, "F32"},
    {kF16, "f16", 1, 2, true, true, 1, "F16"},
    {kBF16, "bf16", 1, 2, true, true, 30, "BF16"},
    {kQ8_0, "q8_0", 32, 34, true, true, 8, ""},
    {kQ4_0, "q4_0", 32, 18, true, true, 2, ""},
    {kQ4_1, "q4_1", 32, 20, true, true, 3, ""},
    {kQ5_0, "q5_0", 32, 22, true, true, 6, ""},
    {kQ5_1, "q5_1", 32, 24, true, true, 7, ""},
    {kQ2_0, "q2_0", 64, 18, true, true, 42, ""},
    {kQ1_0, "q1_0", 128, 18, true, true, 41, ""},
    {kTQ2_0, "tq2_0", 256, 66, true, true, 35, ""},
    {kTQ1_0, "tq1_0", 256, 54, true, true, 34, ""},
    {kQ2_K, "q2_k", 256, 84, false, true, 10, ""},
    {kQ3_K, "q3_k", 256, 110, false, true, 11, ""},
    {kQ4_K, "q4_k", 256, 144, false, true, 12, ""},
    {kQ5_K, "q5_k", 256, 176, false, true, 13, ""},
    {kQ6_K, "q6_k", 256, 210, false, true, 14, ""},
    {kQ8_K, "q8_k", 256, 292, false, true, 15, ""},
    {kQ8_1, "q8_1", 32, 36, false, false, 9, ""},
    {kIQ2_XXS, "iq2_xxs", 256, 66, false, false, 16, ""},
    {kIQ2_XS, "iq2_xs", 256, 74, false, false, 17, ""},
    {kIQ3_XXS, "iq3_xxs", 256, 98, false, false, 18, ""},
    {kIQ1_S, "iq1_s", 256, 50, false, false, 19, ""},
    {kIQ4_NL, "iq4_nl", 32, 18, false, false, 20, ""},
    {kIQ3_S, "iq3_s", 256, 110, false, false, 21, ""},
    {kIQ2_S, "iq2_s", 256, 82, false, false, 22, ""},
    {kIQ4_XS, "iq4_xs", 256, 136, false, false, 23, ""},
    {kIQ1_M, "iq1_m", 256, 56, false, false, 29, ""},
    {kMXFP4, "mxfp4", 32, 17, false, false, 39, ""},
    {kNVFP4, "nvfp4", 64, 36, false, false, 40, ""},
    {kRawI8, "raw_i8", 1, 1, false, false, 24, "I8"},
    {kRawI16, "raw_i16", 1, 2, false, false, 25, "I16"},
    {kRawI32, "raw_i32", 1, 4, false, false, 26, "I32"},
    {kRawI64, "raw_i64", 1, 8, false, false, 27, "I64"},
    {kF64, "f64", 1, 8, false, false, 28, "F64"},
    {kBool, "bool", 1, 1, false, false, kNone, "BOOL"},
    {kRawU8, "raw_u8", 1, 1, false, false, kNone, "U8"},
    {kRawU16, "raw_u16", 1, 2, false, false, kNone, "U16"},
    {kRawU32, "raw_u32", 1, 4, false, false, kNone, "U32"},
    {kRawU64, "raw_u64", 1, 8, false, false, kNone, "U64"},
    {kF8E4M3, "f8_e4m3", 1, 1, false, false, kNone, "F8_E4M3"},
    {kF8E5M2, "f8_e5m2", 1, 1, false, false, kNone, "F8_E5M2"},
    {kF8E8M0, "f8_e8m0", 1, 1, false, false, kNone, "F8_E8M0"},
    {kF8E4M3FNUZ, "f8_e4m3fnuz", 1, 1, false, false, kNone, "F8_E4M3FNUZ"},
    {kF8E5M2FNUZ, "f8_e5m2fnuz", 1, 1, false, false, kNone, "F8_E5M2FNUZ"},
    {kF6E2M3, "f6_e2m3", 4, 3, false, false, kNone, "F6_E2M3"},
    {kF6E3M2, "f6_e3m2", 4, 3, false, false, kNone, "F6_E3M2"},
    {kF4, "f4", 2, 1, false, false, kNone, "F4"},
    {kC64, "c64", 1, 8, false, false, kNone, "C64"},
}};

constexpr bool in_order() {
  for (int i = 0; i < kEncodingCount; ++i) {
    if (static_cast<int>(kTable[static_cast<size_t>(i)].encoding) != i) return false;
  }
  return true;
}
static_assert(in_order());

}  // namespace

const EncodingTraits& traits(Encoding encoding) {
  const auto index = static_cast<size_t>(encoding);
  LOBIT_DCHECK(index < kTable.size());
  return kTable[index];
}

std::span<const EncodingTraits> all_encodings() {
  return kTable;
}

std::optional<Encoding> parse_encoding(std::string_view name) {
  if (const std::optional<DType> dtype = parse_dtype(name)) return default_encoding(*dtype);
  std::string lower(name);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); });
  for (const EncodingTraits& t : kTable) {
    if (t.name == lower) return t.encoding;
  }
  return std::nullopt;
}

std::optional<Encoding> encoding_from_ggml(uint32_t type) {
  for (const EncodingTraits& t : kTable) {
    if (t.ggml_type == type) return t.encoding;
  }
  return std::nullopt;
}

std::optional<Encoding> encoding_from_safetensors(std::string_view name) {
  if (name.empty()) return std::nullopt;
  for (const EncodingTraits& t : kTable) {
    if (t.safetensors_name == name) return t.encoding;
  }
  return std::nullopt;
}

Encoding default_encoding(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return kF32;
    case DType::kF16:
      return kF16;
    case DType::kBF16:
      return kBF16;
    case DType::kI8:
      return kQ8_0;
    case DType::kI4:
      return kQ4_0;
    case DType::kI2:
      return kQ2_0;
    case DType::kI1:
      return kQ1_0;
    case DType::kBitNet158:
      return kTQ2_0;
  }
  return kF32;
}

std::optional<DType> dtype_of(Encoding encoding) {
  if (encoding == kTQ1_0) return DType::kBitNet158;
  for (const DType dtype : kAllDTypes) {
    if (default_encoding(dtype) == encoding) return dtype;
  }
  return std::nullopt;
}

std::optional<uint64_t> encoded_bytes(Encoding encoding, uint64_t elements) {
  const EncodingTraits& t = traits(encoding);
  if (elements % t.block_elements != 0) return std::nullopt;
  return checked_mul<uint64_t>(elements / t.block_elements, t.block_bytes);
}

}  // namespace lobit
