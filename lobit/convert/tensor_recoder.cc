#include "lobit/convert/tensor_recoder.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "lobit/base/check.h"
#include "lobit/convert/budget.h"
#include "lobit/convert/planar_group.h"
#include "lobit/convert/value_errors.h"
#include "lobit/kernels/planar.h"
#include "lobit/memory/buffer.h"
#include "lobit/quant/quantizer.h"

namespace lobit {
namespace {

constexpr uint64_t kTile = Recoder::kTileElements;
constexpr std::string_view kRemedy = "OverflowRule::kSaturate stores the nearest value";

struct alignas(64) Tile {
  float values[kTile];
  std::span<std::byte> bytes() { return std::as_writable_bytes(std::span(values)); }
};

}  // namespace

TensorRecoder::TensorRecoder(const Tensor& source, ValueFormat to, const FormatLayout& layout,
                             const TensorRecoderOptions& options)
    : source_(&source),
      from_(source.format()),
      to_(to),
      layout_(layout),
      options_(options),
      columns_(std::max<uint64_t>(1, source.shape().row_elements())),
      elements_(source.elements()) {
  const uint64_t rows = elements_ / columns_;
  uint64_t border = border_elements(to_);
  if (to_.is_planar()) {
    group_ = std::max<uint64_t>(1, group_elements(to_.scales, columns_, elements_));
    const bool long_groups = to_.scales == ScaleGroup::kRow || to_.scales == ScaleGroup::kTensor;
    if (group_ > kTile) {
      measured_groups_ = elements_ / group_;
    } else if (long_groups) {
      border = group_;
    }
  }
  granule_ =
      std::max(run_granule(border, columns_, rows), run_granule(border_elements(from_), columns_, rows));
  if (to_.scales == ScaleGroup::kTensor && measured_groups_ == 0) granule_ = std::max<uint64_t>(1, elements_);
  if (const auto bytes = source_->bytes()) bytes_ = bytes->data();
  direct_ = !from_.is_planar() && !to_.is_planar() && !options_.in_place && bytes_ != nullptr;
}

// How many elements of a run go into the tile next. Planar rows are cut at borders alone: whole rows while
// they fit, else a piece of one.
uint64_t TensorRecoder::tile_elements(uint64_t at, uint64_t end) const {
  if (!from_.is_planar() && !to_.is_planar()) return std::min(kTile, end - at);
  const uint64_t column = at % columns_;
  const uint64_t fit =
      column == 0 && columns_ <= kTile ? kTile / columns_ * columns_ : std::min(kTile, columns_ - column);
  return std::min(fit, end - at);
}

std::string_view TensorRecoder::name() const {
  return source_->name();
}

uint64_t TensorRecoder::scratch_bytes() const {
  if (measured_groups_ == 0 || options_.method == QuantizeMethod::kDirect) return 0;
  return group_ * sizeof(float);
}

uint64_t TensorRecoder::stand_in_bytes() const {
  return options_.overflow == OverflowRule::kSaturate ? measured_groups_ * sizeof(float) : 0;
}

Status TensorRecoder::run(uint64_t first, uint64_t count, RecodeCounts& counts) const {
  if (to_.is_planar()) return run_rows(first, count, counts);
  return direct_ ? run_direct(first, count, counts) : run_blocks(first, count, counts);
}

// Through a fused kernel where there is one.
Status TensorRecoder::run_direct(uint64_t first, uint64_t count, RecodeCounts& counts) const {
  LOBIT_RETURN_IF_ERROR(check_source(first, count));
  Tile tile;
  Recoder recoder(tile.bytes());
  const RecodeSpec spec{.from = from_.encoding,
                        .to = to_.encoding,
                        .saturate = options_.overflow == OverflowRule::kSaturate,
                        .method = options_.method};
  const std::byte* const in = bytes_ + bytes_before(from_.encoding, first);
  const RecodeCounts run = recoder.run(spec, in, codes_ + bytes_before(to_.encoding, first), count);
  if (run.encode.unrepresentable > 0) {
    const auto offender = recoder.find_unrepresentable(spec, in, count);
    LOBIT_CHECK(offender.has_value());
    return unrepresentable_value(name(), first + offender->index, offender->value, to_string(from_),
                                 to_string(to_), kRemedy);
  }
  counts += run;
  return {};
}

// Tile by tile, from any format and strides.
Status TensorRecoder::run_blocks(uint64_t first, uint64_t count, RecodeCounts& counts) const {
  Tile values;
  Tile spare;
  Recoder recoder(spare.bytes());
  const RecodeSpec spec{.from = Encoding::kF32,
                        .to = to_.encoding,
                        .saturate = options_.overflow == OverflowRule::kSaturate,
                        .method = options_.method};
  for (uint64_t at = first, n = 0; at < first + count; at += n) {
    n = tile_elements(at, first + count);
    LOBIT_RETURN_IF_ERROR(check_source(at, n));
    decode(at, n, values.values);
    std::byte* const out = codes_ + bytes_before(to_.encoding, at);
    if (to_.encoding == Encoding::kF32) {
      std::memcpy(out, values.values, n * sizeof(float));
      continue;
    }
    const std::byte* const in = values.bytes().data();
    const RecodeCounts run = recoder.run(spec, in, out, n);
    if (run.encode.unrepresentable > 0) {
      const auto offender = recoder.find_unrepresentable(spec, in, n);
      LOBIT_CHECK(offender.has_value());
      return unrepresentable_value(name(), at + offender->index, offender->value, to_string(from_),
                                   to_string(to_), kRemedy);
    }
    counts += run;
  }
  return {};
}

Status TensorRecoder::run_rows(uint64_t first, uint64_t count, RecodeCounts& counts) const {
  Tile tile;
  const uint64_t end = first + count;
  for (uint64_t at = first, n = 0; at < end; at += n) {
    n = tile_elements(at, end);
    LOBIT_RETURN_IF_ERROR(check_source(at, n));
    decode(at, n, tile.values);
    if (to_.scales == ScaleGroup::kTensor && measured_groups_ == 0) {
      LOBIT_RETURN_IF_ERROR(find_scale(at, tile.values, n, scales_[0], counts));
    }
    for (uint64_t done = 0; done < n;) {
      const uint64_t row = (at + done) / columns_;
      const uint64_t from = (at + done) % columns_;
      const uint64_t piece = std::min(n - done, columns_ - from);
      std::byte* const codes = codes_ + row * layout_.row_bytes + from * planar_bits(to_.encoding) / 8;
      LOBIT_RETURN_IF_ERROR(encode_row(row, from, tile.values + done, piece, codes, counts));
      done += piece;
    }
  }
  return {};
}

// Values [column, column + count) of a row, in the tile, which may be changed.
Status TensorRecoder::encode_row(uint64_t row, uint64_t column, float* values, uint64_t count,
                                 std::byte* codes, RecodeCounts& counts) const {
  const uint32_t bits = planar_bits(to_.encoding);
  float* const scales = scales_at(row, column);
  if (has_one_scale()) {
    const float stand_in = stand_in_bytes() > 0 ? stand_ins_[scales - scales_] : 0;
    if (stand_in > 0) make_finite(values, count, stand_in);
    kernels::encode_planar(to_.encoding, values, codes, count, *scales);
    return {};
  }
  if (options_.method == QuantizeMethod::kDirect) {
    const EncodeCounts encoded =
        kernels::encode_planar_groups(to_.encoding, values, codes, scales, count, whole_bytes_group());
    if (encoded.unrepresentable == 0) {
      counts.encode += encoded;
      return {};
    }
  }
  for (uint64_t at = 0; at < count; at += group_) {
    const uint64_t n = std::min(group_, count - at);
    float& scale = scales[at / group_];
    LOBIT_RETURN_IF_ERROR(find_scale(row * columns_ + column + at, values + at, n, scale, counts));
    kernels::encode_planar(to_.encoding, values + at, codes + at * bits / 8, n, scale);
  }
  return {};
}

// Of a group that is in memory whole and may be changed; `first` is the element it begins with.
Status TensorRecoder::find_scale(uint64_t first, float* values, uint64_t count, float& scale,
                                 RecodeCounts& counts) const {
  const PlanarScaleSpec spec{
      .encoding = to_.encoding, .method = options_.method, .overflow = options_.overflow};
  const auto found = find_planar_scale(spec, values, count, counts);
  if (!found) return refuse(first, values, count);
  scale = *found;
  return {};
}

Status TensorRecoder::measure(uint64_t group, RecodeCounts& counts) const {
  return options_.method == QuantizeMethod::kDirect ? measure_directly(group, counts)
                                                    : measure_whole(group, counts);
}

// Tile after tile.
Status TensorRecoder::measure_directly(uint64_t group, RecodeCounts& counts) const {
  Tile tile;
  const uint64_t first = group * group_;
  const auto each_tile = [&](auto use) {
    for (uint64_t at = first, n = 0; at < first + group_; at += n) {
      n = tile_elements(at, first + group_);
      decode(at, n, tile.values);
      use(at, n);
    }
  };
  PlanarExtent extent;
  Status status;
  each_tile([&](uint64_t at, uint64_t n) {
    kernels::measure_planar(to_.encoding, tile.values, n, extent);
    if (status && options_.overflow == OverflowRule::kRefuse && !is_finite(to_.encoding, extent)) {
      status = refuse(at, tile.values, n);
    }
  });
  if (!status) return status;
  if (stand_in_bytes() > 0) stand_ins_[group] = 0;
  if (!is_finite(to_.encoding, extent)) {
    float largest = 0;
    each_tile([&](uint64_t, uint64_t n) { largest = largest_finite(tile.values, n, largest); });
    stand_ins_[group] = or_default(largest);
    extent = {};
    each_tile([&](uint64_t, uint64_t n) {
      make_finite(tile.values, n, stand_ins_[group]);
      kernels::measure_planar(to_.encoding, tile.values, n, extent);
    });
    ++counts.saturated;
  }
  const float scale = direct_planar_scale(to_.encoding, extent);
  scales_[group] = scale;
  counts.encode.flushed += is_flushed(to_.encoding, extent, scale) ? 1 : 0;
  return {};
}

// For methods that try several scales: the group is decoded whole, into scratch.
Status TensorRecoder::measure_whole(uint64_t group, RecodeCounts& counts) const {
  LOBIT_CHECK(options_.memory != nullptr);
  LOBIT_TRY(const Buffer scratch, Buffer::allocate(*options_.memory, group_ * sizeof(float)));
  float* const values = reinterpret_cast<float*>(scratch.data());
  decode(group * group_, group_, values);
  if (stand_in_bytes() > 0) stand_ins_[group] = or_default(largest_finite(values, group_));
  return find_scale(group * group_, values, group_, scales_[group], counts);
}

Status TensorRecoder::check(uint64_t first, uint64_t count) const {
  Tile tile;
  for (uint64_t at = first, n = 0; at < first + count; at += n) {
    n = tile_elements(at, first + count);
    LOBIT_RETURN_IF_ERROR(check_source(at, n));
    if (options_.overflow == OverflowRule::kSaturate) continue;
    decode(at, n, tile.values);
    PlanarExtent extent;
    kernels::measure_planar(Encoding::kQ8_0, tile.values, n, extent);
    // Every encoding, and its scale, holds what F16 holds.
    if (std::fabs(std::bit_cast<float>(extent.peak)) <= 65504.0f) continue;
    if (to_.is_planar()) {
      if (!is_finite(Encoding::kQ8_0, extent)) return refuse(at, tile.values, n);
      continue;
    }
    if (to_.encoding == Encoding::kF32) continue;
    Tile encoded;
    Recoder recoder(encoded.bytes());
    const RecodeSpec spec{.from = Encoding::kF32, .to = to_.encoding};
    const auto offender = recoder.find_unrepresentable(spec, tile.bytes().data(), n);
    if (offender) {
      return unrepresentable_value(name(), at + offender->index, offender->value, to_string(from_),
                                   to_string(to_), kRemedy);
    }
  }
  return {};
}

float* TensorRecoder::scales_at(uint64_t row, uint64_t column) const {
  if (to_.scales == ScaleGroup::kTensor) return scales_;
  return measured_groups_ > 0 ? scales_ + row : scales_ + row * layout_.row_scales + column / group_;
}

Status TensorRecoder::check_exact(uint64_t first, uint64_t count) const {
  return to_.is_planar() ? check_exact_rows(first, count) : check_exact_blocks(first, count);
}

Status TensorRecoder::lost(uint64_t index, float value) const {
  return fail(
      ErrorCode::kDataLoss,
      fmt::format("tensor '{}': element {}: {} cannot hold {} of {} exactly (a lossy converter rounds)",
                  name(), index, to_string(to_), value, to_string(from_)),
      {.index = index, .from = to_string(from_), .to = to_string(to_)});
}

Status TensorRecoder::check_exact_rows(uint64_t first, uint64_t count) const {
  Tile tile;
  Tile changed;
  std::array<std::byte, kTile> codes;  // at most one byte for each value
  RecodeCounts counts;
  for (uint64_t at = first, n = 0; at < first + count; at += n) {
    // One piece of one row.
    n = std::min(tile_elements(at, first + count), columns_ - at % columns_);
    if (to_.scales == ScaleGroup::kTensor && measured_groups_ == 0) {
      decode(first, count, changed.values);
      LOBIT_RETURN_IF_ERROR(find_scale(first, changed.values, count, *scales_, counts));
    }
    const uint64_t row = at / columns_;
    const uint64_t column = at % columns_;
    decode(at, n, tile.values);
    std::copy_n(tile.values, n, changed.values);
    LOBIT_RETURN_IF_ERROR(encode_row(row, column, changed.values, n, codes.data(), counts));
    const float* const scales = scales_at(row, column);
    if (has_one_scale()) {
      kernels::decode_planar(to_.encoding, codes.data(), changed.values, n, *scales);
    } else {
      kernels::decode_planar_groups(to_.encoding, codes.data(), scales, changed.values, n,
                                    whole_bytes_group());
    }
    const auto [kept, stored] = std::mismatch(tile.values, tile.values + n, changed.values);
    if (kept != tile.values + n) return lost(at + static_cast<uint64_t>(kept - tile.values), *kept);
  }
  return {};
}

Status TensorRecoder::check_exact_blocks(uint64_t first, uint64_t count) const {
  Tile tile;
  Tile encoded;
  Tile decoded;
  const RecodeSpec spec{.from = Encoding::kF32, .to = to_.encoding, .method = options_.method};
  for (uint64_t at = first, n = 0; at < first + count; at += n) {
    n = tile_elements(at, first + count);
    decode(at, n, tile.values);
    Tile spare;
    Recoder(spare.bytes()).run(spec, tile.bytes().data(), encoded.bytes().data(), n);
    kernels::decoder(to_.encoding)(encoded.values, decoded.values, n);
    for (uint64_t i = 0; i < n; ++i) {
      const bool same = tile.values[i] == decoded.values[i] || std::isnan(tile.values[i]);
      if (!same) return lost(at + i, tile.values[i]);
    }
  }
  return {};
}

// Codes without a meaning: only BitNet158 has them.
Status TensorRecoder::check_source(uint64_t first, uint64_t count) const {
  if (from_.encoding != Encoding::kTQ2_0) return {};
  if (!from_.is_planar()) {
    const uint64_t block = traits(from_.encoding).block_elements;
    return check_codes({.tensor = name(), .first_block = first / block}, from_.encoding,
                       bytes_ + bytes_before(from_.encoding, first), count / block);
  }
  constexpr uint64_t kCodesInByte = 4;
  const uint64_t pitch = (columns_ + kCodesInByte - 1) / kCodesInByte;
  for (uint64_t at = first; at < first + count;) {
    const uint64_t column = at % columns_;
    const uint64_t n = std::min(first + count - at, columns_ - column);
    const std::byte* const codes = bytes_ + at / columns_ * pitch + column / kCodesInByte;
    const uint64_t bad = kernels::first_invalid_planar(from_.encoding, codes, n);
    if (bad < n) return invalid_code(name(), at + bad, to_string(from_));
    at += n;
  }
  return {};
}

Status TensorRecoder::refuse(uint64_t first, const float* values, uint64_t count) const {
  const float* const bad =
      std::find_if_not(values, values + count, [](float value) { return std::isfinite(value); });
  LOBIT_CHECK(bad != values + count);
  return unrepresentable_value(name(), first + static_cast<uint64_t>(bad - values), *bad, to_string(from_),
                               to_string(to_), kRemedy);
}

}  // namespace lobit
