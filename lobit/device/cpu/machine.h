// What procfs and sysfs tell about the machine. Internal to device. Functions without state; `root` stands
// for "/", so that tests can hand in a tree of their own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "lobit/device/backend.h"
#include "lobit/device/capabilities.h"

namespace lobit::detail {

struct MachineMemory {
  std::optional<uint64_t> total = std::nullopt;  // bytes
  std::optional<uint64_t> available = std::nullopt;
};
MachineMemory machine_memory(const std::filesystem::path& root);

// What is left of it for this process, container limits included.
Result<DeviceMemory> process_memory(const std::filesystem::path& root);

std::string processor_name(const std::filesystem::path& root);
std::optional<size_t> physical_cores(const std::filesystem::path& root);

struct Caches {
  std::optional<uint64_t> l1d = std::nullopt;  // bytes
  std::optional<uint64_t> l2 = std::nullopt;
  std::optional<uint64_t> l3 = std::nullopt;
  std::optional<uint64_t> line = std::nullopt;
  std::optional<uint64_t> last_level = std::nullopt;  // all of that level together
};
Caches machine_caches(const std::filesystem::path& root);

TransparentHugePages huge_page_mode(const std::filesystem::path& root);
std::optional<uint64_t> huge_page_bytes(const std::filesystem::path& root);

// All of the above, and what only the running process knows: page size, limits, instructions, bandwidth.
Result<DeviceCapabilities> machine_capabilities(const std::filesystem::path& root, Bandwidth bandwidth);

}  // namespace lobit::detail
