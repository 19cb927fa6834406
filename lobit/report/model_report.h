// What `lobit inspect` tells of a model file: the facts as plain values, and three ways to show them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/report/text_options.h"

namespace lobit {

// Of a tensor's values. The first four are over its finite values, and NaN when there is none.
struct TensorStatistics {
  double min = 0;
  double max = 0;
  double mean = 0;
  double standard_deviation = 0;
  uint64_t zeros = 0;
  uint64_t nans = 0;
  uint64_t infinities = 0;
};

struct ModelTensor {
  std::string name = {};
  std::string role = {};  // "attention", "ffn", ...
  int64_t layer = -1;     // -1: outside the layers
  std::string encoding = {};
  std::string shape = {};  // as it is shown: "4096x11008"
  uint64_t elements = 0;
  uint32_t part = 0;    // index into ModelReport::parts
  uint64_t offset = 0;  // of its first byte, from the start of that file
  uint64_t bytes = 0;
  std::optional<TensorStatistics> statistics = std::nullopt;  // empty: the values were not read
};

struct ModelFile {
  std::string name = {};
  uint64_t bytes = 0;  // of the file
};

struct MetadataItem {
  std::string key = {};
  std::string type = {};  // "string", "u32", "array of f32"
  std::string text = {};  // the value as it is shown; long arrays already cut by the caller
};

struct ModelReport {
  std::string path = {};    // as the user named it
  std::string format = {};  // "gguf", "safetensors"
  std::string version = {};
  uint64_t alignment = 0;  // bytes; 0: the format has none
  std::vector<ModelFile> parts = {};
  std::vector<ModelTensor> tensors = {};  // in the order of the files
  std::vector<MetadataItem> metadata = {};
};

// With ReportDetail::kSummary a line for each layer, with kTensors also one for each tensor.
LOBIT_API std::string to_text(const ModelReport& report, const TextOptions& options = {});

// Schema "lobit.inspect.v1". Statistics that were not read have no key; a NaN is null.
LOBIT_API std::string to_json(const ModelReport& report);

LOBIT_API std::string to_html(const ModelReport& report);

}  // namespace lobit
