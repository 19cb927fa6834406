#include "lobit/device/cpu/machine.h"

#include "lobit/base/test_support.h"
#include "lobit/device/cpu/bandwidth.h"
#include "lobit/device/system_tree.h"

namespace lobit::detail {
namespace {

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;
constexpr uint64_t kGiB = 1024 * kMiB;

// A processor with its caches: L1d and L1i of its core, L2 of its core, L3 of `l3_group`.
void processor(SystemTree& tree, int number, const std::string& core, const std::string& l3_group) {
  const std::string at = "sys/devices/system/cpu/cpu" + std::to_string(number);
  tree.file(at + "/topology/core_cpus_list", core + "\n");
  const auto cache = [&](int index, const char* level, const char* type, const char* size,
                         const std::string& shared) {
    const std::string folder = at + "/cache/index" + std::to_string(index);
    tree.file(folder + "/level", level).file(folder + "/type", type).file(folder + "/size", size);
    tree.file(folder + "/shared_cpu_list", shared).file(folder + "/coherency_line_size", "64\n");
  };
  cache(0, "1\n", "Data\n", "48K\n", core);
  cache(1, "1\n", "Instruction\n", "32K\n", core);
  cache(2, "2\n", "Unified\n", "2048K\n", core);
  cache(3, "3\n", "Unified\n", "32M\n", l3_group);
}

TEST(MachineCaches, SharedOnesCountOnce) {
  SystemTree tree;
  for (int i = 0; i < 8; ++i) processor(tree, i, i % 2 == 0 ? "0,1" : "2,3", i < 4 ? "0-3" : "4-7");
  tree.file("sys/devices/system/cpu/cpufreq/boost", "1\n");
  const Caches caches = machine_caches(tree.root());
  EXPECT_EQ(caches.l1d, 48 * kKiB);
  EXPECT_EQ(caches.l2, 2 * kMiB);
  EXPECT_EQ(caches.l3, 32 * kMiB);
  EXPECT_EQ(caches.line, 64u);
  EXPECT_EQ(caches.last_level, 64 * kMiB);
  EXPECT_EQ(physical_cores(tree.root()), 2u);
}

TEST(MachineCaches, GarbageIsAbsent) {
  SystemTree tree;
  EXPECT_EQ(machine_caches(tree.root()).last_level, std::nullopt);
  EXPECT_EQ(physical_cores(tree.root()), std::nullopt);
  processor(tree, 0, "0", "0");
  const std::string at = "sys/devices/system/cpu/cpu0/cache/";
  for (const char* size : {"", "K", "-1K", "32X", "99999999999999999999K", "18446744073709551615M", "0K"}) {
    tree.file(at + "index3/size", size);
    const Caches caches = machine_caches(tree.root());
    EXPECT_EQ(caches.l3, std::nullopt) << size;
    EXPECT_EQ(caches.last_level, 2 * kMiB) << size;
  }
}

TEST(MachineMemory, ComesFromMeminfo) {
  SystemTree tree;
  EXPECT_EQ(machine_memory(tree.root()).total, std::nullopt);
  tree.file("proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\nMemAvailable:    4194304 kB\n");
  EXPECT_EQ(machine_memory(tree.root()).total, 8 * kGiB);
  EXPECT_EQ(machine_memory(tree.root()).available, 4 * kGiB);
  tree.file("proc/meminfo", "MemTotal: much kB\nMemAvailable\n");
  EXPECT_EQ(machine_memory(tree.root()).total, std::nullopt);
  EXPECT_EQ(machine_memory(tree.root()).available, std::nullopt);
}

TEST(ProcessMemory, IsCutByTheContainer) {
  SystemTree tree;
  tree.file("proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n");
  auto memory = process_memory(tree.root());
  ASSERT_THAT(memory, is_ok());
  EXPECT_EQ(memory->total, 8 * kGiB);
  EXPECT_EQ(memory->free, 4 * kGiB);
  tree.file("proc/self/cgroup", "0::/\n");
  tree.file("sys/fs/cgroup/memory.max", "1073741824\n").file("sys/fs/cgroup/memory.current", "1048576\n");
  memory = process_memory(tree.root());
  ASSERT_THAT(memory, is_ok());
  EXPECT_EQ(memory->total, kGiB);
  EXPECT_EQ(memory->free, kGiB - kMiB);
  tree.file("sys/fs/cgroup/memory.max", "109951162777600\n");
  memory = process_memory(tree.root());
  ASSERT_THAT(memory, is_ok());
  EXPECT_EQ(memory->total, 8 * kGiB);
  EXPECT_EQ(memory->free, 4 * kGiB);
  tree.file("sys/fs/cgroup/memory.max", "?\n");
  EXPECT_THAT(process_memory(tree.root()), fails_with(ErrorCode::kCorrupt));
}

TEST(ProcessorName, IsOnTheLineOfItsKind) {
  SystemTree tree;
  EXPECT_EQ(processor_name(tree.root()), "");
  tree.file("proc/cpuinfo", "processor\t: 0\nmodel\t\t: 17\nmodel name\t: Some CPU @ 3.0GHz\n");
  EXPECT_EQ(processor_name(tree.root()), "Some CPU @ 3.0GHz");
  tree.file("proc/cpuinfo", "processor\t: 0\nModel\t\t: Small Board 4\n");
  EXPECT_EQ(processor_name(tree.root()), "Small Board 4");
}

TEST(HugePages, ModeIsTheWordInBrackets) {
  SystemTree tree;
  const std::string at = "sys/kernel/mm/transparent_hugepage/";
  EXPECT_EQ(huge_page_mode(tree.root()), TransparentHugePages::kUnknown);
  using enum TransparentHugePages;
  for (const auto& [text, mode] : {std::pair{"[always] madvise never\n", kAlways},
                                   {"always [madvise] never\n", kMadvise},
                                   {"always madvise [never]\n", kNever},
                                   {"always madvise never\n", kUnknown}}) {
    tree.file(at + "enabled", text);
    EXPECT_EQ(huge_page_mode(tree.root()), mode) << text;
  }
  tree.file(at + "hpage_pmd_size", "2097152\n");
  EXPECT_EQ(huge_page_bytes(tree.root()), 2 * kMiB);
}

TEST(MachineCapabilities, AreThoseOfTheTree) {
  SystemTree tree;
  processor(tree, 0, "0", "0");
  tree.file("proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n");
  tree.file("proc/self/cgroup", "0::/\n").file("sys/fs/cgroup/memory.max", "1073741824\n");
  const auto machine = machine_capabilities(tree.root(), Bandwidth::kSkip);
  ASSERT_THAT(machine, is_ok());
  EXPECT_EQ(machine->l2_bytes, 2 * kMiB);
  EXPECT_EQ(machine->last_level_bytes, 32 * kMiB);
  EXPECT_EQ(machine->physical_cores, 1u);
  EXPECT_EQ(machine->memory_bytes, 8 * kGiB);
  EXPECT_EQ(machine->cgroup_limit, kGiB);
  EXPECT_EQ(machine->available_bytes, kGiB);
  EXPECT_EQ(machine->bandwidth, std::nullopt);
}

TEST(BandwidthBuffer, ExceedsTheCachesWithinWhatIsAvailable) {
  EXPECT_EQ(bandwidth_buffer_bytes(40 * kMiB, 64 * kGiB), 160 * kMiB);
  EXPECT_EQ(bandwidth_buffer_bytes(std::nullopt, 64 * kGiB), 32 * kMiB);
  EXPECT_EQ(bandwidth_buffer_bytes(kMiB, 64 * kGiB), 32 * kMiB);
  EXPECT_EQ(bandwidth_buffer_bytes(UINT64_MAX, 64 * kGiB), 512 * kMiB);
  EXPECT_EQ(bandwidth_buffer_bytes(40 * kMiB, 128 * kMiB), 16 * kMiB);
  EXPECT_EQ(bandwidth_buffer_bytes(40 * kMiB, 16 * kMiB), 0u);
}

TEST(MeasureBandwidth, SharesTheBufferOut) {
  const auto measured = measure_bandwidth(4 * kMiB, 3, std::chrono::microseconds(100));
  ASSERT_THAT(measured, is_ok());
  EXPECT_EQ(measured->threads, 3u);
  EXPECT_EQ(measured->buffer_bytes, 4 * kMiB);
  for (const double rate : {measured->read_one, measured->copy_one, measured->read_all, measured->copy_all}) {
    EXPECT_GT(rate, 0);
  }
  EXPECT_EQ(measure_bandwidth(kMiB, 100, std::chrono::microseconds(10))->threads, 2u);
  EXPECT_THAT(measure_bandwidth(0, 1, std::chrono::microseconds(10)), fails_with(ErrorCode::kLimit));
}

}  // namespace
}  // namespace lobit::detail
