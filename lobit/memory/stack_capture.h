// StackCapture: whether it is remembered which calls led to an allocation. A plain value.
#pragma once

#include <cstdint>

namespace lobit {

enum class StackCapture : uint8_t {
  kNone,
  kRecorded,  // of every allocation that is recorded; costs some nanoseconds for each call on the stack
};

}  // namespace lobit
