// Which layers a chart shows. Internal to report.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "lobit/report/chart.h"

namespace lobit::detail {

// Layer numbers come from names in files and can be anything; a chart starts at the smallest one and stops
// after kMostLayers.
struct LayerSpan {
  static constexpr size_t kMostLayers = 512;
  int64_t first = 0;
  size_t count = 0;
  bool contains(int64_t layer) const { return layer >= first && layer - first < static_cast<int64_t>(count); }
  size_t index(int64_t layer) const { return static_cast<size_t>(layer - first); }
};

// Of the layers >= 0 in `layers`; empty when there is none.
LayerSpan layer_span(const std::vector<int64_t>& layers);

// Vertical bars of bytes over the layers, still without series.
BarChart empty_layer_chart(std::string title, const LayerSpan& span);

}  // namespace lobit::detail
