// ZeroCopyConverter: gives tensors another description without touching a byte. Stateless; any thread.
#pragma once

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/tensor/tensor.h"

namespace lobit {

class LOBIT_API ZeroCopyConverter {
 public:
  // One that also shows the bits of one format as another of the same width.
  ZeroCopyConverter() = default;
  // One that only shares tensors of the dtype that is asked for.
  static ZeroCopyConverter strict() { return ZeroCopyConverter(Rule::kSameDType); }

  // Whether reinterpret() succeeds.
  bool can_reinterpret(const Tensor& tensor, FormatChoice to) const;

  // The tensor itself when it is of the dtype already. Else its bits as the other format, of which the name
  // tells: 1.0 of F16 (0x3C00) shows as 0.0078125 of BF16. Values are not converted; convert() of an engine
  // does that. kUnsupported, naming both formats, for another width and for a strict converter.
  Result<Tensor> reinterpret(const Tensor& tensor, FormatChoice to) const;

 private:
  enum class Rule : uint8_t { kSameWidth, kSameDType };
  explicit ZeroCopyConverter(Rule rule) : rule_(rule) {}

  Rule rule_ = Rule::kSameWidth;
};

}  // namespace lobit
