// What the monitor reads from control groups and stalls, in trees as the kernel would show them.
#include <string>
#include <vector>

#include "lobit/base/test_support.h"
#include "lobit/device/system_tree.h"
#include "lobit/memory/pressure_monitor.h"
#include "lobit/memory/pressure_rules_internal.h"
#include "lobit/memory/test_maintenance_clock.h"

namespace lobit {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using enum MemoryPressureLevel;

std::unique_ptr<PressureMonitor> make_monitor(const SystemTree& tree, PressureOptions options = {}) {
  options.interval = 0ms;
  options.root = tree.root();
  return PressureMonitor::create(options).value();
}

// Both hierarchies are mounted; the line says which is the process's.
SystemTree& in_group(SystemTree& tree, std::string_view line) {
  tree.file("proc/self/mountinfo",
            "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
            "35 22 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
  return tree.file("proc/self/cgroup", line);
}

void group_v2(SystemTree& tree, const std::string& folder, const std::string& limit, uint64_t usage,
              uint64_t inactive_file = 0) {
  const std::string at = "sys/fs/cgroup/" + folder;
  tree.file(at + "/memory.max", limit + "\n").file(at + "/memory.current", std::to_string(usage) + "\n");
  tree.file(at + "/memory.stat", "inactive_file " + std::to_string(inactive_file) + "\n");
}

void group_v1(SystemTree& tree, const std::string& folder, const std::string& limit, uint64_t usage,
              uint64_t inactive_file = 0) {
  const std::string at = "sys/fs/cgroup/memory/" + folder;
  tree.file(at + "/memory.limit_in_bytes", limit + "\n");
  tree.file(at + "/memory.usage_in_bytes", std::to_string(usage) + "\n");
  tree.file(at + "/memory.stat", "total_inactive_file " + std::to_string(inactive_file) + "\n");
}

PressureReading reading_of(PressureMonitor& monitor, PressureSource source) {
  for (const PressureReading& reading : monitor.status().sources) {
    if (reading.source == source) return reading;
  }
  ADD_FAILURE() << "no " << pressure_source_name(source);
  return {};
}

TEST(PressureOfContainer, TheFullestOfNestedGroupsDecides) {
  SystemTree tree;
  in_group(tree, "0::/a/b\n");
  group_v2(tree, "a", "1000000", 700000);
  group_v2(tree, "a/b", "10000", 6000);
  const auto monitor = make_monitor(tree);
  EXPECT_EQ(monitor->check(), kLow);
  group_v2(tree, "a/b", "10000", 9500);  // 300 KB are left in /a, 500 bytes in /a/b
  EXPECT_EQ(monitor->check(), kCritical);
  const PressureReading reading = reading_of(*monitor, PressureSource::kContainer);
  EXPECT_EQ(reading.name, tree.root() / "sys/fs/cgroup/a/b");
  EXPECT_EQ(reading.used, 9500u);
  EXPECT_EQ(reading.limit, 10000u);
  group_v2(tree, "a/b", "max", 9500);
  EXPECT_EQ(monitor->check(), kLow);
  EXPECT_EQ(reading_of(*monitor, PressureSource::kContainer).name, tree.root() / "sys/fs/cgroup/a");
}

TEST(PressureOfContainer, FilesThatWereReadAreNoPressure) {
  SystemTree tree;
  in_group(tree, "0::/a\n");
  group_v2(tree, "a", "1000", 1000, 400);
  const auto monitor = make_monitor(tree);
  EXPECT_EQ(monitor->check(), kNone);
  EXPECT_EQ(reading_of(*monitor, PressureSource::kContainer).used, 600u);
  group_v2(tree, "a", "1000", 1000, 100);
  EXPECT_EQ(monitor->check(), kHigh);
}

TEST(PressureOfContainer, HighIsALimitToo) {
  SystemTree tree;
  in_group(tree, "0::/a\n");
  group_v2(tree, "a", "1000", 500);
  const auto monitor = make_monitor(tree);
  EXPECT_EQ(monitor->check(), kNone);
  tree.file("sys/fs/cgroup/a/memory.high", "500\n");
  EXPECT_EQ(monitor->check(), kCritical);
  tree.file("sys/fs/cgroup/a/memory.high", "0\n");
  EXPECT_EQ(monitor->check(), kCritical);
}

TEST(PressureOfContainer, Version1CountsTheSame) {
  SystemTree tree;
  in_group(tree, "4:memory:/a/b\n");
  group_v1(tree, "a", "1000", 950, 100);
  group_v1(tree, "a/b", "9223372036854771712", 900);
  const auto monitor = make_monitor(tree);
  EXPECT_EQ(monitor->check(), kMedium);
  const PressureReading reading = reading_of(*monitor, PressureSource::kContainer);
  EXPECT_EQ(reading.name, tree.root() / "sys/fs/cgroup/memory/a");
  EXPECT_EQ(reading.used, 850u);
  group_v1(tree, "a/b", "900", 900);
  EXPECT_EQ(monitor->check(), kCritical);
}

TEST(PressureOfContainer, HasTheSlackOfPools) {
  SystemTree tree;
  in_group(tree, "0::/a\n");
  group_v2(tree, "a", "100", 95);
  const auto monitor = make_monitor(tree);
  EXPECT_EQ(monitor->check(), kCritical);
  group_v2(tree, "a", "100", 94);
  EXPECT_EQ(monitor->check(), kCritical);
  group_v2(tree, "a", "100", 93);
  EXPECT_EQ(monitor->check(), kHigh);
}

TEST(PressureOfContainer, IsLeftOutWhenItIsOff) {
  SystemTree tree;
  in_group(tree, "0::/a\n");
  group_v2(tree, "a", "100", 95);
  const auto monitor = make_monitor(tree, {.container = PressureWatch::kOff});
  const PressureStatus status = monitor->status();
  EXPECT_EQ(status.level, kNone);
  ASSERT_EQ(status.sources.size(), 1u);
  EXPECT_EQ(status.sources[0].source, PressureSource::kStall);
}

TEST(PressureOfContainer, ChangesNameTheGroup) {
  SystemTree tree;
  in_group(tree, "0::/a\n");
  group_v2(tree, "a", "100", 50);
  const auto monitor = make_monitor(tree);
  std::vector<PressureChange> changes;
  monitor->add_callback([&](const PressureChange& change) { changes.push_back(change); });
  monitor->check();
  group_v2(tree, "a", "100", 91);
  monitor->check();
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].to, kHigh);
  EXPECT_EQ(changes[0].cause.source, PressureSource::kContainer);
  EXPECT_EQ(changes[0].cause.name, tree.root() / "sys/fs/cgroup/a");
  EXPECT_EQ(changes[0].cause.used, 91u);
}

TEST(PressureOfFiles, AbsentOnesSayNothing) {
  const SystemTree tree;
  const auto monitor = make_monitor(tree);
  const PressureStatus status = monitor->status();
  EXPECT_EQ(status.level, kNone);
  ASSERT_EQ(status.sources.size(), 2u);
  for (const PressureReading& reading : status.sources) {
    EXPECT_EQ(reading.name, "");
    EXPECT_FALSE(reading.error.has_value());
    EXPECT_EQ(reading.limit, kNoLimit);
  }
}

// Each source stands for itself.
TEST(PressureOfFiles, OneThatCannotBeReadIsToldAndTheOthersGoOn) {
  SystemTree tree;
  in_group(tree, "0::/a\n").file("proc/pressure/memory", "some total=0\nfull total=0\n");
  group_v2(tree, "a", "100", 95);
  const auto monitor = make_monitor(tree);
  EXPECT_EQ(monitor->check(), kCritical);
  group_v2(tree, "a", "a lot", 95);
  EXPECT_EQ(monitor->check(), kNone) << "unknown";
  const PressureReading container = reading_of(*monitor, PressureSource::kContainer);
  ASSERT_TRUE(container.error.has_value());
  EXPECT_EQ(container.error->code, ErrorCode::kCorrupt);
  EXPECT_THAT(container.error->message, HasSubstr("a/memory.max"));
  EXPECT_EQ(reading_of(*monitor, PressureSource::kStall).name, tree.root() / "proc/pressure/memory");
  group_v2(tree, "a", "100", 95);
  tree.file("proc/pressure/memory", "nothing\n");
  EXPECT_EQ(monitor->check(), kCritical);
  EXPECT_FALSE(reading_of(*monitor, PressureSource::kContainer).error.has_value());
  EXPECT_EQ(reading_of(*monitor, PressureSource::kStall).error->code, ErrorCode::kCorrupt);
}

// ---- Stalls, under a clock that stands still.

class PressureOfStalls : public testing::Test {
 protected:
  void SetUp() override { make({}); }
  void make(PressureOptions options) {
    set(0, 0);
    options.root = tree_.root();
    monitor_ = PressureMonitor::create(options, thread_).value();
    clock_.advance(100ms);  // the first look
  }
  void TearDown() override { monitor_.reset(); }

  void set(uint64_t some_us, uint64_t full_us) {
    some_us_ = some_us;
    full_us_ = full_us;
    tree_.file("proc/pressure/memory",
               "some avg10=99.00 avg60=99.00 avg300=99.00 total=" + std::to_string(some_us) +
                   "\nfull avg10=99.00 avg60=99.00 avg300=99.00 total=" + std::to_string(full_us) + "\n");
  }
  // The next tenth of a second, in which some and all tasks stood still for so long.
  MemoryPressureLevel pass(uint64_t some_us, uint64_t full_us = 0) {
    set(some_us_ + some_us, full_us_ + full_us);
    clock_.advance(100ms);
    return monitor_->level();
  }

  SystemTree tree_;
  detail::TestMaintenanceClock clock_;
  detail::MaintenanceThread thread_{clock_};
  std::unique_ptr<PressureMonitor> monitor_;
  uint64_t some_us_ = 0;
  uint64_t full_us_ = 0;
};

TEST_F(PressureOfStalls, AreTheShareOfTheLastSecond) {
  EXPECT_EQ(monitor_->level(), kNone);
  EXPECT_EQ(pass(19'999), kNone);
  EXPECT_EQ(pass(1), kLow);
  EXPECT_EQ(pass(50'000), kMedium);
  EXPECT_EQ(pass(100'000), kMedium);
  EXPECT_EQ(pass(30'000), kHigh);
  const PressureReading reading = monitor_->status().sources.at(1);
  EXPECT_DOUBLE_EQ(reading.some_stalled, 0.2);
  EXPECT_EQ(reading.full_stalled, 0);
  EXPECT_EQ(reading.name, tree_.root() / "proc/pressure/memory");
  // They leave the window as they came: 20, 0, 50, 100 and 30 ms.
  for (int i = 0; i < 5; ++i) EXPECT_EQ(pass(0), kHigh) << i;
  EXPECT_EQ(pass(0), kHigh) << "0.180001";
  EXPECT_EQ(pass(0), kMedium) << "0.18";
  EXPECT_EQ(pass(0), kMedium) << "0.13";
  EXPECT_EQ(pass(0), kLow) << "0.03";
  EXPECT_EQ(pass(0), kNone);
}

TEST_F(PressureOfStalls, CriticalWhereNobodyCouldWork) {
  EXPECT_EQ(pass(99'999, 99'999), kMedium);
  EXPECT_EQ(pass(1, 1), kCritical);
  EXPECT_DOUBLE_EQ(monitor_->status().sources.at(1).full_stalled, 0.1);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(pass(0), kCritical) << i;
  EXPECT_EQ(pass(0), kNone);
}

TEST_F(PressureOfStalls, WhatWasBeforeTheMonitorDoesNotCount) {
  set(1'000'000'000, 1'000'000'000);
  monitor_ = PressureMonitor::create({.root = tree_.root()}, thread_).value();
  EXPECT_EQ(pass(0), kNone);
  EXPECT_EQ(pass(70'000), kMedium);
}

// The process moved to another group, or its file was replaced.
TEST_F(PressureOfStalls, ANewCountBeginsAnew) {
  EXPECT_EQ(pass(300'000), kHigh);
  set(5, 5);
  EXPECT_EQ(pass(0), kNone);
  in_group(tree_, "0::/a\n").file("sys/fs/cgroup/a/memory.current", "1\n");
  tree_.file("sys/fs/cgroup/a/memory.pressure", "some total=900000\nfull total=900000\n");
  EXPECT_EQ(pass(0), kNone);
  tree_.file("sys/fs/cgroup/a/memory.pressure", "some total=1000000\nfull total=1000000\n");
  EXPECT_EQ(pass(0), kCritical);
}

TEST_F(PressureOfStalls, WhoLooksOftenSeesTheSameSecond) {
  EXPECT_EQ(pass(50'000), kLow);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(monitor_->check(), kLow);
  EXPECT_EQ(pass(20'000), kMedium);
}

TEST_F(PressureOfStalls, AreLeftOutWhenTheyAreOff) {
  make({.stalls = PressureWatch::kOff});
  EXPECT_EQ(pass(1'000'000, 1'000'000), kNone);
  ASSERT_EQ(monitor_->status().sources.size(), 1u);
  EXPECT_EQ(monitor_->status().sources[0].source, PressureSource::kContainer);
}

TEST(StallWindow, OfWhoLooksRarelyIsTheWholeTimeBetween) {
  detail::StallWindow window;
  const detail::StallWindow::Time start{};
  window.add(start, {.some_us = 10, .full_us = 10});
  const auto shares = window.add(start + 10s, {.some_us = 1'000'010, .full_us = 500'010});
  EXPECT_DOUBLE_EQ(shares.some, 0.1);
  EXPECT_DOUBLE_EQ(shares.full, 0.05);
  const auto more = window.add(start + 10s + 500ms, {.some_us = 20'000'000, .full_us = 500'010});
  EXPECT_DOUBLE_EQ(more.some, 1) << "several processors stall at once for longer than it took to look";
}

TEST(PressureMonitor, LooksAtThisMachine) {
  const auto monitor = PressureMonitor::create({.interval = 0ms}).value();
  const PressureStatus status = monitor->status();
  ASSERT_EQ(status.sources.size(), 2u);
  for (const PressureReading& reading : status.sources) {
    EXPECT_FALSE(reading.error.has_value()) << reading.error->message;
  }
}

}  // namespace
}  // namespace lobit
