// How long tasks stood still for want of memory, as the kernel counts it (pressure stall information, PSI).
// The kernel's averages over 10 s and more come too late and its triggers need windows of 2 s or privileges,
// so the totals are read: whoever polls takes the difference of two, divided by the time between. Plain
// values, read anew by each call, from any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/device/cgroup.h"

namespace lobit {

// Microseconds since the group, or the system, began. They count while memory is taken back, read in again
// or swapped in for those who wait.
struct MemoryStall {
  std::filesystem::path path = {};  // the file that says so
  uint64_t some_us = 0;             // at least one task waited
  uint64_t full_us = 0;             // all that had work to do waited at once; a part of some_us
};

// Of the innermost of `cgroup`'s groups (as read under the same root) that counts it, version 2 only, or else
// of the whole system. Empty when neither does. kCorrupt for a file that says something else than its format,
// kIo when the system fails to read it.
LOBIT_API Result<std::optional<MemoryStall>> read_memory_stall(const CgroupMemory& cgroup,
                                                               const std::filesystem::path& root = "/");

}  // namespace lobit
