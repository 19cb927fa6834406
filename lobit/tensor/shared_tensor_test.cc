#include "lobit/tensor/shared_tensor.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lobit/device/backend.h"
#include "lobit/io/test_peer.h"
#include "lobit/tensor/shared_tensor_internal.h"
#include "lobit/tensor/tensor_test_support.h"

namespace lobit {
namespace {

using enum Encoding;
using detail::SharedTensorHeader;

constexpr int64_t kRows = 70;
constexpr int64_t kColumns = 33;

// How the two processes of a test speak: the last value of a tensor.
enum Message : uint32_t { kNothing, kGo, kDone };

std::span<float> floats(const SharedTensor& tensor) {
  const std::span<std::byte> bytes = *tensor.writable_bytes();
  return {reinterpret_cast<float*>(bytes.data()), bytes.size() / sizeof(float)};
}

std::atomic_ref<float> last_of(const SharedTensor& tensor) {
  return std::atomic_ref(floats(tensor).back());
}

void wait_for(const SharedTensor& tensor, Message message) {
  const auto expected = static_cast<float>(message);
  for (int i = 0; i < 20'000 && last_of(tensor).load(std::memory_order_acquire) != expected; ++i) {
    ::usleep(1000);
  }
  ASSERT_EQ(last_of(tensor).load(), expected) << "the other process does not answer";
}

void tell(const SharedTensor& tensor, Message message) {
  last_of(tensor).store(static_cast<float>(message), std::memory_order_release);
}

Result<SharedTensor> open_named_by_environment() {
  const char* name = std::getenv(kPeerVariable);  // NOLINT(concurrency-mt-unsafe): one thread
  return SharedTensor::open(name == nullptr ? "" : name, SharedAccess::kReadWrite);
}

// What the second process does. Not tests of their own: they need a first one.
TEST(SharedTensorPeer, DISABLED_Doubles) {
  const auto shared = open_named_by_environment();
  ASSERT_THAT(shared, is_ok());
  ASSERT_EQ(shared->shape(), shape_of({kRows, kColumns}));
  ASSERT_EQ(shared->format(), ValueFormat{kF32});
  wait_for(*shared, kGo);
  SystemResource memory;
  const std::vector<float> seen = values_of(*shared->tensor(memory));
  for (size_t i = 0; i + 1 < seen.size(); ++i) floats(*shared)[i] = 2 * seen[i];
  tell(*shared, kDone);
}

TEST(SharedTensorPeer, DISABLED_CreatesAndWaits) {
  const auto answer = open_named_by_environment();
  ASSERT_THAT(answer, is_ok());
  SystemResource memory;
  const Tensor values =
      *Tensor::from_values(numbered(3 * 70), shape_of({3, 70}), ValueFormat{kQ4_0, ScaleGroup::kRow}, memory);
  const auto own = SharedTensor::copy_of(values);
  ASSERT_THAT(own, is_ok());
  const std::string name = own->name();
  std::memcpy(floats(*answer).data(), name.c_str(), name.size() + 1);
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

std::vector<std::byte> bytes_of(const Tensor& tensor) {
  const std::span<const std::byte> bytes = *tensor.bytes();
  return {bytes.begin(), bytes.end()};
}

TEST(SharedTensor, ASecondProcessReadsAndWrites) {
  const auto shared = SharedTensor::create(shape_of({kRows, kColumns}), kF32);
  ASSERT_THAT(shared, is_ok());
  Peer peer("SharedTensorPeer.DISABLED_Doubles", shared->name());
  const std::vector<float> values = numbered(kRows * kColumns - 1);
  std::ranges::copy(values, floats(*shared).begin());
  SystemResource memory;
  const Tensor tensor = *shared->tensor(memory);
  tell(*shared, kGo);
  wait_for(*shared, kDone);
  const std::vector<float> seen = values_of(tensor);
  for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(seen[i], 2 * values[i]);
  EXPECT_EQ(peer.wait(), 0);
}

TEST(SharedTensor, OutlivesAKilledCreatorAndLeavesNothing) {
  const std::set<std::string> before = entries_of_dev_shm();
  SystemResource memory;
  std::optional<Tensor> tensor;
  {
    const auto answer = SharedTensor::create(shape_of({100}), kF32);
    ASSERT_THAT(answer, is_ok());
    Peer peer("SharedTensorPeer.DISABLED_CreatesAndWaits", answer->name());
    wait_for(*answer, kDone);
    const std::string name = reinterpret_cast<const char*>(answer->bytes().data());
    const auto joined = SharedTensor::open(name, SharedAccess::kRead);
    ASSERT_THAT(joined, is_ok());
    tensor = *joined->tensor(memory);
    peer.kill();
    EXPECT_THAT(SharedTensor::open(name, SharedAccess::kRead), fails_with(ErrorCode::kNotFound));
  }
  EXPECT_EQ(entries_of_dev_shm(), before);
  const Tensor expected =
      *Tensor::from_values(numbered(3 * 70), shape_of({3, 70}), ValueFormat{kQ4_0, ScaleGroup::kRow}, memory);
  EXPECT_EQ(bytes_of(*tensor), bytes_of(expected));
}

TEST(SharedTensor, OfEveryFormatHasTheTensorsBytes) {
  SystemResource memory;
  for (const ValueFormat format : formats_for(256)) {
    const Tensor tensor = *Tensor::from_values(numbered(3 * 256), shape_of({3, 256}), format, memory);
    const auto shared = SharedTensor::copy_of(tensor, SharedAccess::kRead);
    ASSERT_THAT(shared, is_ok()) << to_string(format);
    const auto opened = SharedTensor::open(shared->name(), SharedAccess::kRead);
    ASSERT_THAT(opened, is_ok()) << to_string(format);
    EXPECT_EQ(opened->format(), format);
    EXPECT_EQ(opened->shape(), tensor.shape());
    EXPECT_EQ(bytes_of(*opened->tensor(memory)), bytes_of(tensor)) << to_string(format);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(opened->bytes().data()) % 64, 0u);
  }
}

TEST(SharedTensor, HoldsViewsInOnePiece) {
  SystemResource memory;
  const auto check = [&](const Tensor& view) {
    ASSERT_FALSE(view.is_contiguous());
    const auto shared = SharedTensor::copy_of(view);
    ASSERT_THAT(shared, is_ok());
    EXPECT_EQ(bytes_of(*shared->tensor(memory)), bytes_of(*view.clone(memory)));
  };
  const Tensor plain = *Tensor::from_values(numbered(6 * 8), shape_of({6, 8}), kF16, memory);
  check(*plain.transpose());
  const Tensor planar =
      *Tensor::from_values(numbered(6 * 8), shape_of({6, 8}), ValueFormat{kQ4_0, ScaleGroup::kRow}, memory);
  check(*planar.slice(1, 2, 8));
}

TEST(SharedTensor, WithoutElementsOrDimensions) {
  SystemResource memory;
  for (const Shape& shape :
       {shape_of({}), shape_of({0}), shape_of({4, 0, 3}), shape_of({1, 1, 1, 1, 1, 1, 1, 2})}) {
    const auto shared = SharedTensor::create(shape, kF32);
    ASSERT_THAT(shared, is_ok());
    const auto opened = SharedTensor::open(shared->name(), SharedAccess::kRead);
    ASSERT_THAT(opened, is_ok());
    EXPECT_EQ(opened->shape(), shape);
    EXPECT_EQ(values_of(*opened->tensor(memory)), std::vector<float>(shape.elements(), 0.0f));
  }
}

TEST(SharedTensor, ATensorWritesToItsOwnCopy) {
  SystemResource memory;
  const auto shared = SharedTensor::create(shape_of({8}), kF32);
  ASSERT_THAT(shared, is_ok());
  Tensor tensor = *shared->tensor(memory);
  EXPECT_EQ(memory.usage().allocations, 0u);
  tensor.mutable_values<float>().value()[2] = 5.0f;
  EXPECT_EQ(floats(*shared)[2], 0.0f);
  EXPECT_EQ(memory.usage().allocations, 1u);
  floats(*shared)[3] = 7.0f;
  EXPECT_EQ(tensor.values<float>().value()[3], 0.0f);
}

TEST(SharedTensor, IsReadOnlyWhereItsCreatorOrItsOpenerSaysSo) {
  const auto closed = SharedTensor::create(shape_of({8}), kF32, SharedAccess::kRead);
  const auto open = SharedTensor::create(shape_of({8}), kF32);
  ASSERT_THAT(closed, is_ok());
  ASSERT_THAT(open, is_ok());
  EXPECT_THAT(SharedTensor::open(closed->name(), SharedAccess::kReadWrite),
              fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(SharedTensor::adopt(open->descriptor(), SharedAccess::kReadWrite), is_ok());
  const auto reader = SharedTensor::open(open->name(), SharedAccess::kRead);
  ASSERT_THAT(reader, is_ok());
  EXPECT_EQ(reader->access(), SharedAccess::kRead);
  EXPECT_THAT(reader->writable_bytes(), fails_with(ErrorCode::kInvalidArgument));
}

TEST(SharedTensor, RefusesShapesAndSizesThatCannotBe) {
  EXPECT_THAT(SharedTensor::create(shape_of({33}), kQ8_0), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(SharedTensor::create(shape_of({int64_t{1} << 58}), kF32), fails_with(ErrorCode::kOutOfMemory));
}

// What is left, to the container too, and not all that the machine has.
TEST(SharedTensor, TakesNoMoreThanThisProcessMay) {
  const uint64_t total = backend(Device{}).value()->memory()->total;
  const auto refused = SharedTensor::create(shape_of({static_cast<int64_t>(total / sizeof(float))}), kF32);
  ASSERT_THAT(refused, fails_with(ErrorCode::kOutOfMemory));
  EXPECT_EQ(refused.error().detail.required,
            total / sizeof(float) * sizeof(float) + sizeof(SharedTensorHeader));
  EXPECT_LT(refused.error().detail.available, total);
}

TEST(SharedTensor, IsEmptyOnceItWasMovedFrom) {
  auto first = SharedTensor::create(shape_of({8}), kF32);
  ASSERT_THAT(first, is_ok());
  const std::string name = first->name();
  SharedTensor second = std::move(*first);
  EXPECT_EQ(second.name(), name);
  EXPECT_EQ(second.bytes().size(), 32u);
  EXPECT_EQ(first->name(), "");
  EXPECT_EQ(first->descriptor(), -1);
  EXPECT_EQ(first->access(), SharedAccess::kRead);
  EXPECT_EQ(first->shape(), shape_of({0}));
  EXPECT_TRUE(first->bytes().empty());
  SystemResource memory;
  EXPECT_THAT(first->writable_bytes(), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(first->tensor(memory), fails_with(ErrorCode::kInvalidArgument));
  *first = std::move(second);
  EXPECT_EQ(first->name(), name);
}

// A header that another process wrote, with one thing wrong.
TEST(SharedTensor, ChecksEveryFieldOfAHostileHeader) {
  const auto shared = SharedTensor::create(shape_of({4, 6}), ValueFormat{kQ4_0, ScaleGroup::kRow});
  ASSERT_THAT(shared, is_ok());
  const auto segment = SharedMemory::adopt(shared->descriptor(), SharedAccess::kReadWrite);
  ASSERT_THAT(segment, is_ok());
  std::byte* const at = segment->writable_bytes()->data();
  SharedTensorHeader good;
  std::memcpy(&good, at, sizeof good);
  using Change = std::function<void(SharedTensorHeader&)>;
  const std::vector<std::pair<ErrorCode, Change>> changes = {
      {ErrorCode::kCorrupt, [](auto& h) { h.magic[7] = 'X'; }},
      {ErrorCode::kUnsupported, [](auto& h) { h.version = 2; }},
      {ErrorCode::kCorrupt, [](auto& h) { h.rank = 9; }},
      {ErrorCode::kCorrupt, [](auto& h) { h.rank = UINT32_MAX; }},
      {ErrorCode::kCorrupt, [](auto& h) { h.rank = 1; }},
      {ErrorCode::kCorrupt, [](auto& h) { h.format[1] = '9'; }},
      {ErrorCode::kCorrupt, [](auto& h) { h.format.fill('i'); }},
      {ErrorCode::kCorrupt, [](auto& h) { h.format[31] = 'i'; }},
      {ErrorCode::kCorrupt, [](auto& h) { h.extents[0] = -4; }},
      {ErrorCode::kCorrupt, [](auto& h) { h.extents[0] = INT64_MAX; }},
      {ErrorCode::kCorrupt, [](auto& h) { h.extents[0] = 5; }},
      {ErrorCode::kCorrupt, [](auto& h) { h.extents[7] = 1; }},
      {ErrorCode::kCorrupt, [](auto& h) { h.offset = 0; }},
      {ErrorCode::kCorrupt, [](auto& h) { h.offset = 129; }},
      {ErrorCode::kCorrupt, [](auto& h) { h.offset = 192; }},
      {ErrorCode::kCorrupt, [](auto& h) { h.offset = UINT64_MAX - 63; }},
      {ErrorCode::kCorrupt, [](auto& h) { ++h.bytes; }},
      {ErrorCode::kCorrupt, [](auto& h) { h.bytes = UINT64_MAX; }},
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    SharedTensorHeader bad = good;
    changes[i].second(bad);
    std::memcpy(at, &bad, sizeof bad);
    EXPECT_THAT(SharedTensor::open(shared->name(), SharedAccess::kRead), fails_with(changes[i].first)) << i;
  }
  std::memcpy(at, &good, sizeof good);
  EXPECT_THAT(SharedTensor::open(shared->name(), SharedAccess::kRead), is_ok());
}

TEST(SharedTensor, RefusesASegmentWithoutRoomForAHeader) {
  const auto segment = SharedMemory::create(sizeof(SharedTensorHeader) - 1, 4096);
  ASSERT_THAT(segment, is_ok());
  EXPECT_THAT(SharedTensor::open(segment->name(), SharedAccess::kRead), fails_with(ErrorCode::kCorrupt));
}

}  // namespace
}  // namespace lobit
