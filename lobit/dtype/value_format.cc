#include "lobit/dtype/value_format.h"

#include <array>

#include "lobit/base/check.h"
#include "lobit/base/checked.h"

namespace lobit {
namespace {

using enum Encoding;

// Of ScaleGroup; 0 where the number of values depends on the shape.
constexpr std::array<uint32_t, 7> kGroupElements{0, 0, 0, 32, 64, 128, 256};

constexpr uint64_t kMaxBytes = INT64_MAX;

// Whether both are values of their enumerations.
bool is_known(ValueFormat format) {
  return static_cast<size_t>(format.encoding) < kEncodingCount &&
         static_cast<size_t>(format.scales) < kGroupElements.size();
}

std::optional<FormatLayout> block_layout(Encoding encoding, uint64_t rows, uint64_t columns) {
  if (rows == 0 || columns == 0) return FormatLayout{};
  const std::optional<uint64_t> row_bytes = encoded_bytes(encoding, columns);
  if (!row_bytes) return std::nullopt;
  const std::optional<uint64_t> bytes = checked_mul(*row_bytes, rows);
  if (!bytes || *bytes > kMaxBytes) return std::nullopt;
  const uint64_t blocks = *bytes / traits(encoding).block_bytes;
  return FormatLayout{.row_bytes = *row_bytes,
                      .scale_offset = *bytes,
                      .scale_bytes = blocks * block_scale_bytes(encoding),
                      .bytes = *bytes};
}

std::optional<uint64_t> planar_row_bytes(uint32_t bits, uint64_t columns) {
  const uint64_t per_byte = 8 / bits;
  const std::optional<uint64_t> padded = checked_round_up(columns, per_byte);
  if (!padded) return std::nullopt;
  return *padded / per_byte;
}

std::optional<FormatLayout> planar_layout(ValueFormat format, uint64_t rows, uint64_t columns) {
  FormatLayout layout;
  if (rows == 0 || columns == 0) return layout;
  const std::optional<uint64_t> row_bytes = planar_row_bytes(planar_bits(format.encoding), columns);
  if (!row_bytes) return std::nullopt;
  const std::optional<uint64_t> code_bytes = checked_mul(*row_bytes, rows);
  if (!code_bytes) return std::nullopt;
  const std::optional<uint64_t> scale_offset = checked_round_up<uint64_t>(*code_bytes, sizeof(float));
  if (!scale_offset) return std::nullopt;
  const uint64_t group = kGroupElements[static_cast<size_t>(format.scales)];
  const bool one = format.scales == ScaleGroup::kTensor;
  if (!one) layout.row_scales = group == 0 ? 1 : (columns - 1) / group + 1;
  const std::optional<uint64_t> scales = one ? uint64_t{1} : checked_mul(layout.row_scales, rows);
  if (!scales) return std::nullopt;
  const std::optional<uint64_t> scale_bytes = checked_mul<uint64_t>(*scales, sizeof(float));
  if (!scale_bytes) return std::nullopt;
  const std::optional<uint64_t> bytes = checked_add(*scale_offset, *scale_bytes);
  if (!bytes || *bytes > kMaxBytes) return std::nullopt;
  layout.row_bytes = *row_bytes;
  layout.scale_offset = *scale_offset;
  layout.scale_count = *scales;
  layout.scale_bytes = *scale_bytes;
  layout.bytes = *bytes;
  return layout;
}

}  // namespace

std::string to_string(ValueFormat format) {
  if (!is_known(format)) return "no format";
  if (!format.is_planar()) return std::string(encoding_name(format.encoding));
  const std::optional<DType> dtype = dtype_of(format.encoding);
  std::string text(dtype ? dtype_name(*dtype) : encoding_name(format.encoding));
  if (format.scales == ScaleGroup::kRow) return text + " per row";
  if (format.scales == ScaleGroup::kTensor) return text + " per tensor";
  return text + " per " + std::to_string(group_elements(format.scales, 0, 0));
}

std::optional<ValueFormat> parse_value_format(std::string_view text) {
  for (const EncodingTraits& t : all_encodings()) {
    for (size_t scales = 0; scales < kGroupElements.size(); ++scales) {
      const ValueFormat format{t.encoding, static_cast<ScaleGroup>(scales)};
      if (is_valid(format) && to_string(format) == text) return format;
    }
  }
  return std::nullopt;
}

uint32_t planar_bits(Encoding encoding) {
  switch (encoding) {
    case kQ8_0:
      return 8;
    case kQ4_0:
      return 4;
    case kQ2_0:
    case kTQ2_0:
      return 2;
    case kQ1_0:
      return 1;
    default:
      return 0;
  }
}

bool is_valid(ValueFormat format) {
  return is_known(format) && (!format.is_planar() || planar_bits(format.encoding) != 0);
}

uint64_t group_elements(ScaleGroup scales, uint64_t columns, uint64_t elements) {
  if (scales == ScaleGroup::kRow) return columns;
  if (scales == ScaleGroup::kTensor) return elements;
  return kGroupElements[static_cast<size_t>(scales)];
}

uint32_t border_elements(ValueFormat format) {
  if (!format.is_planar()) return traits(format.encoding).block_elements;
  const uint32_t group = kGroupElements[static_cast<size_t>(format.scales)];
  const uint32_t bits = planar_bits(format.encoding);
  LOBIT_CHECK(bits != 0);
  return group != 0 ? group : 8 / bits;
}

uint32_t block_scale_bytes(Encoding encoding) {
  switch (encoding) {
    case kQ8_0:
    case kQ4_0:
    case kQ5_0:
    case kQ2_0:
    case kQ1_0:
    case kTQ2_0:
    case kTQ1_0:
      return 2;
    case kQ4_1:
    case kQ5_1:
      return 4;
    case kQ3_K:
      return 14;
    case kQ4_K:
    case kQ5_K:
      return 16;
    case kQ6_K:
      return 18;
    case kQ2_K:
      return 20;
    case kQ8_K:
      return 36;
    default:
      return 0;
  }
}

std::optional<FormatLayout> format_layout(ValueFormat format, uint64_t rows, uint64_t columns) {
  if (!is_valid(format)) return std::nullopt;
  return format.is_planar() ? planar_layout(format, rows, columns)
                            : block_layout(format.encoding, rows, columns);
}

}  // namespace lobit
