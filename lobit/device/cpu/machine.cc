#include "lobit/device/cpu/machine.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include <sys/resource.h>
#include <unistd.h>

#include "lobit/base/checked.h"
#include "lobit/base/thread_pool.h"
#include "lobit/device/cgroup.h"
#include "lobit/device/cpu/features.h"
#include "lobit/device/system_file.h"

namespace lobit::detail {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kProcessors = "sys/devices/system/cpu";
constexpr uint64_t kKiB = 1024;

// "32K", "32768K", "1M", "512": sysfs's sizes of caches. "24105 kB": those of meminfo.
std::optional<uint64_t> size_of(std::string_view text) {
  const size_t end = std::min(text.find_first_not_of("0123456789"), text.size());
  const std::optional<uint64_t> number = parse_decimal(text.substr(0, end));
  const std::string_view unit = trimmed(text.substr(end));
  if (!number) return std::nullopt;
  if (unit.empty()) return number;
  if (unit == "K" || unit == "kB") return checked_mul(*number, kKiB);
  if (unit == "M") return checked_mul(*number, kKiB * kKiB);
  return std::nullopt;
}

std::optional<uint64_t> size_in(const fs::path& file) {
  const auto text = system_text(file);
  return text ? size_of(*text) : std::nullopt;
}

// The folders cpu0, cpu1, ... in the order of their numbers.
std::vector<fs::path> processor_folders(const fs::path& root) {
  std::map<uint64_t, fs::path> found;
  std::error_code problem;
  fs::directory_iterator entry(root / kProcessors, problem);
  while (!problem && entry != fs::directory_iterator()) {
    const std::string name = entry->path().filename().native();
    if (name.starts_with("cpu")) {
      const auto number = parse_decimal(std::string_view(name).substr(3));
      if (number) found.emplace(*number, entry->path());
    }
    entry.increment(problem);
  }
  std::vector<fs::path> folders;
  for (auto& [number, path] : found) folders.push_back(std::move(path));
  return folders;
}

struct Cache {
  uint64_t level = 0;
  uint64_t bytes = 0;
  std::optional<uint64_t> line = std::nullopt;
  std::string shared_with = {};  // the processors that have it in common
};

// The caches for data of one processor.
std::vector<Cache> data_caches(const fs::path& processor) {
  constexpr int kMostIndexes = 16;
  std::vector<Cache> caches;
  for (int i = 0; i < kMostIndexes; ++i) {
    const fs::path folder = processor / "cache" / ("index" + std::to_string(i));
    const auto type = system_text(folder / "type");
    if (!type) break;
    if (*type != "Data" && *type != "Unified") continue;
    const auto level = size_in(folder / "level");
    const auto bytes = size_in(folder / "size");
    if (!level || !bytes || *bytes == 0) continue;
    caches.push_back({*level, *bytes, size_in(folder / "coherency_line_size"),
                      system_text(folder / "shared_cpu_list").value_or(processor.native())});
  }
  return caches;
}

std::optional<uint64_t> positive(long value) {
  return value > 0 ? std::optional<uint64_t>(static_cast<uint64_t>(value)) : std::nullopt;
}

// What the C library knows of the running processor, where sysfs shows no caches (some containers).
Caches caches_of_c_library() {
  Caches caches{.l1d = positive(::sysconf(_SC_LEVEL1_DCACHE_SIZE)),
                .l2 = positive(::sysconf(_SC_LEVEL2_CACHE_SIZE)),
                .l3 = positive(::sysconf(_SC_LEVEL3_CACHE_SIZE)),
                .line = positive(::sysconf(_SC_LEVEL1_DCACHE_LINESIZE))};
  caches.last_level = caches.l3 ? caches.l3 : caches.l2;
  return caches;
}

std::optional<uint64_t> process_limit(int resource) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0) return std::nullopt;
  if (limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  return limit.rlim_cur;
}

}  // namespace

MachineMemory machine_memory(const fs::path& root) {
  const auto text = system_text(root / "proc/meminfo");
  if (!text) return {};
  const auto value = [&](std::string_view key) {
    const auto found = line_value(*text, key);
    return found ? size_of(*found) : std::nullopt;
  };
  return {value("MemTotal"), value("MemAvailable")};
}

Result<DeviceMemory> process_memory(const fs::path& root) {
  const MachineMemory machine = machine_memory(root);
  LOBIT_TRY(const CgroupMemory cgroup, read_cgroup_memory(root));
  const uint64_t page = static_cast<uint64_t>(std::max(1L, ::sysconf(_SC_PAGESIZE)));
  const auto pages = [&](int name) { return positive(::sysconf(name)).value_or(0) * page; };
  DeviceMemory memory;
  memory.total = machine.total ? *machine.total : pages(_SC_PHYS_PAGES);
  memory.free = machine.available ? *machine.available : pages(_SC_AVPHYS_PAGES);
  memory.total = std::min(memory.total, cgroup.limit().value_or(memory.total));
  memory.free = std::min({memory.free, cgroup.room().value_or(memory.free), memory.total});
  return memory;
}

std::string processor_name(const fs::path& root) {
  // The first processor's lines suffice; the file has more for each of hundreds.
  constexpr size_t kEnough = 16384;
  const auto text = system_text(root / "proc/cpuinfo", kEnough);
  if (!text) return {};
  for (const std::string_view key : {"model name", "Model", "Hardware"}) {
    if (const auto name = line_value(*text, key)) return std::string(*name);
  }
  return {};
}

std::optional<size_t> physical_cores(const fs::path& root) {
  // The threads of one core all name the same list.
  std::set<std::string> cores;
  for (const fs::path& processor : processor_folders(root)) {
    auto threads = system_text(processor / "topology/core_cpus_list");
    if (!threads) threads = system_text(processor / "topology/thread_siblings_list");
    if (threads) cores.insert(std::move(*threads));
  }
  return cores.empty() ? std::nullopt : std::optional<size_t>(cores.size());
}

Caches machine_caches(const fs::path& root) {
  Caches caches;
  uint64_t last = 0;
  std::map<std::string, uint64_t> last_level;
  for (const fs::path& processor : processor_folders(root)) {
    for (Cache& cache : data_caches(processor)) {
      std::optional<uint64_t>* const size = cache.level == 1   ? &caches.l1d
                                            : cache.level == 2 ? &caches.l2
                                            : cache.level == 3 ? &caches.l3
                                                               : nullptr;
      if (size != nullptr && !*size) *size = cache.bytes;
      if (!caches.line) caches.line = cache.line;
      if (cache.level > last) last_level.clear();
      last = std::max(last, cache.level);
      if (cache.level == last) last_level.emplace(std::move(cache.shared_with), cache.bytes);
    }
  }
  for (const auto& [processors, bytes] : last_level) {
    caches.last_level = checked_add(caches.last_level.value_or(0), bytes).value_or(UINT64_MAX);
  }
  return caches;
}

TransparentHugePages huge_page_mode(const fs::path& root) {
  // "always [madvise] never": the one in brackets is chosen.
  const std::string text = system_text(root / "sys/kernel/mm/transparent_hugepage/enabled").value_or("");
  using enum TransparentHugePages;
  for (const TransparentHugePages mode : {kNever, kMadvise, kAlways}) {
    if (text.find("[" + std::string(transparent_huge_pages_name(mode)) + "]") != std::string::npos) {
      return mode;
    }
  }
  return kUnknown;
}

std::optional<uint64_t> huge_page_bytes(const fs::path& root) {
  return size_in(root / "sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
}

Result<DeviceCapabilities> machine_capabilities(const fs::path& root, Bandwidth bandwidth) {
  LOBIT_TRY(const DeviceMemory memory, process_memory(root));
  LOBIT_TRY(const CgroupMemory cgroup, read_cgroup_memory(root));
  Caches caches = machine_caches(root);
  if (!caches.last_level) caches = caches_of_c_library();
  DeviceCapabilities out{.name = processor_name(root),
                         .physical_cores = physical_cores(root),
                         .threads = ThreadPool::default_threads(),
                         .features = processor_features(),
                         .l1d_bytes = caches.l1d,
                         .l2_bytes = caches.l2,
                         .l3_bytes = caches.l3,
                         .cache_line_bytes = caches.line,
                         .last_level_bytes = caches.last_level,
                         .page_bytes = positive(::sysconf(_SC_PAGESIZE)).value_or(0),
                         .huge_pages = huge_page_mode(root),
                         .huge_page_bytes = huge_page_bytes(root),
                         .memory_bytes = machine_memory(root).total.value_or(memory.total),
                         .available_bytes = memory.free,
                         .cgroup_limit = cgroup.limit(),
                         .data_limit = process_limit(RLIMIT_DATA),
                         .address_limit = process_limit(RLIMIT_AS),
                         .unified_memory = true};
  if (bandwidth == Bandwidth::kMeasure) {
    // Too little memory to measure in is a fact of the machine, not an error of the question.
    if (const auto measured = memory_bandwidth()) out.bandwidth = *measured;
  }
  return out;
}

}  // namespace lobit::detail
