#include "lobit/quant/distortion.h"

#include <cmath>
#include <limits>

namespace lobit {

Distortion distortion(const kernels::ErrorSums& sums) {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  Distortion d;
  d.max_abs_error = static_cast<double>(sums.max_abs_error);
  if (sums.error > 0) d.nmse = sums.signal > 0 ? sums.error / sums.signal : kInfinite;
  d.sqnr_db = d.nmse > 0 ? -10.0 * std::log10(d.nmse) : kInfinite;
  if (sums.signal > 0 && sums.decoded > 0) {
    d.cosine = sums.dot / std::sqrt(sums.signal * sums.decoded);
  } else if (sums.signal > 0 || sums.decoded > 0) {
    d.cosine = 0;
  }
  return d;
}

}  // namespace lobit
