// StackFrame: where in a program's source a call was. Plain values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lobit {

// What is not known is empty, or 0.
struct StackFrame {
  std::string function = {};  // as its author wrote it, with its namespaces and arguments
  std::string file = {};      // of the source; without a line, the program or library
  uint32_t line = 0;          // from 1

  friend bool operator==(const StackFrame&, const StackFrame&) = default;
};

// The innermost call first.
using StackTrace = std::vector<StackFrame>;

}  // namespace lobit
