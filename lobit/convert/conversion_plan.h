// Which strategy a conversion takes, and what it will cost: one table of strategies, asked in order. Pure but
// for the speeds, which are measured when they are first asked for. Any thread.
#pragma once

#include <cstdint>

#include "lobit/base/result.h"
#include "lobit/convert/conversion_config.h"
#include "lobit/convert/conversion_strategy.h"
#include "lobit/dtype/value_format.h"
#include "lobit/tensor/shape.h"

namespace lobit {

// What is to be converted. Both formats fit the shape.
struct ConversionQuery {
  ValueFormat from = {};
  ValueFormat to = {};
  Shape shape = {};
  uint64_t from_bytes = 0;     // stored_bytes(from, shape)
  uint64_t free_bytes = 0;     // of memory that the resource keeps and nobody uses
  bool same = false;           // the values are there already: nothing changes
  bool may_overwrite = false;  // nobody needs the source any more, and its storage is its own
};

uint64_t stored_bytes(ValueFormat format, const Shape& shape);

// The strategy that converts, when `wanted` is asked for. kAuto is the first that fits. kStandard stands in
// for an in-place conversion of a source that must stay. kUnsupported for a zero copy of values that must
// change, kInvalidArgument for an in-place conversion that grows.
Result<ConversionStrategy> choose_strategy(const ConversionQuery& query, ConversionStrategy wanted,
                                           const ConversionConfig& config);

// What `strategy` costs; everything of StrategyInfo.
StrategyInfo describe_conversion(const ConversionQuery& query, ConversionStrategy strategy,
                                 const ConversionConfig& config);

}  // namespace lobit
