#include "lobit/device/capabilities.h"

#include <algorithm>
#include <bit>
#include <fstream>
#include <thread>

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lobit/base/test_support.h"
#include "lobit/device/backend.h"

namespace lobit {
namespace {

// The value behind a key of /proc/meminfo, in bytes.
uint64_t meminfo(const std::string& key) {
  std::ifstream file("/proc/meminfo");
  std::string word;
  while (file >> word) {
    uint64_t kib = 0;
    if (word == key + ":" && file >> kib) return kib * 1024;
  }
  return 0;
}

// Whether /proc/cpuinfo lists a flag, as the kernel spells it.
bool cpuinfo_has(const std::string& flag) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string word; file >> word;) {
    if (word == flag) return true;
  }
  return false;
}

DeviceCapabilities of_cpu() {
  auto machine = DeviceCapabilities::for_device({}, Bandwidth::kSkip);
  EXPECT_THAT(machine, is_ok());
  return machine ? *machine : DeviceCapabilities();
}

TEST(DeviceCapabilities, AgreeWithTheSystem) {
  const DeviceCapabilities machine = of_cpu();
  EXPECT_EQ(machine.device, Device{});
  EXPECT_TRUE(machine.unified_memory);
  EXPECT_EQ(machine.memory_bytes, meminfo("MemTotal"));
  EXPECT_GT(machine.available_bytes, 0u);
  EXPECT_LE(machine.available_bytes, machine.memory_bytes);
  EXPECT_EQ(machine.page_bytes, static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)));
  cpu_set_t set;
  ASSERT_EQ(::sched_getaffinity(0, sizeof set, &set), 0);
  EXPECT_GE(machine.threads, 1u);
  EXPECT_LE(machine.threads, static_cast<size_t>(CPU_COUNT(&set)));
  if (machine.physical_cores) {
    EXPECT_LE(*machine.physical_cores, static_cast<size_t>(::sysconf(_SC_NPROCESSORS_CONF)));
  }
}

TEST(DeviceCapabilities, CachesArePlausibleWhereTheyAreKnown) {
  const DeviceCapabilities machine = of_cpu();
  if (machine.cache_line_bytes) {
    EXPECT_TRUE(std::has_single_bit(*machine.cache_line_bytes));
  }
  if (machine.l1d_bytes && machine.l2_bytes) {
    EXPECT_LT(*machine.l1d_bytes, *machine.l2_bytes);
  }
  if (machine.l3_bytes) {
    EXPECT_GE(machine.last_level_bytes, machine.l3_bytes);
  }
}

TEST(DeviceCapabilities, FeaturesAreThoseThatTheKernelLists) {
  const DeviceCapabilities machine = of_cpu();
  struct Spelling {
    const char* ours;
    const char* kernels;
  };
  // AMX is left out: the kernel lists it even where programs may not use it.
  for (const auto& [ours, kernels] : {Spelling{"sse4.2", "sse4_2"},
                                      {"avx2", "avx2"},
                                      {"fma", "fma"},
                                      {"f16c", "f16c"},
                                      {"avx512f", "avx512f"},
                                      {"avx512vnni", "avx512_vnni"},
                                      {"avx512vbmi", "avx512vbmi"},
                                      {"avx512bf16", "avx512_bf16"},
                                      {"neon", "asimd"},
                                      {"dotprod", "asimddp"}}) {
    EXPECT_EQ(std::ranges::count(machine.features, ours) == 1, cpuinfo_has(kernels)) << ours;
  }
}

TEST(DeviceCapabilities, LimitsOfTheProcessAreThoseSet) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_DATA, &before), 0);
  rlimit lower = before;
  lower.rlim_cur = std::min<rlim_t>(before.rlim_max, rlim_t{1} << 40);
  ASSERT_EQ(::setrlimit(RLIMIT_DATA, &lower), 0);
  EXPECT_EQ(of_cpu().data_limit, lower.rlim_cur);
  ASSERT_EQ(::setrlimit(RLIMIT_DATA, &before), 0);
  const auto expected =
      before.rlim_cur == RLIM_INFINITY ? std::nullopt : std::optional<uint64_t>(before.rlim_cur);
  EXPECT_EQ(of_cpu().data_limit, expected);
}

TEST(MemoryBandwidth, IsMeasuredOnceForAllThreads) {
  std::vector<MemoryBandwidth> seen(4);
  {
    std::vector<std::jthread> threads;
    for (MemoryBandwidth& one : seen) {
      threads.emplace_back([&one] { one = memory_bandwidth().value_or(MemoryBandwidth()); });
    }
  }
  EXPECT_GT(seen[0].read_one, 0);
  EXPECT_GT(seen[0].copy_all, 0);
  EXPECT_GE(seen[0].threads, 1u);
  for (const MemoryBandwidth& one : seen) {
    EXPECT_EQ(one.read_one, seen[0].read_one);
    EXPECT_EQ(one.copy_one, seen[0].copy_one);
    EXPECT_EQ(one.read_all, seen[0].read_all);
    EXPECT_EQ(one.copy_all, seen[0].copy_all);
  }
  const auto machine = DeviceCapabilities::for_device({});
  ASSERT_THAT(machine, is_ok());
  ASSERT_TRUE(machine->bandwidth.has_value());
  EXPECT_EQ(machine->bandwidth->read_one, seen[0].read_one);
  EXPECT_EQ(of_cpu().bandwidth.has_value(), false);
}

TEST(TransparentHugePages, HaveTheKernelsNames) {
  EXPECT_EQ(transparent_huge_pages_name(TransparentHugePages::kNever), "never");
  EXPECT_EQ(transparent_huge_pages_name(TransparentHugePages::kMadvise), "madvise");
  EXPECT_EQ(transparent_huge_pages_name(TransparentHugePages::kAlways), "always");
  EXPECT_EQ(transparent_huge_pages_name(TransparentHugePages::kUnknown), "unknown");
}

}  // namespace
}  // namespace lobit
