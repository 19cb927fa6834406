// StackSource: where numbers for call stacks come from, and what they stand for. Implementations are used by
// any number of threads at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/stack_frame.h"

namespace lobit {

class LOBIT_API StackSource {
 public:
  virtual ~StackSource() = default;
  // A number for the stack of the calling thread; 0 when there is none. Equal stacks have equal numbers.
  virtual uint32_t capture() = 0;
  // One trace for each of the numbers, in their order. Slow.
  virtual std::vector<StackTrace> symbolize(std::span<const uint32_t> stacks) = 0;
};

}  // namespace lobit
