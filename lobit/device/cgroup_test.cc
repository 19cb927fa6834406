#include "lobit/device/cgroup.h"

#include <string>

#include <sys/stat.h>

#include "lobit/base/test_support.h"
#include "lobit/device/system_tree.h"

namespace lobit {
namespace {

using testing::HasSubstr;

constexpr std::string_view kMountV2 =
    "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr std::string_view kMountV1 =
    "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
    "31 22 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    "35 22 0:32 / /sys/fs/cgroup/memory rw shared:3 master:1 - cgroup cgroup rw,memory\n";
constexpr std::string_view kNoLimitV1 = "9223372036854771712\n";

// A group of version 2 at `folder` below the mount.
void group_v2(SystemTree& tree, const std::string& folder, std::string_view limit, std::string_view usage,
              std::string_view inactive_file) {
  const std::string at = "sys/fs/cgroup/" + folder;
  tree.file(at + "/memory.max", limit).file(at + "/memory.current", usage);
  tree.file(at + "/memory.stat",
            "anon 4096\nfile 8192\ninactive_anon 1\ninactive_file " + std::string(inactive_file) + "\n");
}

void group_v1(SystemTree& tree, const std::string& folder, std::string_view limit, std::string_view usage,
              const std::string& stat) {
  const std::string at = "sys/fs/cgroup/memory/" + folder;
  tree.file(at + "/memory.limit_in_bytes", limit).file(at + "/memory.usage_in_bytes", usage);
  tree.file(at + "/memory.stat", stat);
}

TEST(CgroupV2, TheLeastLimitAndTheLeastRoomMayBeThoseOfTwoGroups) {
  SystemTree tree;
  tree.file("proc/self/cgroup", "0::/a/b/c\n").file("proc/self/mountinfo", kMountV2);
  group_v2(tree, "a", "3000000\n", "2900000\n", "400000");  // room 500000
  group_v2(tree, "a/b", "2000000\n", "1000000\n", "0");     // room 1000000
  group_v2(tree, "a/b/c", "max\n", "900000\n", "100000");
  const auto memory = read_cgroup_memory(tree.root());
  ASSERT_THAT(memory, is_ok());
  EXPECT_EQ(memory->version, 2);
  ASSERT_EQ(memory->groups.size(), 3u);
  EXPECT_EQ(memory->groups[0].path, tree.root() / "sys/fs/cgroup/a/b/c");
  EXPECT_EQ(memory->groups[0].limit, std::nullopt);
  EXPECT_EQ(memory->groups[0].in_use(), 800000u);
  EXPECT_EQ(memory->groups[0].room(), std::nullopt);
  EXPECT_EQ(memory->limit(), 2000000u);
  EXPECT_EQ(memory->room(), 500000u);
  ASSERT_NE(memory->tightest(), nullptr);
  EXPECT_EQ(memory->tightest()->path, tree.root() / "sys/fs/cgroup/a");
}

TEST(CgroupV2, HighIsALimitToo) {
  SystemTree tree;
  tree.file("proc/self/cgroup", "0::/a\n").file("proc/self/mountinfo", kMountV2);
  group_v2(tree, "a", "3000\n", "1000\n", "0");
  tree.file("sys/fs/cgroup/a/memory.high", "2500\n");
  EXPECT_EQ(read_cgroup_memory(tree.root())->limit(), 2500u);
  tree.file("sys/fs/cgroup/a/memory.high", "max\n");
  EXPECT_EQ(read_cgroup_memory(tree.root())->limit(), 3000u);
}

TEST(CgroupV2, UsageBeyondTheLimitLeavesNoRoom) {
  SystemTree tree;
  tree.file("proc/self/cgroup", "0::/a\n").file("proc/self/mountinfo", kMountV2);
  group_v2(tree, "a", "1000\n", "5000\n", "100");
  EXPECT_EQ(read_cgroup_memory(tree.root())->room(), 0u);
  group_v2(tree, "a", "1000\n", "50\n", "100");  // two files, read one after the other
  EXPECT_EQ(read_cgroup_memory(tree.root())->room(), 1000u);
}

TEST(CgroupV2, OfAContainerIsReadAtItsMount) {
  SystemTree tree;
  tree.file("proc/self/mountinfo", "29 23 0:26 /pod/box /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
  group_v2(tree, "", "4000\n", "100\n", "0");
  group_v2(tree, "in", "3000\n", "100\n", "0");
  tree.file("proc/self/cgroup", "0::/pod/box\n");
  EXPECT_EQ(read_cgroup_memory(tree.root())->limit(), 4000u);
  tree.file("proc/self/cgroup", "0::/pod/box/in\n");
  EXPECT_EQ(read_cgroup_memory(tree.root())->limit(), 3000u);
  // Neighbours whose names begin alike, and groups outside of the namespace, are not below the mount.
  for (const char* path : {"0::/pod/boxes/in\n", "0::/../other\n", "0::/pod/box/../in\n", "0::/\n"}) {
    tree.file("proc/self/cgroup", path);
    EXPECT_EQ(read_cgroup_memory(tree.root())->limit(), 4000u) << path;
  }
}

TEST(CgroupV2, AMountWithABlankInItsNameIsFound) {
  SystemTree tree;
  tree.file("proc/self/cgroup", "0::/a\n");
  tree.file("proc/self/mountinfo", "29 23 0:26 / /my\\040groups rw - cgroup2 x rw\n");
  tree.file("my groups/a/memory.max", "77\n");
  EXPECT_EQ(read_cgroup_memory(tree.root())->limit(), 77u);
}

TEST(CgroupV2, WithoutMountsItIsWhereItAlwaysIs) {
  SystemTree tree;
  tree.file("proc/self/cgroup", "0::/\n");
  group_v2(tree, "", "1234\n", "34\n", "4");
  const auto memory = read_cgroup_memory(tree.root());
  ASSERT_THAT(memory, is_ok());
  EXPECT_EQ(memory->limit(), 1234u);
  EXPECT_EQ(memory->room(), 1204u);
}

TEST(CgroupV1, CountsGroupsAboveAndSubtractsTheHierarchysFileCache) {
  SystemTree tree;
  tree.file("proc/self/cgroup", "11:cpu,cpuacct:/x\n4:memory:/a/b\n1:name=systemd:/y\n0::/z\n");
  tree.file("proc/self/mountinfo", std::string(kMountV2) + std::string(kMountV1));
  group_v1(tree, "", kNoLimitV1, "900\n", "");
  group_v1(tree, "a", "800\n", "700\n", "inactive_file 1\ntotal_inactive_file 300\n");
  group_v1(tree, "a/b", kNoLimitV1, "600\n", "hierarchical_memory_limit 700\ninactive_file 9\n");
  const auto memory = read_cgroup_memory(tree.root());
  ASSERT_THAT(memory, is_ok());
  EXPECT_EQ(memory->version, 1);
  ASSERT_EQ(memory->groups.size(), 3u);
  EXPECT_EQ(memory->groups[0].limit, 700u);  // from a group that may be out of sight
  EXPECT_EQ(memory->groups[0].inactive_file, 0u);
  EXPECT_EQ(memory->groups[1].room(), 400u);
  EXPECT_EQ(memory->groups[2].limit, std::nullopt);
  EXPECT_EQ(memory->limit(), 700u);
  EXPECT_EQ(memory->room(), 100u);
}

TEST(CgroupV1, GroupsThatDoNotCountTheirsAboveEndTheChain) {
  SystemTree tree;
  tree.file("proc/self/cgroup", "4:memory:/a/b\n").file("proc/self/mountinfo", kMountV1);
  group_v1(tree, "a", "100\n", "10\n", "");
  group_v1(tree, "a/b", "5000\n", "10\n", "");
  tree.file("sys/fs/cgroup/memory/a/memory.use_hierarchy", "1\n");
  EXPECT_EQ(read_cgroup_memory(tree.root())->limit(), 100u);
  tree.file("sys/fs/cgroup/memory/a/memory.use_hierarchy", "0\n");
  EXPECT_EQ(read_cgroup_memory(tree.root())->limit(), 5000u);
}

TEST(Cgroup, MissingFilesSetNoLimit) {
  SystemTree tree;
  auto memory = read_cgroup_memory(tree.root());
  ASSERT_THAT(memory, is_ok());
  EXPECT_EQ(memory->version, 0);
  EXPECT_EQ(memory->limit(), std::nullopt);
  EXPECT_EQ(memory->room(), std::nullopt);
  EXPECT_EQ(memory->tightest(), nullptr);

  tree.file("proc/self/cgroup", "0::/gone (deleted)\n").file("proc/self/mountinfo", kMountV2);
  memory = read_cgroup_memory(tree.root());
  ASSERT_THAT(memory, is_ok());
  EXPECT_TRUE(memory->groups.empty());

  tree.file("sys/fs/cgroup/memory.max", "100\n");
  memory = read_cgroup_memory(tree.root());
  ASSERT_THAT(memory, is_ok());
  EXPECT_EQ(memory->limit(), 100u);
  EXPECT_EQ(memory->room(), std::nullopt);  // the usage is not known
}

TEST(Cgroup, GarbageIsAnErrorThatNamesTheFile) {
  const auto expect_corrupt = [](const SystemTree& tree, std::string_view file) {
    const auto memory = read_cgroup_memory(tree.root());
    ASSERT_THAT(memory, fails_with(ErrorCode::kCorrupt));
    EXPECT_THAT(memory.error().message, HasSubstr(file));
  };
  for (const std::string_view limit : {"", "lots\n", "-1\n", "12 34\n", "18446744073709551616\n", "0x10\n"}) {
    SystemTree tree;
    tree.file("proc/self/cgroup", "0::/a\n").file("proc/self/mountinfo", kMountV2);
    group_v2(tree, "a", limit, "1\n", "0");
    expect_corrupt(tree, "a/memory.max");
  }
  SystemTree tree;
  tree.file("proc/self/cgroup", "0::/a\n").file("proc/self/mountinfo", kMountV2);
  group_v2(tree, "a", "100\n", "1\n", "many");
  expect_corrupt(tree, "a/memory.stat");
  for (const std::string& text : {std::string("no colons\n"), std::string("0::relative\n"),
                                  "0::/" + std::string(5000, 'x') + "\n", std::string("4:memory:\n")}) {
    tree.file("proc/self/cgroup", text);
    expect_corrupt(tree, "proc/self/cgroup");
  }
}

TEST(Cgroup, HostileFilesNeitherBlockNorFillTheMemory) {
  SystemTree tree;
  tree.file("proc/self/cgroup", "0::/a\n").file("proc/self/mountinfo", kMountV2);
  group_v2(tree, "a", "100\n", "1\n", "0");
  const auto file = tree.root() / "sys/fs/cgroup/a/memory.max";
  std::filesystem::remove(file);
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  EXPECT_THAT(read_cgroup_memory(tree.root()), fails_with(ErrorCode::kCorrupt));
  std::filesystem::remove(file);
  std::filesystem::create_directory(file);
  EXPECT_THAT(read_cgroup_memory(tree.root()), fails_with(ErrorCode::kCorrupt));
  std::filesystem::remove(file);
  tree.file("sys/fs/cgroup/a/memory.max", "1");
  std::filesystem::resize_file(file, uint64_t{1} << 40);
  EXPECT_THAT(read_cgroup_memory(tree.root()), fails_with(ErrorCode::kCorrupt));
}

TEST(Cgroup, LinesOfMountsThatMakeNoSenseArePassedOver) {
  SystemTree tree;
  tree.file("proc/self/cgroup", "0::/a\n");
  tree.file("proc/self/mountinfo",
            "\n - \n29 - cgroup2 x rw\n1 2 3 4 5 6 - cgroup2\n - cgroup2 cgroup2 rw\n\xff\xfe\\9\\\n" +
                std::string(kMountV2));
  group_v2(tree, "a", "100\n", "1\n", "0");
  const auto memory = read_cgroup_memory(tree.root());
  ASSERT_THAT(memory, is_ok());
  EXPECT_EQ(memory->limit(), 100u);
}

TEST(Cgroup, OfThisProcessCanBeRead) {
  const auto memory = read_cgroup_memory();
  ASSERT_THAT(memory, is_ok());
  for (const CgroupGroup& group : memory->groups) EXPECT_TRUE(std::filesystem::is_directory(group.path));
  if (memory->limit()) {
    EXPECT_GT(*memory->limit(), 0u);
  }
}

}  // namespace
}  // namespace lobit
