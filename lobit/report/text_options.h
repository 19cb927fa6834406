// How much a text report tells.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lobit {

enum class ReportDetail : uint8_t {
  kSummary,  // totals and what stands out
  kTensors,  // and a line for every tensor
};

struct TextOptions {
  ReportDetail detail = ReportDetail::kSummary;
  size_t width = 0;  // columns of the terminal that tables should fit; 0: as wide as they are
};

}  // namespace lobit
