// What planar formats ask of whoever converts to and from them: where an element's codes and scale lie, and
// the scale of a group whose values may not be finite. Pure functions. Not installed.
#pragma once

#include <cstdint>
#include <optional>

#include "lobit/convert/overflow_rule.h"
#include "lobit/convert/recode.h"
#include "lobit/dtype/reference_planar.h"
#include "lobit/dtype/value_format.h"
#include "lobit/quant/quantize_method.h"

namespace lobit {

// Rows of values in a format, planar or not.
struct RowLayout {
  ValueFormat format;
  FormatLayout layout;
  uint64_t columns = 1;

  // Where in the codes (or blocks, or numbers) an element's own begin. Of a border it is exact.
  uint64_t code_offset(uint64_t element) const;
  // Of a planar format: which of its scales an element has.
  uint64_t scale_index(uint64_t element) const;
};

// Where runs of elements may begin that are cut at multiples of `border` within a row.
uint64_t run_granule(uint64_t border, uint64_t columns, uint64_t rows);

bool is_finite(Encoding to, const PlanarExtent& extent);
// Whether the scale has no reciprocal though there are values.
bool is_flushed(Encoding to, const PlanarExtent& extent, float scale);

// The largest finite magnitude of the values and `largest`.
float largest_finite(const float* values, uint64_t count, float largest = 0);
// What values that are not finite become by: the largest finite one, and 65504 when all are zeros.
float or_default(float largest);
// Makes values finite as saturate() does in blocks: NaN becomes 0, Inf the given magnitude.
void make_finite(float* values, uint64_t count, float largest);

struct PlanarScaleSpec {
  Encoding encoding = Encoding::kQ8_0;
  QuantizeMethod method = QuantizeMethod::kDirect;
  OverflowRule overflow = OverflowRule::kRefuse;
};

// The scale of a group that is in memory whole; adds to `counts`. Values that are not finite are made so when
// they may saturate; else the result is nothing.
std::optional<float> find_planar_scale(const PlanarScaleSpec& spec, float* values, uint64_t count,
                                       RecodeCounts& counts);

}  // namespace lobit
