#include "lobit/convert/planar_stream.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include <fmt/format.h>

#include "lobit/base/check.h"
#include "lobit/convert/budget.h"
#include "lobit/convert/value_errors.h"
#include "lobit/kernels/codec.h"
#include "lobit/kernels/planar.h"

namespace lobit {
namespace {

constexpr std::string_view kRemedy = "OverflowRule::kSaturate stores the nearest value";

// The bytes of codes and of scales that a chunk has in a format.
struct Span {
  uint64_t codes_at = 0;
  uint64_t codes = 0;
  uint64_t scales_at = 0;
  uint64_t scales = 0;
};

Span span_of(const RowLayout& rows, const Chunk& chunk) {
  const uint64_t end = chunk.first + chunk.count;
  Span span;
  span.codes_at = rows.code_offset(chunk.first);
  span.codes = rows.code_offset(end) - span.codes_at;
  // A single row ends with the rest of a byte.
  if (end % rows.columns == 0) span.codes = end / rows.columns * rows.layout.row_bytes - span.codes_at;
  if (!rows.format.is_planar()) return span;
  const uint64_t first = rows.scale_index(chunk.first);
  span.scales_at = rows.layout.scale_offset + first * sizeof(float);
  span.scales = (rows.scale_index(end - 1) + 1 - first) * sizeof(float);
  return span;
}

constexpr uint64_t on_lines(uint64_t bytes) {
  return (bytes + 63) & ~uint64_t{63};
}

// Calls use(first, count) for the parts of a chunk that lie in one row each.
template <typename Use>
Status each_row(const Chunk& chunk, uint64_t columns, Use use) {
  const uint64_t end = chunk.first + chunk.count;
  for (uint64_t at = chunk.first, n = 0; at < end; at += n) {
    n = std::min(end - at, columns - at % columns);
    LOBIT_RETURN_IF_ERROR(use(at, n));
  }
  return {};
}

// Of a single short group: whole bytes.
uint64_t whole_bytes_group(const RowLayout& rows) {
  return (group_elements(rows.format.scales, rows.columns, rows.columns) + 7) / 8 * 8;
}

}  // namespace

// Where a chunk's parts lie in a buffer.
struct PlanarStream::Parts {
  Span source;
  Span target;
  std::span<std::byte> tile;
  float* values;
  std::byte* source_codes;
  std::byte* target_codes;
  std::byte* source_scales;
  std::byte* target_scales;

  Parts(const RowLayout& from, const RowLayout& to, const Chunk& chunk, std::span<std::byte> buffer)
      : source(span_of(from, chunk)), target(span_of(to, chunk)) {
    size_t at = Recoder::kTileBytes;
    tile = buffer.first(at);
    const auto take = [&](uint64_t bytes) {
      std::byte* const part = buffer.data() + at;
      at += on_lines(bytes);
      return part;
    };
    values = reinterpret_cast<float*>(take(chunk.count * sizeof(float)));
    source_codes = take(source.codes);
    target_codes = take(target.codes);
    source_scales = take(source.scales);
    target_scales = take(target.scales);
    LOBIT_CHECK(at <= buffer.size());
  }
};

PlanarStream::PlanarStream(const FileValues& from, const FileTarget& to, const RowLayout& from_rows,
                           const RowLayout& to_rows, QuantizeMethod method, OverflowRule overflow)
    : from_(from),
      to_(to),
      from_rows_(from_rows),
      to_rows_(to_rows),
      scales_{.encoding = to.encoding, .method = method, .overflow = overflow} {}

uint64_t PlanarStream::granule(const RowLayout& from, const RowLayout& to, uint64_t rows) {
  if (to.format.scales == ScaleGroup::kRow) return to.columns;
  return std::max(run_granule(border_elements(from.format), from.columns, rows),
                  run_granule(border_elements(to.format), to.columns, rows));
}

uint64_t PlanarStream::buffer_bytes(const RowLayout& from, const RowLayout& to, uint64_t elements) {
  // A chunk that begins within a row has no more codes and scales than one that begins with it, but for one
  // byte and one scale of the row that it ends in.
  const Span source = span_of(from, {.first = 0, .count = elements});
  const Span target = span_of(to, {.first = 0, .count = elements});
  return Recoder::kTileBytes + on_lines(elements * sizeof(float)) + on_lines(source.codes + 1) +
         on_lines(target.codes + 1) + on_lines(source.scales + sizeof(float)) +
         on_lines(target.scales + sizeof(float));
}

Status PlanarStream::check_method() const {
  if (is_copy() || to_rows_.format.scales != ScaleGroup::kTensor) return {};
  if (scales_.method == QuantizeMethod::kDirect) return {};
  return fail(ErrorCode::kUnsupported,
              fmt::format("tensor '{}': {}: the method {} needs all values of a scale in memory at once: "
                          "expected the method direct (Fast), or a scale for each row",
                          from_.name, to_string(to_rows_.format), quantize_method_name(scales_.method)),
              {.from = to_string(from_rows_.format), .to = to_string(to_rows_.format)});
}

size_t PlanarStream::most_measures() const {
  if (is_copy() || to_rows_.format.scales != ScaleGroup::kTensor) return 0;
  return scales_.overflow == OverflowRule::kSaturate ? 2 : 1;
}

Status PlanarStream::measure(const ChunkedItem& values, std::span<std::byte> buffer,
                             const std::array<RunControl, kMostMeasures>& controls, RecodeCounts& counts) {
  if (most_measures() == 0) return {};
  PlanarExtent extent;
  const auto each_chunk = [&](const RunControl& control, auto use) {
    return for_each_chunk(ChunkWorkers{}, {&values, 1}, control, [&](size_t, const Chunk& chunk) -> Status {
      const Parts parts(from_rows_, to_rows_, chunk, buffer);
      LOBIT_RETURN_IF_ERROR(read(chunk, parts));
      decode(chunk, parts);
      return use(chunk, parts.values);
    });
  };
  const bool refuses = scales_.overflow == OverflowRule::kRefuse;
  LOBIT_RETURN_IF_ERROR(each_chunk(controls[0], [&](const Chunk& chunk, const float* all) -> Status {
    kernels::measure_planar(to_.encoding, all, chunk.count, extent);
    if (refuses && !is_finite(to_.encoding, extent)) return refuse(chunk.first, all, chunk.count);
    largest_ = refuses ? 0 : largest_finite(all, chunk.count, largest_);
    return {};
  }));
  largest_ = or_default(largest_);
  if (!is_finite(to_.encoding, extent)) {
    ++counts.saturated;
    extent = {};
    LOBIT_RETURN_IF_ERROR(each_chunk(controls[1], [&](const Chunk& chunk, float* all) -> Status {
      make_finite(all, chunk.count, largest_);
      kernels::measure_planar(to_.encoding, all, chunk.count, extent);
      return {};
    }));
  }
  scale_ = direct_planar_scale(to_.encoding, extent);
  counts.encode.flushed += is_flushed(to_.encoding, extent, scale_) ? 1 : 0;
  return {};
}

Status PlanarStream::convert(const Chunk& chunk, std::span<std::byte> buffer, RecodeCounts& counts) const {
  const Parts parts(from_rows_, to_rows_, chunk, buffer);
  LOBIT_RETURN_IF_ERROR(read(chunk, parts));
  if (is_copy()) {
    std::copy_n(parts.source_codes, parts.source.codes, parts.target_codes);
    std::copy_n(parts.source_scales, parts.source.scales, parts.target_scales);
    return write(chunk, parts);
  }
  decode(chunk, parts);
  LOBIT_RETURN_IF_ERROR(to_rows_.format.is_planar() ? encode(chunk, parts, counts)
                                                    : encode_blocks(chunk, parts, counts));
  return write(chunk, parts);
}

Status PlanarStream::read(const Chunk& chunk, const Parts& parts) const {
  const Span& s = parts.source;
  LOBIT_RETURN_IF_ERROR(from_.source->read_at(from_.offset + s.codes_at, {parts.source_codes, s.codes}));
  if (s.scales > 0) {
    LOBIT_RETURN_IF_ERROR(from_.source->read_at(from_.offset + s.scales_at, {parts.source_scales, s.scales}));
  }
  return check_codes_of(chunk, parts);
}

Status PlanarStream::check_codes_of(const Chunk& chunk, const Parts& parts) const {
  if (from_.encoding != Encoding::kTQ2_0) return {};
  if (!from_rows_.format.is_planar()) {
    const uint64_t block = traits(from_.encoding).block_elements;
    return check_codes({from_.name, chunk.first / block, from_.offset}, from_.encoding, parts.source_codes,
                       chunk.count / block);
  }
  return each_row(chunk, from_rows_.columns, [&](uint64_t at, uint64_t n) -> Status {
    const std::byte* const codes = parts.source_codes + (from_rows_.code_offset(at) - parts.source.codes_at);
    const uint64_t bad = kernels::first_invalid_planar(from_.encoding, codes, n);
    if (bad < n) return invalid_code(from_.name, at + bad, to_string(from_rows_.format));
    return {};
  });
}

void PlanarStream::decode(const Chunk& chunk, const Parts& parts) const {
  if (!from_rows_.format.is_planar()) {
    if (from_.encoding == Encoding::kF32) {
      std::memcpy(parts.values, parts.source_codes, chunk.count * sizeof(float));
    } else {
      kernels::decoder(from_.encoding)(parts.source_codes, parts.values, chunk.count);
    }
    return;
  }
  const auto* const scales = reinterpret_cast<const float*>(parts.source_scales);
  const uint64_t first_scale = from_rows_.scale_index(chunk.first);
  static_cast<void>(each_row(chunk, from_rows_.columns, [&](uint64_t at, uint64_t n) -> Status {
    const std::byte* const codes = parts.source_codes + (from_rows_.code_offset(at) - parts.source.codes_at);
    float* const values = parts.values + (at - chunk.first);
    const float* const scale = scales + (from_rows_.scale_index(at) - first_scale);
    if (from_rows_.format.scales == ScaleGroup::kTensor) {
      kernels::decode_planar(from_.encoding, codes, values, n, *scale);
    } else {
      kernels::decode_planar_groups(from_.encoding, codes, scale, values, n, whole_bytes_group(from_rows_));
    }
    return {};
  }));
}

Status PlanarStream::encode(const Chunk& chunk, const Parts& parts, RecodeCounts& counts) const {
  auto* const scales = reinterpret_cast<float*>(parts.target_scales);
  const uint64_t first_scale = to_rows_.scale_index(chunk.first);
  if (to_rows_.format.scales == ScaleGroup::kTensor) scales[0] = scale_;
  return each_row(chunk, to_rows_.columns, [&](uint64_t at, uint64_t n) {
    return encode_piece(at, n, parts.values + (at - chunk.first),
                        parts.target_codes + (to_rows_.code_offset(at) - parts.target.codes_at),
                        scales + (to_rows_.scale_index(at) - first_scale), counts);
  });
}

// Of one row, from a border on.
Status PlanarStream::encode_piece(uint64_t first, uint64_t count, float* values, std::byte* codes,
                                  float* scales, RecodeCounts& counts) const {
  if (to_rows_.format.scales == ScaleGroup::kTensor) {
    if (scales_.overflow == OverflowRule::kSaturate) make_finite(values, count, largest_);
    kernels::encode_planar(to_.encoding, values, codes, count, scale_);
    return {};
  }
  const uint64_t group = group_elements(to_rows_.format.scales, to_rows_.columns, to_rows_.columns);
  for (uint64_t at = 0; at < count; at += group) {
    const uint64_t n = std::min(group, count - at);
    const auto scale = find_planar_scale(scales_, values + at, n, counts);
    if (!scale) return refuse(first + at, values + at, n);
    scales[at / group] = *scale;
    kernels::encode_planar(to_.encoding, values + at, codes + at * planar_bits(to_.encoding) / 8, n, *scale);
  }
  return {};
}

// From planar codes to a format that is not planar.
Status PlanarStream::encode_blocks(const Chunk& chunk, const Parts& parts, RecodeCounts& counts) const {
  if (to_.encoding == Encoding::kF32) {
    std::memcpy(parts.target_codes, parts.values, chunk.count * sizeof(float));
    return {};
  }
  Recoder recoder(parts.tile);
  const RecodeSpec spec{.from = Encoding::kF32,
                        .to = to_.encoding,
                        .saturate = scales_.overflow == OverflowRule::kSaturate,
                        .method = scales_.method};
  const auto* const in = reinterpret_cast<const std::byte*>(parts.values);
  const RecodeCounts run = recoder.run(spec, in, parts.target_codes, chunk.count);
  if (run.encode.unrepresentable > 0) {
    const auto offender = recoder.find_unrepresentable(spec, in, chunk.count);
    LOBIT_CHECK(offender.has_value());
    return unrepresentable_value(from_.name, chunk.first + offender->index, offender->value,
                                 to_string(from_rows_.format), to_string(to_rows_.format), kRemedy);
  }
  counts += run;
  return {};
}

Status PlanarStream::write(const Chunk& chunk, const Parts& parts) const {
  const Span& s = parts.target;
  const FormatLayout& layout = to_rows_.layout;
  const bool is_last = chunk.first + chunk.count == from_.elements;
  const uint64_t all_codes = from_.elements / to_rows_.columns * layout.row_bytes;
  if (is_last && layout.scale_offset > all_codes) {
    // What lies between codes and scales is zero.
    constexpr std::array<std::byte, sizeof(float)> kZeros{};
    LOBIT_CHECK(layout.scale_offset - all_codes <= kZeros.size());
    LOBIT_RETURN_IF_ERROR(
        to_.file->write_at(to_.offset + all_codes, std::span(kZeros).first(layout.scale_offset - all_codes)));
  }
  LOBIT_RETURN_IF_ERROR(to_.file->write_at(to_.offset + s.codes_at, {parts.target_codes, s.codes}));
  if (s.scales == 0 || (to_rows_.format.scales == ScaleGroup::kTensor && chunk.first > 0)) return {};
  return to_.file->write_at(to_.offset + s.scales_at, {parts.target_scales, s.scales});
}

Status PlanarStream::refuse(uint64_t first, const float* values, uint64_t count) const {
  const float* const bad =
      std::find_if_not(values, values + count, [](float value) { return std::isfinite(value); });
  LOBIT_CHECK(bad != values + count);
  return unrepresentable_value(from_.name, first + static_cast<uint64_t>(bad - values), *bad,
                               to_string(from_rows_.format), to_string(to_rows_.format), kRemedy);
}

}  // namespace lobit
