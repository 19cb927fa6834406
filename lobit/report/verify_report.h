// What `lobit verify A B` found: the facts as plain values, and three ways to show them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/report/text_options.h"

namespace lobit {

enum class VerifyStatus : uint8_t {
  kSame,       // shape and every value are equal
  kDiffers,    // in shape or in a value
  kOnlyFirst,  // the second model lacks it
  kOnlySecond,
};

// "same", "differs", "only in first", "only in second"
LOBIT_API std::string_view verify_status_name(VerifyStatus status);

// One tensor of either model. Errors are those of the second model's values against the first's; they are
// empty when they were not or could not be computed.
struct VerifiedTensor {
  std::string name = {};
  VerifyStatus status = VerifyStatus::kSame;
  std::string note = {};  // "shapes 4096x4096 and 4096x1024"; may be empty
  std::string encoding_first = {};
  std::string encoding_second = {};
  std::string hash_first = {};  // of the stored bytes, hexadecimal
  std::string hash_second = {};
  std::optional<double> max_abs_error = std::nullopt;
  std::optional<double> nmse = std::nullopt;     // error energy / signal energy
  std::optional<double> sqnr_db = std::nullopt;  // infinite: no error
  std::optional<double> cosine = std::nullopt;
};

struct VerifyReport {
  std::string first = {};  // as the user named them
  std::string second = {};
  std::vector<VerifiedTensor> tensors = {};
};

struct VerifyTotals {
  uint64_t same = 0;
  uint64_t differs = 0;
  uint64_t only_first = 0;
  uint64_t only_second = 0;
  bool equal() const { return differs + only_first + only_second == 0; }
};
LOBIT_API VerifyTotals totals(const VerifyReport& report);

// With ReportDetail::kSummary only the tensors that are not the same.
LOBIT_API std::string to_text(const VerifyReport& report, const TextOptions& options = {});

// Schema "lobit.verify.v1". An error that was not measured has no key; an infinite SQNR is null.
LOBIT_API std::string to_json(const VerifyReport& report);

LOBIT_API std::string to_html(const VerifyReport& report);

}  // namespace lobit
