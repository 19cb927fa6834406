// The tables of a model report, shared by its text and its page. Internal to report.
#pragma once

#include <cstdint>

#include "lobit/report/model_report.h"
#include "lobit/report/table.h"
#include "lobit/report/text_options.h"

namespace lobit::detail {

struct TensorSum {
  uint64_t tensors = 0;
  uint64_t elements = 0;
  uint64_t bytes = 0;
  void add(const ModelTensor& tensor);
  double bits_per_weight() const;
};
TensorSum sum_of(const ModelReport& report);

// A row for each encoding, the one with most bytes first.
Table model_encodings_table(const ModelReport& report);
// Groups with subtotals: what lies outside the layers, then layer by layer; with kTensors their tensors
// below.
Table layers_table(const ModelReport& report, ReportDetail detail);
// Every tensor in the order of the file, without groups, so that a page can sort it.
Table model_tensors_table(const ModelReport& report);
Table statistics_table(const ModelReport& report);
Table metadata_table(const ModelReport& report);

}  // namespace lobit::detail
