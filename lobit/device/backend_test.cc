#include "lobit/device/backend.h"

#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

#include "lobit/base/test_support.h"
#include "lobit/device/capabilities.h"

namespace lobit {
namespace {

using testing::HasSubstr;

constexpr Device kCpu{};
constexpr Device kGpu{DeviceKind::kCuda, 1};

struct AbsentKind {
  Device device;
  const char* option;
};
constexpr AbsentKind kAbsent[] = {{kGpu, "LOBIT_CUDA"}, {{DeviceKind::kMlx, 0}, "LOBIT_MLX"}};

Backend& cpu() {
  return **backend(kCpu);
}

TEST(AvailableDevices, EndWithTheCpuAndBeginWithTheBest) {
  const auto devices = available_devices();
  ASSERT_FALSE(devices.empty());
  EXPECT_EQ(devices.back(), kCpu);
  EXPECT_EQ(auto_select_device(), devices.front());
  for (const Device device : devices) {
    const auto found = backend(device);
    ASSERT_THAT(found, is_ok());
    EXPECT_EQ((*found)->device(), device);
  }
}

TEST(AbsentBackend, NamesTheOptionAndTheDeviceInEveryCall) {
  for (const auto& [device, option] : kAbsent) {
    const auto expect_named = [&, name = option](const auto& result) {
      ASSERT_THAT(result, fails_with(ErrorCode::kUnsupported));
      EXPECT_THAT(result.error().message, HasSubstr(name));
      EXPECT_THAT(result.error().message, HasSubstr("not part of this version"));
      EXPECT_THAT(result.error().message, HasSubstr(device_name(device)));
      EXPECT_EQ(result.error().detail.to, device_name(device));
    };
    expect_named(backend(device));
    expect_named(DeviceCapabilities::for_device(device, Bandwidth::kSkip));
    EXPECT_EQ(std::ranges::count(available_devices(), device), 0);
  }
}

TEST(AbsentBackend, IsNoEndOfACopy) {
  std::byte from{7};
  std::byte to{0};
  for (const auto& [device, option] : kAbsent) {
    for (const auto& status :
         {copy_between(device, &to, kCpu, &from, 1, {}), copy_between(kCpu, &to, device, &from, 1, {}),
          copy_between(device, &to, device, &from, 1, {})}) {
      ASSERT_THAT(status, fails_with(ErrorCode::kUnsupported));
      EXPECT_THAT(status.error().message, HasSubstr(option));
    }
  }
  EXPECT_EQ(to, std::byte{0});
}

TEST(BackendOf, RefusesDevicesThatCannotBe) {
  EXPECT_THAT(backend({DeviceKind::kCpu, 1}), fails_with(ErrorCode::kNotFound));
  EXPECT_THAT(DeviceCapabilities::for_device({DeviceKind::kCpu, 1}, Bandwidth::kSkip),
              fails_with(ErrorCode::kNotFound));
  const auto other = static_cast<DeviceKind>(9);
  EXPECT_THAT(backend({other, 0}), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(DeviceCapabilities::for_device({other, 0}), fails_with(ErrorCode::kInvalidArgument));
}

TEST(CpuBackend, AllocatesAtEveryAlignmentAndSize) {
  for (size_t alignment = 1; alignment <= size_t{1} << 20; alignment *= 4) {
    for (const size_t bytes : {size_t{1}, size_t{63}, size_t{4097}, size_t{1} << 20}) {
      const auto block = cpu().allocate(bytes, alignment, {});
      ASSERT_THAT(block, is_ok());
      EXPECT_EQ(reinterpret_cast<uintptr_t>(*block) % alignment, 0u);
      std::memset(*block, 0xA5, bytes);
      EXPECT_THAT(cpu().deallocate(*block, bytes, alignment, {}), is_ok());
    }
  }
}

TEST(CpuBackend, RefusesRequestsThatCannotBe) {
  EXPECT_THAT(cpu().allocate(0, 64, {}), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(cpu().allocate(64, 0, {}), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(cpu().allocate(64, 48, {}), fails_with(ErrorCode::kInvalidArgument));
  for (const size_t bytes : {SIZE_MAX, SIZE_MAX / 2 + 1}) {
    const auto block = cpu().allocate(bytes, 64, {});
    ASSERT_THAT(block, fails_with(ErrorCode::kOutOfMemory));
    EXPECT_EQ(block.error().detail.required, bytes);
  }
  EXPECT_THAT(cpu().deallocate(nullptr, 64, 64, {}), fails_with(ErrorCode::kInvalidArgument));
}

TEST(CpuBackend, CopiesUnderEveryKindAtOnce) {
  std::vector<uint8_t> from(1000);
  std::iota(from.begin(), from.end(), uint8_t{0});
  for (const CopyKind kind :
       {CopyKind::kHostToHost, CopyKind::kHostToDevice, CopyKind::kDeviceToHost, CopyKind::kDeviceToDevice}) {
    std::vector<uint8_t> to(from.size(), 0xFF);
    EXPECT_THAT(cpu().copy(to.data(), from.data(), to.size(), kind, {}), is_ok());
    EXPECT_EQ(to, from);
  }
  EXPECT_THAT(cpu().copy(nullptr, nullptr, 0, CopyKind::kHostToHost, {}), is_ok());
  EXPECT_THAT(cpu().copy(nullptr, from.data(), 1, CopyKind::kHostToHost, {}),
              fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(cpu().copy(from.data(), nullptr, 1, CopyKind::kHostToHost, {}),
              fails_with(ErrorCode::kInvalidArgument));
}

TEST(CpuBackend, CopiesOverlappingRangesWhole) {
  std::vector<uint8_t> bytes(100);
  std::iota(bytes.begin(), bytes.end(), uint8_t{0});
  EXPECT_THAT(copy_between(kCpu, bytes.data() + 10, kCpu, bytes.data(), 90, {}), is_ok());
  EXPECT_EQ(bytes[99], 89);
  EXPECT_EQ(bytes[10], 0);
  EXPECT_EQ(bytes[9], 9);
}

TEST(CpuBackend, StreamsAndEventsLiveUntilTheyAreDestroyed) {
  const Stream stream = *cpu().create_stream();
  const Stream other = *cpu().create_stream();
  const Event event = *cpu().create_event();
  EXPECT_NE(stream, Stream{});
  EXPECT_NE(stream, other);
  EXPECT_THAT(cpu().wait(other, event), is_ok());  // never recorded: has passed
  EXPECT_THAT(cpu().record(event, stream), is_ok());
  EXPECT_THAT(cpu().wait(other, event), is_ok());
  EXPECT_THAT(cpu().wait(Stream{}, event), is_ok());
  EXPECT_THAT(cpu().synchronize(event), is_ok());
  EXPECT_THAT(cpu().synchronize(stream), is_ok());
  EXPECT_THAT(cpu().synchronize(Stream{}), is_ok());
  EXPECT_THAT(cpu().destroy_event(event), is_ok());
  EXPECT_THAT(cpu().destroy_stream(stream), is_ok());
  EXPECT_THAT(cpu().destroy_stream(other), is_ok());
}

TEST(CpuBackend, RefusesHandlesThatAreNotAlive) {
  const Stream stream = *cpu().create_stream();
  const Event event = *cpu().create_event();
  EXPECT_THAT(cpu().record({stream.handle}, {}), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(cpu().synchronize(Stream{event.handle}), fails_with(ErrorCode::kInvalidArgument));
  ASSERT_THAT(cpu().destroy_stream(stream), is_ok());
  ASSERT_THAT(cpu().destroy_event(event), is_ok());
  std::byte byte{};
  EXPECT_THAT(cpu().destroy_stream(stream), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(cpu().destroy_stream({}), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(cpu().destroy_event(event), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(cpu().wait(stream, event), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(cpu().synchronize(event), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(cpu().allocate(1, 1, stream), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(cpu().deallocate(&byte, 1, 1, stream), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(cpu().copy(&byte, &byte, 1, CopyKind::kHostToHost, stream),
              fails_with(ErrorCode::kInvalidArgument));
}

TEST(CpuBackend, HandlesThatAreGoneNeverMeanLaterOnes) {
  std::vector<Stream> gone_streams;
  std::vector<Event> gone_events;
  for (int i = 0; i < 100; ++i) {
    gone_streams.push_back(*cpu().create_stream());
    gone_events.push_back(*cpu().create_event());
    ASSERT_THAT(cpu().destroy_stream(gone_streams.back()), is_ok());
    ASSERT_THAT(cpu().destroy_event(gone_events.back()), is_ok());
  }
  const Stream stream = *cpu().create_stream();
  const Event event = *cpu().create_event();
  for (const Stream gone : gone_streams) {
    EXPECT_THAT(cpu().destroy_stream(gone), fails_with(ErrorCode::kInvalidArgument));
  }
  for (const Event gone : gone_events) {
    EXPECT_THAT(cpu().destroy_event(gone), fails_with(ErrorCode::kInvalidArgument));
  }
  EXPECT_THAT(cpu().destroy_stream(stream), is_ok());
  EXPECT_THAT(cpu().destroy_event(event), is_ok());
}

TEST(CpuBackend, IsSharedByThreads) {
  std::vector<std::jthread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 200; ++i) {
        const Stream stream = *cpu().create_stream();
        const Event event = *cpu().create_event();
        void* const block = *cpu().allocate(100, 64, stream);
        EXPECT_THAT(cpu().record(event, stream), is_ok());
        EXPECT_THAT(cpu().deallocate(block, 100, 64, stream), is_ok());
        EXPECT_THAT(cpu().destroy_event(event), is_ok());
        EXPECT_THAT(cpu().destroy_stream(stream), is_ok());
      }
    });
  }
}

TEST(CpuBackend, TellsItsMemory) {
  const auto memory = cpu().memory();
  ASSERT_THAT(memory, is_ok());
  EXPECT_GT(memory->total, uint64_t{16} << 20);
  EXPECT_GT(memory->free, 0u);
  EXPECT_LE(memory->free, memory->total);
}

}  // namespace
}  // namespace lobit
