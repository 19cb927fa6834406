// What a device can do: read from the processor and the system, and measured, when it is asked for. Nothing
// in here is assumed; what the system does not tell is empty. Plain values; the functions may be called from
// any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/device/device.h"

namespace lobit {

// How fast memory is streamed, in GB/s (1e9 bytes), through a buffer that the caches do not hold. A copy
// counts the bytes that it copies; the memory moves at least twice as many.
struct MemoryBandwidth {
  double read_one = 0;  // by one thread
  double copy_one = 0;
  double read_all = 0;  // by `threads` together
  double copy_all = 0;
  size_t threads = 0;
  uint64_t buffer_bytes = 0;
};

// When the system puts huge pages under anonymous memory.
enum class TransparentHugePages : uint8_t { kUnknown, kNever, kMadvise, kAlways };

// "never", "madvise", "always"; "unknown".
LOBIT_API std::string_view transparent_huge_pages_name(TransparentHugePages mode);

enum class Bandwidth : uint8_t {
  kMeasure,  // takes less than a tenth of a second, the first time
  kSkip,
};

struct LOBIT_API DeviceCapabilities {
  Device device = {};
  std::string name = {};                                // the processor's own; empty when it has none
  std::optional<size_t> physical_cores = std::nullopt;  // of the machine
  size_t threads = 1;                                   // that this process may use: affinity, quota
  // Sets of instructions that the processor has and the system supports, as compilers call them: "avx2",
  // "avx512vnni", "amx-int8", "neon". A thread must ask the system for leave before it uses AMX.
  std::vector<std::string> features = {};

  // In bytes. L1d and L2 of the first core, one L3 of those that the machine has.
  std::optional<uint64_t> l1d_bytes = std::nullopt;
  std::optional<uint64_t> l2_bytes = std::nullopt;
  std::optional<uint64_t> l3_bytes = std::nullopt;
  std::optional<uint64_t> cache_line_bytes = std::nullopt;
  // All caches of the last level together: what a buffer must exceed to be streamed from memory.
  std::optional<uint64_t> last_level_bytes = std::nullopt;

  uint64_t page_bytes = 0;
  TransparentHugePages huge_pages = TransparentHugePages::kUnknown;
  std::optional<uint64_t> huge_page_bytes = std::nullopt;

  uint64_t memory_bytes = 0;                             // of the machine
  uint64_t available_bytes = 0;                          // what this process could still take
  std::optional<uint64_t> cgroup_limit = std::nullopt;   // the least of its group and those above
  std::optional<uint64_t> data_limit = std::nullopt;     // RLIMIT_DATA
  std::optional<uint64_t> address_limit = std::nullopt;  // RLIMIT_AS
  bool unified_memory = false;                           // the host's pointers are the device's

  // Empty when it was not to be measured, or when memory is too short for the buffer.
  std::optional<MemoryBandwidth> bandwidth = std::nullopt;

  // The errors of backend(); kCorrupt when the limits of its container cannot be read.
  static Result<DeviceCapabilities> for_device(Device device, Bandwidth bandwidth = Bandwidth::kMeasure);
};

// The CPU's. Measured by the first caller; every later one gets the same figures. kLimit, kOutOfMemory when
// there is no room for a buffer.
LOBIT_API Result<MemoryBandwidth> memory_bandwidth();

}  // namespace lobit
