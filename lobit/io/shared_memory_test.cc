#include "lobit/io/shared_memory.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>
#include <utility>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lobit/base/test_support.h"
#include "lobit/io/test_peer.h"

namespace lobit {
namespace {

constexpr uint64_t kBytes = 100'000;  // no whole pages
constexpr uint64_t kRoom = uint64_t{1} << 30;
constexpr uint64_t kWords = kBytes / sizeof(uint32_t);

// How the two processes of a test speak: the segment's first word.
enum Message : uint32_t { kNothing, kGo, kDone };

std::span<uint32_t> words(const SharedMemory& segment) {
  const std::span<std::byte> bytes = *segment.writable_bytes();
  return {reinterpret_cast<uint32_t*>(bytes.data()), kWords};
}

void wait_for(const SharedMemory& segment, Message message) {
  const std::atomic_ref<uint32_t> word(words(segment)[0]);
  for (int i = 0; i < 20'000 && word.load(std::memory_order_acquire) != message; ++i) ::usleep(1000);
  ASSERT_EQ(word.load(), message) << "the other process does not answer";
}

void tell(const SharedMemory& segment, Message message) {
  std::atomic_ref<uint32_t>(words(segment)[0]).store(message, std::memory_order_release);
}

Result<SharedMemory> open_named_by_environment() {
  const char* name = std::getenv(kPeerVariable);  // NOLINT(concurrency-mt-unsafe): one thread
  return SharedMemory::open(name == nullptr ? "" : name, kBytes, SharedAccess::kReadWrite);
}

// What the second process does. Not tests of their own: they need a first one.
TEST(SharedMemoryPeer, DISABLED_AddsOne) {
  const auto segment = open_named_by_environment();
  ASSERT_THAT(segment, is_ok());
  wait_for(*segment, kGo);
  for (uint32_t& word : words(*segment).subspan(1)) ++word;
  tell(*segment, kDone);
}

TEST(SharedMemoryPeer, DISABLED_CreatesAndWaits) {
  const auto answer = open_named_by_environment();
  ASSERT_THAT(answer, is_ok());
  const auto own = SharedMemory::create(kBytes, kRoom);
  ASSERT_THAT(own, is_ok());
  std::ranges::fill(words(*own), 4711u);
  const std::string name = own->name();
  std::ranges::copy(name, reinterpret_cast<char*>(words(*answer).subspan(1).data()));
  tell(*answer, kDone);
  ::pause();
}

// Every entry of the folder where named segments would lie.
std::set<std::string> entries_of_dev_shm() {
  std::set<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm", error)) names.insert(entry.path());
  return names;
}

size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<size_t>(std::distance(all, {}));
}

TEST(SharedMemory, IsZeroWritableAndOfTheSizeAskedFor) {
  const auto segment = SharedMemory::create(kBytes, kRoom);
  ASSERT_THAT(segment, is_ok());
  EXPECT_EQ(segment->bytes().size(), kBytes);
  EXPECT_EQ(segment->access(), SharedAccess::kReadWrite);
  EXPECT_TRUE(std::ranges::all_of(segment->bytes(), [](std::byte b) { return b == std::byte{0}; }));
  ASSERT_THAT(segment->writable_bytes(), is_ok());
  EXPECT_EQ(segment->writable_bytes()->data(), segment->bytes().data());
}

TEST(SharedMemory, RefusesSizesThatCannotBe) {
  EXPECT_THAT(SharedMemory::create(0, kRoom), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(SharedMemory::create(UINT64_MAX, kRoom), fails_with(ErrorCode::kInvalidArgument));
  const size_t before = open_descriptors();
  const auto huge = SharedMemory::create(uint64_t{1} << 60, UINT64_MAX);
  ASSERT_THAT(huge, fails_with(ErrorCode::kOutOfMemory));
  EXPECT_EQ(huge.error().detail.required, uint64_t{1} << 60);
  EXPECT_GT(huge.error().detail.available, 0u);
  EXPECT_EQ(open_descriptors(), before);
}

TEST(SharedMemory, TakesNoMoreThanIsAvailable) {
  const size_t before = open_descriptors();
  const auto refused = SharedMemory::create(kBytes, kBytes - 1);
  ASSERT_THAT(refused, fails_with(ErrorCode::kOutOfMemory));
  EXPECT_EQ(refused.error().detail.required, kBytes);
  EXPECT_EQ(refused.error().detail.available, kBytes - 1);
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_THAT(SharedMemory::create(kBytes, kBytes), is_ok());
}

TEST(SharedMemory, ASecondProcessReadsAndWrites) {
  const auto segment = SharedMemory::create(kBytes, kRoom);
  ASSERT_THAT(segment, is_ok());
  Peer peer("SharedMemoryPeer.DISABLED_AddsOne", segment->name());
  for (uint32_t i = 1; i < kWords; ++i) words(*segment)[i] = i * 7;
  tell(*segment, kGo);
  wait_for(*segment, kDone);
  for (uint32_t i = 1; i < kWords; ++i) ASSERT_EQ(words(*segment)[i], i * 7 + 1);
  EXPECT_EQ(peer.wait(), 0);
}

TEST(SharedMemory, OutlivesAKilledCreatorForThoseWhoHaveIt) {
  const std::set<std::string> before = entries_of_dev_shm();
  const auto answer = SharedMemory::create(kBytes, kRoom);
  ASSERT_THAT(answer, is_ok());
  Peer peer("SharedMemoryPeer.DISABLED_CreatesAndWaits", answer->name());
  wait_for(*answer, kDone);
  const std::string name = reinterpret_cast<const char*>(words(*answer).subspan(1).data());
  const auto joined = SharedMemory::open(name, kBytes, SharedAccess::kRead);
  ASSERT_THAT(joined, is_ok());

  peer.kill();
  EXPECT_THAT(SharedMemory::open(name, kBytes, SharedAccess::kRead), fails_with(ErrorCode::kNotFound));
  EXPECT_EQ(entries_of_dev_shm(), before);
  const auto* const values = reinterpret_cast<const uint32_t*>(joined->bytes().data());
  EXPECT_TRUE(std::all_of(values, values + kWords, [](uint32_t v) { return v == 4711; }));
  // Under the name of the one who joined, a third finds it.
  EXPECT_NE(joined->name(), name);
  EXPECT_THAT(SharedMemory::open(joined->name(), kBytes, SharedAccess::kRead), is_ok());
}

TEST(SharedMemory, SurvivesAKilledPeer) {
  const std::set<std::string> before = entries_of_dev_shm();
  const auto segment = SharedMemory::create(kBytes, kRoom);
  ASSERT_THAT(segment, is_ok());
  words(*segment)[5] = 55;
  Peer peer("SharedMemoryPeer.DISABLED_CreatesAndWaits", segment->name());
  wait_for(*segment, kDone);
  peer.kill();
  words(*segment)[6] = 66;
  const auto again = SharedMemory::open(segment->name(), kBytes, SharedAccess::kReadWrite);
  ASSERT_THAT(again, is_ok());
  EXPECT_EQ(words(*again)[6], 66u);
  EXPECT_EQ(entries_of_dev_shm(), before);
}

TEST(SharedMemory, CannotBeCutShortByAnotherHolder) {
  const auto segment = SharedMemory::create(kBytes, kRoom);
  ASSERT_THAT(segment, is_ok());
  const auto other = SharedMemory::open(segment->name(), kBytes, SharedAccess::kReadWrite);
  ASSERT_THAT(other, is_ok());
  EXPECT_EQ(::ftruncate(other->descriptor(), 0), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::ftruncate(other->descriptor(), 2 * kBytes), -1);
  EXPECT_EQ(::fcntl(other->descriptor(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
  words(*segment)[kWords - 1] = 1;
  EXPECT_EQ(words(*other)[kWords - 1], 1u);
}

TEST(SharedMemory, IsReadOnlyForOthersWhenItsCreatorSaysSo) {
  const auto open_for_writing = [](SharedAccess others) {
    const auto segment = SharedMemory::create(kBytes, kRoom, others);
    EXPECT_THAT(segment, is_ok());
    // Also past this class the kernel refuses.
    void* map = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, segment->descriptor(), 0);
    EXPECT_EQ(map == MAP_FAILED, others == SharedAccess::kRead);
    if (map != MAP_FAILED) ::munmap(map, kBytes);
    EXPECT_EQ(::pwrite(segment->descriptor(), "x", 1, 0), others == SharedAccess::kRead ? -1 : 1);

    const auto reader = SharedMemory::open(segment->name(), kBytes, SharedAccess::kRead);
    EXPECT_THAT(reader, is_ok());
    words(*segment)[9] = 99;
    EXPECT_EQ(reader->bytes()[9 * sizeof(uint32_t)], std::byte{99});
    return SharedMemory::open(segment->name(), kBytes, SharedAccess::kReadWrite);
  };
  EXPECT_THAT(open_for_writing(SharedAccess::kRead), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(open_for_writing(SharedAccess::kReadWrite), is_ok());
}

TEST(SharedMemory, GivesNoWritableBytesToAReader) {
  const auto segment = SharedMemory::create(kBytes, kRoom);
  ASSERT_THAT(segment, is_ok());
  const auto reader = SharedMemory::open(segment->name(), kBytes, SharedAccess::kRead);
  ASSERT_THAT(reader, is_ok());
  EXPECT_EQ(reader->access(), SharedAccess::kRead);
  EXPECT_THAT(reader->writable_bytes(), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(::pwrite(reader->descriptor(), "x", 1, 0), -1);
}

TEST(SharedMemory, ChecksTheSize) {
  const auto segment = SharedMemory::create(kBytes, kRoom);
  ASSERT_THAT(segment, is_ok());
  for (const uint64_t bytes : {uint64_t{0}, kBytes - 1, kBytes + 1, UINT64_MAX}) {
    const auto other = SharedMemory::open(segment->name(), bytes, SharedAccess::kRead);
    ASSERT_THAT(other, fails_with(ErrorCode::kInvalidArgument));
    EXPECT_EQ(other.error().detail.required, bytes);
    EXPECT_EQ(other.error().detail.available, kBytes);
  }
  const auto any = SharedMemory::open(segment->name(), SharedAccess::kReadWrite);
  ASSERT_THAT(any, is_ok());
  EXPECT_EQ(any->bytes().size(), kBytes);
  const auto adopted = SharedMemory::adopt(segment->descriptor(), SharedAccess::kRead);
  ASSERT_THAT(adopted, is_ok());
  EXPECT_EQ(adopted->bytes().size(), kBytes);
}

TEST(SharedMemory, RefusesWhatIsNoName) {
  const auto segment = SharedMemory::create(kBytes, kRoom);
  ASSERT_THAT(segment, is_ok());
  const std::string name = segment->name();
  const std::string pid = std::to_string(::getpid());
  const std::string descriptor = std::to_string(segment->descriptor());
  const std::string token = name.substr(name.rfind(':') + 1);
  for (const std::string& bad : {
           std::string(),
           std::string("lobit:"),
           name + "0",
           name.substr(1),
           ' ' + name,
           "lobit:" + pid,
           "lobit:" + pid + ':' + descriptor + ':',
           "lobit:0" + pid + ':' + descriptor + ':' + token,
           "lobit:+" + pid + ':' + descriptor + ':' + token,
           "lobit:-1:" + descriptor + ':' + token,
           "lobit:99999999999:" + descriptor + ':' + token,
           "lobit:self:" + descriptor + ':' + token,
           "lobit:" + pid + ":../" + descriptor + ':' + token,
           "lobit:" + pid + ':' + descriptor + ':' + "0123456789ABCDEF",
           "lobit:" + pid + ':' + descriptor + ':' + token.substr(1),
       }) {
    EXPECT_THAT(SharedMemory::open(bad, kBytes, SharedAccess::kRead), fails_with(ErrorCode::kInvalidArgument))
        << bad;
  }
}

TEST(SharedMemory, DoesNotMistakeALaterUseOfTheNumbersForTheSegment) {
  const std::string pid = std::to_string(::getpid());
  const auto segment = SharedMemory::create(kBytes, kRoom);
  ASSERT_THAT(segment, is_ok());
  const std::string prefix = "lobit:" + pid + ':';
  const std::string other_token = ":0123456789abcdef";
  EXPECT_THAT(SharedMemory::open(prefix + std::to_string(segment->descriptor()) + other_token, kBytes,
                                 SharedAccess::kRead),
              fails_with(ErrorCode::kNotFound));
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  EXPECT_THAT(SharedMemory::open(prefix + std::to_string(pipe[0]) + other_token, kBytes, SharedAccess::kRead),
              fails_with(ErrorCode::kNotFound));
  EXPECT_THAT(SharedMemory::open(prefix + "1000000" + other_token, kBytes, SharedAccess::kRead),
              fails_with(ErrorCode::kNotFound));
  ::close(pipe[0]);
  ::close(pipe[1]);

  std::string name;
  {
    const auto short_lived = SharedMemory::create(kBytes, kRoom);
    ASSERT_THAT(short_lived, is_ok());
    name = short_lived->name();
    EXPECT_THAT(SharedMemory::open(name, kBytes, SharedAccess::kRead), is_ok());
  }
  EXPECT_THAT(SharedMemory::open(name, kBytes, SharedAccess::kRead), fails_with(ErrorCode::kNotFound));
}

TEST(SharedMemory, AdoptsDescriptorsOfSegmentsAndNoOthers) {
  const auto segment = SharedMemory::create(kBytes, kRoom);
  ASSERT_THAT(segment, is_ok());
  const auto adopted = SharedMemory::adopt(segment->descriptor(), kBytes, SharedAccess::kReadWrite);
  ASSERT_THAT(adopted, is_ok());
  words(*adopted)[3] = 33;
  EXPECT_EQ(words(*segment)[3], 33u);

  // A size that its other holders can change; a file of the right name; nothing.
  const int loose = ::memfd_create("lobit-0123456789abcdef", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_EQ(::ftruncate(loose, kBytes), 0);
  EXPECT_THAT(SharedMemory::adopt(loose, kBytes, SharedAccess::kRead), fails_with(ErrorCode::kUnsupported));
  ASSERT_EQ(::fcntl(loose, F_ADD_SEALS, F_SEAL_SHRINK), 0);
  EXPECT_THAT(SharedMemory::adopt(loose, kBytes, SharedAccess::kRead), fails_with(ErrorCode::kUnsupported));
  ASSERT_EQ(::fcntl(loose, F_ADD_SEALS, F_SEAL_GROW), 0);
  EXPECT_THAT(SharedMemory::adopt(loose, kBytes, SharedAccess::kRead), is_ok());
  ::close(loose);
  const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  EXPECT_THAT(SharedMemory::adopt(file, kBytes, SharedAccess::kRead), fails_with(ErrorCode::kUnsupported));
  ::close(file);
  EXPECT_THAT(SharedMemory::adopt(-1, kBytes, SharedAccess::kRead), fails_with(ErrorCode::kUnsupported));
}

TEST(SharedMemory, MovesAndClosesWhatItHeld) {
  const size_t before = open_descriptors();
  {
    auto one = SharedMemory::create(kBytes, kRoom);
    auto two = SharedMemory::create(kBytes, kRoom);
    ASSERT_THAT(one, is_ok());
    ASSERT_THAT(two, is_ok());
    words(*two)[1] = 2;
    const std::string name = two->name();
    SharedMemory moved = std::move(*one);
    moved = std::move(*two);
    EXPECT_EQ(moved.name(), name);
    EXPECT_EQ(words(moved)[1], 2u);
    EXPECT_EQ(open_descriptors(), before + 1);
  }
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
}  // namespace lobit
