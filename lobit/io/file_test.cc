#include "lobit/io/file.h"

#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lobit/base/test_support.h"

namespace lobit {
namespace {

namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

size_t entries(const fs::path& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(File, ReadsAtAnyPositionAndRefusesBeyondTheEnd) {
  const TemporaryFolder folder;
  ASSERT_TRUE(write_file(folder.path() / "a", bytes_of("0123456789")));
  auto file = File::open(folder.path() / "a");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->size(), 10u);
  std::string out(4, ' ');
  ASSERT_TRUE(file->read_at(3, std::as_writable_bytes(std::span(out))));
  EXPECT_EQ(out, "3456");
  EXPECT_THAT(file->read_at(8, std::as_writable_bytes(std::span(out))), fails_with(ErrorCode::kIo));
}

TEST(File, RefusesWhatIsNotARegularFile) {
  const TemporaryFolder folder;
  EXPECT_THAT(File::open(folder.path()), fails_with(ErrorCode::kUnsupported));
  EXPECT_THAT(File::open(folder.path() / "absent"), fails_with(ErrorCode::kNotFound));
  const fs::path pipe = folder.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(File::open(pipe), fails_with(ErrorCode::kUnsupported));
}

TEST(OutputFile, AppearsOnlyWhenCommitted) {
  const TemporaryFolder folder;
  const fs::path target = folder.path() / "out";
  {
    auto file = OutputFile::create(target, 5);
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->write_at(0, bytes_of("hello")));
    EXPECT_FALSE(fs::exists(target));
    ASSERT_TRUE(file->commit());
  }
  EXPECT_EQ(*read_file(target, 100), "hello");
  EXPECT_EQ(entries(folder.path()), 1u);
}

TEST(OutputFile, DiscardedLeavesTheOldTarget) {
  const TemporaryFolder folder;
  const fs::path target = folder.path() / "out";
  ASSERT_TRUE(write_file(target, bytes_of("old")));
  {
    auto file = OutputFile::create(target, 3);
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->write_at(0, bytes_of("new")));
  }
  EXPECT_EQ(*read_file(target, 100), "old");
  EXPECT_EQ(entries(folder.path()), 1u);
}

TEST(OutputFile, ClearsWhatADeadProcessLeftButNotWhatALivingOneWrites) {
  const TemporaryFolder folder;
  std::ofstream(folder.path() / ".lobit-partial-dead00") << "half";
  auto living = OutputFile::create(folder.path() / "one", 1);
  ASSERT_TRUE(living);
  auto second = OutputFile::create(folder.path() / "two", 1);
  ASSERT_TRUE(second);
  EXPECT_FALSE(fs::exists(folder.path() / ".lobit-partial-dead00"));
  EXPECT_EQ(entries(folder.path()), 2u);
  EXPECT_TRUE(living->commit());
}

TEST(OutputFile, NamesTheFolderThatIsMissing) {
  const auto file = OutputFile::create("/nonexistent-folder/out", 1);
  ASSERT_THAT(file, fails_with(ErrorCode::kNotFound));
  EXPECT_NE(file.error().message.find("/nonexistent-folder/out"), std::string::npos);
}

TEST(CommitAll, RemovesTheSetWhenOneRenameFails) {
  const TemporaryFolder folder;
  std::vector<OutputFile> files;
  for (const char* name : {"b", "blocked", "a"}) {
    auto file = OutputFile::create(folder.path() / name, 1);
    ASSERT_TRUE(file);
    files.push_back(std::move(*file));
  }
  fs::create_directories(folder.path() / "blocked" / "full");
  EXPECT_THAT(commit_all(files, Durability::kNone), fails_with(ErrorCode::kIo));
  files.clear();
  EXPECT_FALSE(fs::exists(folder.path() / "a"));
  EXPECT_FALSE(fs::exists(folder.path() / "b"));
  EXPECT_EQ(entries(folder.path()), 1u);
}

TEST(CommitAll, WithFsyncStillPutsEveryFileInPlace) {
  const TemporaryFolder folder;
  std::vector<OutputFile> files;
  for (const char* name : {"b", "a"}) {
    auto file = OutputFile::create(folder.path() / name, 0);
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->write_at(0, bytes_of(name)));
    files.push_back(std::move(*file));
  }
  ASSERT_TRUE(commit_all(files, Durability::kFsync));
  EXPECT_EQ(*read_file(folder.path() / "a", 10), "a");
  EXPECT_EQ(*read_file(folder.path() / "b", 10), "b");
}

TEST(ReadFile, RefusesMoreThanItMayHold) {
  const TemporaryFolder folder;
  ASSERT_TRUE(write_file(folder.path() / "big", bytes_of("0123456789")));
  EXPECT_THAT(read_file(folder.path() / "big", 9), fails_with(ErrorCode::kLimit));
}

}  // namespace
}  // namespace lobit
