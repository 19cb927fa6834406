#include "lobit/report/layer_chart.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace lobit::detail {

LayerSpan layer_span(const std::vector<int64_t>& layers) {
  int64_t first = INT64_MAX;
  int64_t last = -1;
  for (const int64_t layer : layers) {
    if (layer < 0) continue;
    first = std::min(first, layer);
    last = std::max(last, layer);
  }
  if (last < 0) return {};
  const auto beyond_first = static_cast<uint64_t>(last - first);
  return {.first = first,
          .count = static_cast<size_t>(std::min<uint64_t>(beyond_first, LayerSpan::kMostLayers - 1)) + 1};
}

BarChart empty_layer_chart(std::string title, const LayerSpan& span) {
  BarChart chart{
      .title = std::move(title), .direction = BarChart::Direction::kVertical, .unit = ChartUnit::kBytes};
  chart.category_title = "layer";
  for (size_t i = 0; i < span.count; ++i) {
    chart.categories.push_back(fmt::format("{}", span.first + static_cast<int64_t>(i)));
  }
  return chart;
}

}  // namespace lobit::detail
