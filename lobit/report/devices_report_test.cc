#include "lobit/report/devices_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace lobit {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

DevicesReport two_devices() {
  DeviceFigures figures{.name = "Some CPU",
                        .physical_cores = 8,
                        .threads = 16,
                        .features = {"avx2", "fma"},
                        .l1d = 32768,
                        .l2 = 1048576,
                        .l3 = 33554432,
                        .last_level = 33554432,
                        .cache_line = 64,
                        .page = 4096,
                        .huge_pages = "madvise",
                        .huge_page = 2097152,
                        .memory = uint64_t{64} << 30,
                        .available = uint64_t{48} << 30,
                        .cgroup_limit = uint64_t{56} << 30,
                        .unified_memory = true,
                        .bandwidth = BandwidthFigures{12.5, 8, 40, 22.25, 16, 67108864}};
  return {.selected = "cpu",
          .devices = {{.device = "cpu", .figures = figures},
                      {.device = "cuda", .reason = "device cuda:0: expected option LOBIT_CUDA"}}};
}

TEST(DevicesReport, TellsWhatThereIsAndWhyNot) {
  EXPECT_EQ(to_text(two_devices()),
            "device  available      what it is\n"
            "─────────────────────────────────\n"
            "cpu     yes, selected  Some CPU\n"
            "cuda    no\n"
            "\n"
            "cpu\n"
            "  cores        8 cores, 16 threads usable\n"
            "  instructions avx2 fma\n"
            "  caches       L1d 32 KiB, L2 1 MiB, L3 32 MiB, line 64 B\n"
            "  pages        4 KiB, huge pages: madvise (2 MiB)\n"
            "  memory       64 GiB, 48 GiB available, shared with the host\n"
            "  limits       cgroup 56 GiB, RLIMIT_DATA none, RLIMIT_AS none\n"
            "  bandwidth    1 thread: read 12.5 GB/s, copy 8.00 GB/s; 16 threads: read 40.0 GB/s, copy 22.2 "
            "GB/s\n"
            "\n"
            "cuda\n"
            "  why not      device cuda:0: expected option LOBIT_CUDA\n");
}

TEST(DevicesReport, LeavesOutWhatIsNotKnown) {
  const DevicesReport report{.devices = {{.device = "cpu", .figures = DeviceFigures{.threads = 1}}}};
  const std::string text = to_text(report);
  EXPECT_THAT(text, HasSubstr("cores        1 thread usable\n"));
  EXPECT_THAT(text, HasSubstr("L1d unknown, L2 unknown, L3 unknown, line unknown\n"));
  EXPECT_THAT(text, Not(HasSubstr("bandwidth")));
  const json one = json::parse(to_json(report))["devices"][0]["capabilities"];
  for (const char* key :
       {"name", "physical_cores", "l1d_bytes", "l2_bytes", "l3_bytes", "last_level_bytes", "cache_line_bytes",
        "huge_page_bytes", "cgroup_limit", "data_limit", "address_limit", "bandwidth"}) {
    EXPECT_FALSE(one.contains(key)) << key;
  }
}

TEST(DevicesReport, NamesTheLastLevelWhereItIsSeveralCaches) {
  DevicesReport report = two_devices();
  report.devices[0].figures->last_level = 134217728;
  EXPECT_THAT(to_text(report), HasSubstr("L3 32 MiB (128 MiB of the last level in all), line"));
}

TEST(DevicesReport, JsonHasEveryFigure) {
  const json report = json::parse(to_json(two_devices()));
  EXPECT_EQ(report["schema"], "lobit.devices.v1");
  EXPECT_EQ(report["selected"], "cpu");
  EXPECT_EQ(report["devices"][0]["available"], true);
  EXPECT_EQ(report["devices"][1], (json{{"device", "cuda"},
                                        {"available", false},
                                        {"reason", "device cuda:0: expected option LOBIT_CUDA"}}));
  EXPECT_EQ(report["devices"][0]["capabilities"], (json{{"name", "Some CPU"},
                                                        {"physical_cores", 8},
                                                        {"threads", 16},
                                                        {"features", {"avx2", "fma"}},
                                                        {"l1d_bytes", 32768},
                                                        {"l2_bytes", 1048576},
                                                        {"l3_bytes", 33554432},
                                                        {"last_level_bytes", 33554432},
                                                        {"cache_line_bytes", 64},
                                                        {"page_bytes", 4096},
                                                        {"huge_pages", "madvise"},
                                                        {"huge_page_bytes", 2097152},
                                                        {"memory_bytes", uint64_t{64} << 30},
                                                        {"available_bytes", uint64_t{48} << 30},
                                                        {"cgroup_limit", uint64_t{56} << 30},
                                                        {"unified_memory", true},
                                                        {"bandwidth",
                                                         {{"read_one_gb_per_s", 12.5},
                                                          {"copy_one_gb_per_s", 8.0},
                                                          {"read_all_gb_per_s", 40.0},
                                                          {"copy_all_gb_per_s", 22.25},
                                                          {"threads", 16},
                                                          {"buffer_bytes", 67108864}}}}));
}

}  // namespace
}  // namespace lobit
