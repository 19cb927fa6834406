#include "lobit/device/pressure_stall.h"

#include <string>

#include <sys/stat.h>

#include "lobit/base/test_support.h"
#include "lobit/device/system_tree.h"

namespace lobit {
namespace {

using testing::HasSubstr;

std::string stall_text(uint64_t some_us, uint64_t full_us) {
  return "some avg10=1.53 avg60=0.87 avg300=0.22 total=" + std::to_string(some_us) +
         "\nfull avg10=0.00 avg60=0.13 avg300=0.07 total=" + std::to_string(full_us) + "\n";
}

// A process in /a/b of version 2.
SystemTree& in_group(SystemTree& tree) {
  tree.file("proc/self/cgroup", "0::/a/b\n");
  tree.file("proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  tree.file("sys/fs/cgroup/a/memory.current", "100\n").file("sys/fs/cgroup/a/b/memory.current", "10\n");
  return tree;
}

Result<std::optional<MemoryStall>> read(const SystemTree& tree) {
  return read_memory_stall(read_cgroup_memory(tree.root()).value(), tree.root());
}

TEST(PressureStall, TheInnermostGroupThatCountsSaysIt) {
  SystemTree tree;
  in_group(tree).file("proc/pressure/memory", stall_text(1, 2));
  const auto expect = [&](const std::filesystem::path& path, uint64_t some_us, uint64_t full_us) {
    const auto stall = read(tree);
    ASSERT_THAT(stall, is_ok());
    ASSERT_TRUE(stall->has_value());
    EXPECT_EQ((*stall)->path, tree.root() / path);
    EXPECT_EQ((*stall)->some_us, some_us);
    EXPECT_EQ((*stall)->full_us, full_us);
  };
  expect("proc/pressure/memory", 1, 2);
  tree.file("sys/fs/cgroup/a/memory.pressure", stall_text(30, 4));
  expect("sys/fs/cgroup/a/memory.pressure", 30, 4);
  tree.file("sys/fs/cgroup/a/b/memory.pressure", stall_text(5000000, UINT64_MAX));
  expect("sys/fs/cgroup/a/b/memory.pressure", 5000000, UINT64_MAX);
}

TEST(PressureStall, Version1HasOnlyTheWholeSystem) {
  SystemTree tree;
  tree.file("proc/self/cgroup", "4:memory:/a\n");
  tree.file("proc/self/mountinfo", "35 22 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
  tree.file("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "10\n");
  tree.file("sys/fs/cgroup/memory/a/memory.pressure", stall_text(7, 7));
  EXPECT_EQ(read(tree).value(), std::nullopt);
  tree.file("proc/pressure/memory", stall_text(8, 6));
  EXPECT_EQ(read(tree).value()->some_us, 8u);
}

TEST(PressureStall, AbsentFilesSayNothing) {
  SystemTree tree;
  const auto stall = read(tree);
  ASSERT_THAT(stall, is_ok());
  EXPECT_FALSE(stall->has_value());
  in_group(tree);
  EXPECT_FALSE(read(tree).value().has_value());
}

TEST(PressureStall, GarbageIsAnErrorThatNamesTheFile) {
  SystemTree tree;
  in_group(tree).file("proc/pressure/memory", stall_text(1, 2));
  for (const std::string& text : {std::string(), std::string("some\nfull\n"), std::string("some total=1\n"),
                                  std::string("full total=1\n"), std::string("some total=-1\nfull total=1\n"),
                                  std::string("some total=1x\nfull total=1\n"),
                                  std::string("some total=18446744073709551616\nfull total=1\n"),
                                  std::string("some total=\nfull total=1"),
                                  std::string("something total=1\nfull total=1"), std::string(5000, 's')}) {
    tree.file("sys/fs/cgroup/a/b/memory.pressure", text);
    const auto stall = read(tree);
    ASSERT_THAT(stall, fails_with(ErrorCode::kCorrupt)) << text;
    EXPECT_THAT(stall.error().message, HasSubstr("a/b/memory.pressure"));
  }
}

TEST(PressureStall, HostileFilesDoNotBlock) {
  SystemTree tree;
  in_group(tree);
  const auto file = tree.root() / "sys/fs/cgroup/a/b/memory.pressure";
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  EXPECT_THAT(read(tree), fails_with(ErrorCode::kCorrupt));
  std::filesystem::remove(file);
  std::filesystem::create_directory(file);
  EXPECT_THAT(read(tree), fails_with(ErrorCode::kCorrupt));
}

TEST(PressureStall, OfThisSystemCanBeRead) {
  const auto stall = read_memory_stall(read_cgroup_memory().value());
  ASSERT_THAT(stall, is_ok());
  if (!stall->has_value()) GTEST_SKIP() << "the kernel does not count stalls";
  EXPECT_GE((*stall)->some_us, (*stall)->full_us);
}

}  // namespace
}  // namespace lobit
