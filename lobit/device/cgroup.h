// What the container (control group) of this process allows it in memory, from cgroup version 1 or 2. The
// group is looked up as the kernel names it, and every group above it counts: a limit holds for all that is
// below. Plain values, read anew by each call, from any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"

namespace lobit {

// One group. In bytes; what the system does not tell is empty.
struct LOBIT_API CgroupGroup {
  std::filesystem::path path;  // its folder; PSI and notification files lie there too

  // The least of what stops the group: memory.max and memory.high of version 2, limit_in_bytes and the
  // hierarchy's limit of version 1.
  std::optional<uint64_t> limit = std::nullopt;
  std::optional<uint64_t> usage = std::nullopt;  // with the page cache of files it has read
  uint64_t inactive_file = 0;  // the part of the cache that is dropped before anything hurts

  // Usage without the inactive file cache: a file streamed through would look like pressure otherwise.
  std::optional<uint64_t> in_use() const;
  // What can still be taken: the limit less in_use(). Empty without a limit or a usage.
  std::optional<uint64_t> room() const;
};

struct LOBIT_API CgroupMemory {
  int version = 0;  // 1 or 2; 0 when no group manages this process's memory
  // The process's own group first, then those above it as far as they can be seen.
  std::vector<CgroupGroup> groups = {};

  // The least over all groups; empty when none has one.
  std::optional<uint64_t> limit() const;
  std::optional<uint64_t> room() const;
  // The group with the least room, the innermost of several; null when none has a limit.
  const CgroupGroup* tightest() const;
};

// Reads it from procfs and the mounted hierarchy under `root` (another one than "/" is for tests). A file
// that is absent, or that this user may not read, sets no limit; kCorrupt for one that says something else
// than its format, kIo when the system fails to read it.
LOBIT_API Result<CgroupMemory> read_cgroup_memory(const std::filesystem::path& root = "/");

}  // namespace lobit
