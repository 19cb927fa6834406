// What every long operation reports and obeys.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace lobit {

// How far an operation is. `item` names what is being worked on (a tensor, a file) and lives only for the
// call.
struct Progress {
  uint64_t bytes_done = 0;
  uint64_t bytes_total = 0;
  std::string_view item;
};

// Called from one thread at a time, but not always the same one; keep it short. An exception it throws ends
// the operation with kCancelled.
using ProgressFn = std::function<void(const Progress&)>;

}  // namespace lobit
