// The tables of a conversion report, shared by its text and its page. Internal to report.
#pragma once

#include <cstddef>
#include <string>

#include "lobit/report/conversion_report.h"
#include "lobit/report/table.h"

namespace lobit::detail {

// A row for each pair of encodings, the one with most input bytes first, and their sum.
Table encodings_table(const ConversionReport& report);
// Columns of errors appear only when something was measured.
Table tensors_table(const ConversionReport& report);
Table worst_table(const ConversionReport& report, size_t count);
// A row for each reason and encoding: models have many tensors of one shape.
Table fallbacks_table(const ConversionReport& report);

// "62.1 MiB at the peak, limit 64 MiB", or less when less is known.
std::string memory_text(const ConversionReport& report);
// "scaled", or "direct: 2 tensors, scaled: 182 tensors"; "" when no tensor got block scales
std::string methods_text(const ConversionReport& report);
// "3 groups in 2 tensors too small for the scale became zeros"
std::string flushed_text(const ConversionReport& report);

}  // namespace lobit::detail
