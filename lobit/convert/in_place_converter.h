// InPlaceConverter: rewrites tensors where they lie, by the calling thread, without an engine. Stateless; any
// thread, one tensor at a time each.
#pragma once

#include <cstdint>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/convert/conversion_strategy.h"
#include "lobit/tensor/tensor.h"

namespace lobit {

class LOBIT_API InPlaceConverter {
 public:
  // One that refuses to lose anything: kDataLoss names the first value that would not come back equal to what
  // it was. Formats with scales are no exception: with the scales that `quality` finds, the values may fit.
  InPlaceConverter() = default;
  // One that rounds.
  static InPlaceConverter lossy() { return InPlaceConverter(Rule::kLossy); }
  // One that rounds and does not look at the values first: an error in the middle (an Inf, an invalid code)
  // leaves a tensor whose values are lost.
  static InPlaceConverter fast() { return InPlaceConverter(Rule::kFast); }

  // The tensor keeps its id, name and tags; memory that others share is copied first, from its own resource,
  // where the little that is needed besides comes from, too. kInvalidArgument naming both sizes when the
  // values would need more room.
  Status convert_in_place(Tensor& tensor, FormatChoice to,
                          ConversionQuality quality = ConversionQuality::kBalanced) const;

 private:
  enum class Rule : uint8_t { kExact, kLossy, kFast };
  explicit InPlaceConverter(Rule rule) : rule_(rule) {}

  Rule rule_ = Rule::kExact;
};

}  // namespace lobit
