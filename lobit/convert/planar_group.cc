#include "lobit/convert/planar_group.h"

#include <algorithm>
#include <cmath>

#include "lobit/convert/budget.h"
#include "lobit/kernels/planar.h"
#include "lobit/quant/planar_scale.h"

namespace lobit {

uint64_t RowLayout::code_offset(uint64_t element) const {
  const uint64_t row = element / columns;
  const uint64_t column = element % columns;
  const uint64_t in_row = format.is_planar() ? (column * planar_bits(format.encoding) + 7) / 8
                                             : bytes_before(format.encoding, column);
  return row * layout.row_bytes + in_row;
}

uint64_t RowLayout::scale_index(uint64_t element) const {
  if (format.scales == ScaleGroup::kTensor) return 0;
  const uint64_t group = group_elements(format.scales, columns, columns);
  return element / columns * layout.row_scales + element % columns / group;
}

uint64_t run_granule(uint64_t border, uint64_t columns, uint64_t rows) {
  return columns % border == 0 || rows <= 1 ? border : columns;
}

bool is_finite(Encoding to, const PlanarExtent& extent) {
  return std::isfinite(direct_planar_scale(to, extent));
}

bool is_flushed(Encoding to, const PlanarExtent& extent, float scale) {
  return to != Encoding::kQ1_0 && (extent.peak << 1) != 0 && !std::isfinite(1 / scale);
}

float largest_finite(const float* values, uint64_t count, float largest) {
  for (uint64_t i = 0; i < count; ++i) {
    if (std::isfinite(values[i])) largest = std::max(largest, std::fabs(values[i]));
  }
  return largest;
}

float or_default(float largest) {
  return largest > 0 ? largest : 65504.0f;
}

void make_finite(float* values, uint64_t count, float largest) {
  for (uint64_t i = 0; i < count; ++i) {
    if (std::isnan(values[i])) values[i] = 0;
    if (std::isinf(values[i])) values[i] = std::copysign(largest, values[i]);
  }
}

std::optional<float> find_planar_scale(const PlanarScaleSpec& spec, float* values, uint64_t count,
                                       RecodeCounts& counts) {
  PlanarExtent extent;
  kernels::measure_planar(spec.encoding, values, count, extent);
  if (!is_finite(spec.encoding, extent)) {
    if (spec.overflow == OverflowRule::kRefuse) return std::nullopt;
    make_finite(values, count, or_default(largest_finite(values, count)));
    ++counts.saturated;
    extent = {};
    kernels::measure_planar(spec.encoding, values, count, extent);
  }
  const float direct = direct_planar_scale(spec.encoding, extent);
  const float scale = planar_scale(spec.encoding, spec.method, {values, count}, direct);
  counts.encode.flushed += is_flushed(spec.encoding, extent, scale) ? 1 : 0;
  return scale;
}

}  // namespace lobit
