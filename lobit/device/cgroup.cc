#include "lobit/device/cgroup.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "lobit/device/system_file.h"

namespace lobit {
namespace {

namespace fs = std::filesystem;
using detail::line_value;
using detail::parse_decimal;
using detail::read_system_file;
using detail::split;
using detail::trimmed;

// Version 1 says "no limit" with the largest multiple of a page below 2^63. No machine has this much.
constexpr uint64_t kNoLimit = uint64_t{1} << 62;
constexpr size_t kMaxPath = 4096;  // the kernel's PATH_MAX

tl::unexpected<Error> corrupt(const fs::path& file, std::string_view expected, std::string_view found) {
  constexpr size_t kShown = 40;
  return fail(ErrorCode::kCorrupt, fmt::format("{}: expected {}, found '{}'", file.native(), expected,
                                               trimmed(found).substr(0, kShown)));
}

struct OwnGroup {
  int version = 0;
  std::string path;  // below the root of the hierarchy
};

// Lines of /proc/self/cgroup are "hierarchy:controllers:path". Version 1 manages memory when one of them
// names that controller; version 2 is the line "0::path".
Result<OwnGroup> own_group(const fs::path& root) {
  const fs::path file = root / "proc/self/cgroup";
  LOBIT_TRY(const std::optional<std::string> text, read_system_file(file));
  OwnGroup own;
  for (const std::string_view line : split(text ? *text : std::string_view(), '\n')) {
    if (line.empty()) continue;
    const size_t first = line.find(':');
    const size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) return corrupt(file, "hierarchy:controllers:path", line);
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const auto names = split(controllers, ',');
    const bool v1 = std::ranges::find(names, "memory") != names.end();
    if (!v1 && !line.starts_with("0::")) continue;
    const std::string_view path = line.substr(second + 1);
    if (!path.starts_with('/') || path.size() > kMaxPath) return corrupt(file, "a path", path);
    own = {v1 ? 1 : 2, std::string(path)};
    if (v1) return own;
  }
  return own;
}

// mountinfo writes blanks and backslashes as \040 and the like.
std::string unescaped(std::string_view text) {
  const auto octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) && octal(text[i + 2]) &&
        octal(text[i + 3])) {
      out.push_back(
          static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + text[i + 3] - '0'));
      i += 3;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

struct Mount {
  std::string top;    // which group is mounted
  std::string point;  // where
};

// A line: id, parent, device, top, point, options, optional fields, "-", type, source, options of the type.
std::optional<Mount> hierarchy_mount(std::string_view line, int version) {
  const size_t dash = line.find(" - ");
  if (dash == std::string_view::npos) return std::nullopt;
  const auto fields = split(line.substr(0, dash), ' ');
  const auto type = split(line.substr(dash + 3), ' ');
  if (fields.size() < 6 || type.size() < 3) return std::nullopt;
  if (type[0] != (version == 2 ? "cgroup2" : "cgroup")) return std::nullopt;
  const auto options = split(type[2], ',');
  if (version == 1 && std::ranges::find(options, "memory") == options.end()) return std::nullopt;
  return Mount{unescaped(fields[3]), unescaped(fields[4])};
}

// `path` below `top`, without a slash at its beginning; empty when it lies elsewhere.
std::optional<std::string_view> below(std::string_view path, std::string_view top) {
  while (top.ends_with('/')) top.remove_suffix(1);
  if (!path.starts_with(top)) return std::nullopt;
  path.remove_prefix(top.size());
  if (!path.empty() && path[0] != '/') return std::nullopt;
  path.remove_prefix(std::min(path.find_first_not_of('/'), path.size()));
  return path;
}

// The process's group and those above it, down from the mount's top and then turned round. In a container the
// mount may show the container's own group alone; a group that lies outside of it, as a namespace can make it
// appear, is read at the mount.
Result<std::vector<fs::path>> group_folders(const fs::path& root, const OwnGroup& own) {
  LOBIT_TRY(const std::optional<std::string> text, read_system_file(root / "proc/self/mountinfo"));
  std::string point = own.version == 2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
  std::vector<std::string_view> names;
  bool first = true;
  for (const std::string_view line : split(text ? *text : std::string_view(), '\n')) {
    const std::optional<Mount> mount = hierarchy_mount(line, own.version);
    if (!mount) continue;
    if (std::exchange(first, false)) point = mount->point;
    const auto rest = below(own.path, mount->top);
    if (!rest) continue;
    names = split(*rest, '/');
    if (std::ranges::find(names, "..") != names.end()) {
      names.clear();
      continue;
    }
    point = mount->point;
    break;
  }
  std::vector<fs::path> folders{detail::under_root(root, point)};
  for (const std::string_view name : names) {
    if (!name.empty() && name != ".") folders.push_back(folders.back() / name);
  }
  std::ranges::reverse(folders);
  return folders;
}

// A file with one number; "max" and what no machine has are no number.
Result<std::optional<uint64_t>> read_number(const fs::path& file) {
  LOBIT_TRY(const std::optional<std::string> text, read_system_file(file));
  if (!text || trimmed(*text) == "max") return std::optional<uint64_t>();
  const std::optional<uint64_t> number = parse_decimal(trimmed(*text));
  if (!number) return corrupt(file, "a number of bytes", *text);
  return *number >= kNoLimit ? std::nullopt : number;
}

Result<std::optional<uint64_t>> stat_number(const fs::path& file, std::string_view text,
                                            std::string_view key) {
  const auto value = line_value(text, key);
  if (!value) return std::optional<uint64_t>();
  const std::optional<uint64_t> number = parse_decimal(*value);
  if (!number) return corrupt(file, fmt::format("a number behind {}", key), *value);
  return *number >= kNoLimit ? std::nullopt : number;
}

std::optional<uint64_t> least(std::optional<uint64_t> a, std::optional<uint64_t> b) {
  if (!a || !b) return a ? a : b;
  return std::min(*a, *b);
}

Result<CgroupGroup> read_group(const fs::path& folder, int version) {
  CgroupGroup group{.path = folder};
  const bool v2 = version == 2;
  LOBIT_TRY(group.limit, read_number(folder / (v2 ? "memory.max" : "memory.limit_in_bytes")));
  LOBIT_TRY(group.usage, read_number(folder / (v2 ? "memory.current" : "memory.usage_in_bytes")));
  const fs::path file = folder / "memory.stat";
  LOBIT_TRY(const std::optional<std::string> text, read_system_file(file));
  const std::string_view stat = text ? *text : std::string_view();
  LOBIT_TRY(const auto inactive, stat_number(file, stat, v2 ? "inactive_file" : "total_inactive_file"));
  group.inactive_file = inactive.value_or(0);
  if (v2) {
    // Above memory.high the kernel slows the group down until it is below: as good as a limit.
    LOBIT_TRY(const auto high, read_number(folder / "memory.high"));
    group.limit = least(group.limit, high);
  } else {
    // Includes the groups above that this process does not see.
    LOBIT_TRY(const auto hierarchy, stat_number(file, stat, "hierarchical_memory_limit"));
    group.limit = least(group.limit, hierarchy);
  }
  return group;
}

// Without use_hierarchy, a group of version 1 does not count what the groups below it hold.
Result<bool> counts_groups_below(const fs::path& folder, int version) {
  if (version != 1) return true;
  LOBIT_TRY(const auto hierarchy, read_number(folder / "memory.use_hierarchy"));
  return hierarchy.value_or(1) != 0;
}

}  // namespace

std::optional<uint64_t> CgroupGroup::in_use() const {
  if (!usage) return std::nullopt;
  return *usage - std::min(*usage, inactive_file);
}

std::optional<uint64_t> CgroupGroup::room() const {
  const std::optional<uint64_t> used = in_use();
  if (!limit || !used) return std::nullopt;
  return *limit - std::min(*limit, *used);
}

std::optional<uint64_t> CgroupMemory::limit() const {
  std::optional<uint64_t> lowest;
  for (const CgroupGroup& group : groups) lowest = least(lowest, group.limit);
  return lowest;
}

std::optional<uint64_t> CgroupMemory::room() const {
  const CgroupGroup* const group = tightest();
  return group == nullptr ? std::nullopt : group->room();
}

const CgroupGroup* CgroupMemory::tightest() const {
  const CgroupGroup* found = nullptr;
  for (const CgroupGroup& group : groups) {
    const std::optional<uint64_t> room = group.room();
    if (room && (found == nullptr || *room < *found->room())) found = &group;
  }
  return found;
}

Result<CgroupMemory> read_cgroup_memory(const fs::path& root) {
  LOBIT_TRY(const OwnGroup own, own_group(root));
  CgroupMemory memory;
  if (own.version == 0) return memory;
  LOBIT_TRY(const std::vector<fs::path> folders, group_folders(root, own));
  memory.version = own.version;
  for (const fs::path& folder : folders) {
    LOBIT_TRY(const bool counts, counts_groups_below(folder, own.version));
    if (!counts && &folder != &folders.front()) break;
    LOBIT_TRY(CgroupGroup group, read_group(folder, own.version));
    if (group.limit || group.usage) memory.groups.push_back(std::move(group));
  }
  return memory;
}

}  // namespace lobit
