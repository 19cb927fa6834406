// What `lobit convert` did: the facts as plain values, and three ways to show them. The caller fills the
// struct; nothing here measures, reads a clock or prints. (Every field has an initialiser, so that designated
// ones can leave it out without a warning.)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/report/text_options.h"

namespace lobit {

// One tensor of the output. The errors are those of the written values against the source's; they are empty
// where nothing was measured.
struct TensorReport {
  std::string name = {};
  std::string role = {};   // "attention", "ffn", ...
  int64_t layer = -1;      // -1: outside the layers
  std::string shape = {};  // as it is shown: "4096x11008"
  std::string from = {};   // encodings
  std::string to = {};
  std::string method = {};  // how block scales were found: "direct", "scaled", "exact", "absmean"; "" without
  uint64_t elements = 0;
  uint64_t bytes_in = 0;  // scales included
  uint64_t bytes_out = 0;
  bool fallback = false;  // got another encoding than the one asked for
  std::string note = {};  // why `to`: "default", "rule 'attn=q8_0'", "100 columns do not divide by 256"
  std::optional<double> sqnr_db = std::nullopt;  // 10 log10(signal energy / error energy); infinite: no error
  std::optional<double> cosine = std::nullopt;
  std::optional<double> nmse = std::nullopt;  // error energy / signal energy
  std::optional<double> max_abs_error = std::nullopt;
  uint64_t flushed_groups = 0;  // groups too small for their scale, written as zeros
};

struct ConversionReport {
  std::string source = {};  // as the user named them
  std::string target = {};
  std::string source_format = {};  // "gguf", "safetensors"
  std::string target_format = {};
  std::vector<TensorReport> tensors = {};  // in the order of the output
  uint64_t file_bytes_in = 0;              // whole files, headers and padding included
  uint64_t file_bytes_out = 0;
  double seconds = 0;
  uint32_t threads = 0;
  uint64_t memory_limit = 0;                     // bytes; 0: none was set
  uint64_t peak_rss = 0;                         // bytes; 0: unknown
  std::optional<double> sqnr_db = std::nullopt;  // over the elements of all measured tensors together
  std::optional<double> cosine = std::nullopt;
  std::string output_hash = {};  // empty: not computed
  std::string command = {};      // the command line, quoted for a shell
};

// Sums over the tensors.
struct ConversionTotals {
  uint64_t tensors = 0;
  uint64_t converted = 0;  // encoding changed; the others were copied
  uint64_t fallbacks = 0;
  uint64_t flushed_groups = 0;
  uint64_t elements = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  double bits_per_weight_in() const;
  double bits_per_weight_out() const;
};
LOBIT_API ConversionTotals totals(const ConversionReport& report);

// The measured tensors with the lowest SQNR, at most `count`, the worst first. Exact ones are left out.
LOBIT_API std::vector<const TensorReport*> worst_tensors(const ConversionReport& report, size_t count);

LOBIT_API std::string to_text(const ConversionReport& report, const TextOptions& options = {});

// Schema "lobit.convert.v1". An error that was not measured has no key; an infinite SQNR is null.
LOBIT_API std::string to_json(const ConversionReport& report);

LOBIT_API std::string to_html(const ConversionReport& report);

}  // namespace lobit
