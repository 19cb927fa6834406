// FormatChoice: what a caller may say where a tensor's format is asked for: a ValueFormat, an Encoding, or a
// DType, which means the default format for the tensor's shape. A plain value; any thread.
#pragma once

#include <optional>

#include "lobit/base/export.h"
#include "lobit/dtype/dtype.h"
#include "lobit/dtype/value_format.h"
#include "lobit/tensor/shape.h"

namespace lobit {

// The format that a dtype means for a shape. F32, F16 and BF16 are plain. The others get their default block
// encoding when the columns divide by its block; otherwise a scale per row from 64 columns on, where it costs
// at most half a bit per value, and one scale in all below.
LOBIT_API ValueFormat default_format(DType dtype, const Shape& shape);

class LOBIT_API FormatChoice {
 public:
  FormatChoice(ValueFormat format) : format_(format) {}   // NOLINT(google-explicit-constructor)
  FormatChoice(Encoding encoding) : format_{encoding} {}  // NOLINT(google-explicit-constructor)
  FormatChoice(DType dtype) : dtype_(dtype) {}            // NOLINT(google-explicit-constructor)

  ValueFormat for_shape(const Shape& shape) const {
    return dtype_ ? default_format(*dtype_, shape) : format_;
  }
  // Nothing when a format was named.
  std::optional<DType> dtype() const { return dtype_; }

 private:
  ValueFormat format_;
  std::optional<DType> dtype_;
};

}  // namespace lobit
