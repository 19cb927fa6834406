#include "lobit/device/pressure_stall.h"

#include <string>
#include <string_view>

#include <fmt/format.h>

#include "lobit/device/system_file.h"

namespace lobit {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxFile = 4096;  // the kernel writes two lines

// A line is "some avg10=0.00 avg60=0.00 avg300=0.00 total=0".
std::optional<uint64_t> total_of(std::string_view text, std::string_view key) {
  const auto line = detail::line_value(text, key);
  if (!line) return std::nullopt;
  constexpr std::string_view kTotal = "total=";
  for (const std::string_view field : detail::split(*line, ' ')) {
    if (field.starts_with(kTotal)) return detail::parse_decimal(field.substr(kTotal.size()));
  }
  return std::nullopt;
}

Result<std::optional<MemoryStall>> read_file(const fs::path& file) {
  LOBIT_TRY(const std::optional<std::string> text, detail::read_system_file(file, kMaxFile));
  if (!text) return std::optional<MemoryStall>();
  const std::optional<uint64_t> some = total_of(*text, "some");
  const std::optional<uint64_t> full = total_of(*text, "full");
  if (!some || !full) {
    constexpr size_t kShown = 40;
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: expected lines 'some' and 'full' with a total, found '{}'", file.native(),
                            detail::trimmed(*text).substr(0, kShown)));
  }
  return MemoryStall{.path = file, .some_us = *some, .full_us = *full};
}

}  // namespace

Result<std::optional<MemoryStall>> read_memory_stall(const CgroupMemory& cgroup, const fs::path& root) {
  if (cgroup.version == 2) {
    for (const CgroupGroup& group : cgroup.groups) {
      LOBIT_TRY(auto stall, read_file(group.path / "memory.pressure"));
      if (stall) return stall;
    }
  }
  return read_file(root / "proc/pressure/memory");
}

}  // namespace lobit
