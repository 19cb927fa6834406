#include "lobit/io/mapped_file.h"

#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "lobit/base/test_support.h"

namespace lobit {
namespace {

constexpr size_t kBytes = 10'000;  // no whole pages

class MappedFileTest : public ::testing::Test {
 protected:
  std::filesystem::path write(const std::string& name, size_t bytes, std::byte first = std::byte{0}) {
    std::vector<std::byte> content(bytes);
    for (size_t i = 0; i < bytes; ++i) content[i] = std::byte(i * 7) ^ first;
    const std::filesystem::path path = folder_.path() / name;
    EXPECT_THAT(write_file(path, content), is_ok());
    return path;
  }
  static bool is_written(std::span<const std::byte> bytes, size_t expected) {
    if (bytes.size() != expected) return false;
    for (size_t i = 0; i < bytes.size(); ++i) {
      if (bytes[i] != std::byte(i * 7)) return false;
    }
    return true;
  }

  TemporaryFolder folder_;
};

Result<MappedFile> map_path(const std::filesystem::path& path) {
  LOBIT_TRY(const File file, File::open(path));
  return MappedFile::map(file);
}

TEST_F(MappedFileTest, HasTheBytesOfTheFileWithoutTheFileObject) {
  const auto mapped = map_path(write("a", kBytes));
  ASSERT_THAT(mapped, is_ok());
  mapped->prefetch(5000, kBytes);
  mapped->prefetch(kBytes, 1);
  EXPECT_TRUE(is_written(mapped->bytes(), kBytes));
  EXPECT_EQ(mapped->name(), (folder_.path() / "a").native());
}

TEST_F(MappedFileTest, KeepsTheBytesOfAFileThatIsReplacedOrRemoved) {
  const std::filesystem::path path = write("a", kBytes);
  const auto mapped = map_path(path);
  ASSERT_THAT(mapped, is_ok());
  write("a", kBytes, std::byte{0xFF});
  EXPECT_TRUE(is_written(mapped->bytes(), kBytes));
  const auto again = map_path(path);
  ASSERT_THAT(again, is_ok());
  EXPECT_EQ(again->bytes()[1], std::byte{7} ^ std::byte{0xFF});
  std::filesystem::remove(path);
  EXPECT_TRUE(is_written(mapped->bytes(), kBytes));
}

TEST_F(MappedFileTest, OfNoBytesIsEmpty) {
  const auto mapped = map_path(write("empty", 0));
  ASSERT_THAT(mapped, is_ok());
  EXPECT_TRUE(mapped->bytes().empty());
  mapped->prefetch(0, 1);
}

TEST_F(MappedFileTest, RefusesAFileWhoseSizeHasChanged) {
  const std::filesystem::path path = write("a", kBytes);
  const auto file = File::open(path);
  ASSERT_THAT(file, is_ok());
  std::filesystem::resize_file(path, kBytes - 1);
  const auto mapped = MappedFile::map(*file);
  ASSERT_THAT(mapped, fails_with(ErrorCode::kIo));
  EXPECT_EQ(mapped.error().detail.required, kBytes);
  EXPECT_EQ(mapped.error().detail.available, kBytes - 1);
}

TEST_F(MappedFileTest, MovesItsMapping) {
  auto one = map_path(write("a", kBytes));
  auto two = map_path(write("b", 100));
  ASSERT_THAT(one, is_ok());
  ASSERT_THAT(two, is_ok());
  MappedFile moved = std::move(*one);
  EXPECT_TRUE(is_written(moved.bytes(), kBytes));
  moved = std::move(*two);
  EXPECT_TRUE(is_written(moved.bytes(), 100));
}

}  // namespace
}  // namespace lobit
