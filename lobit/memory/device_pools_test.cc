#include "lobit/memory/device_pools.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/resource_conformance.h"
#include "lobit/memory/statistics_resource.h"

namespace lobit {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr Device kCpu{};
constexpr Device kGpu{DeviceKind::kCuda, 0};
constexpr Device kOtherGpu{DeviceKind::kCuda, 1};
constexpr uint64_t kMiB = uint64_t{1} << 20;
// What is free stays committed, however long a test takes.
const MemoryPoolOptions kNoIdleTrim{.idle_trim = std::chrono::milliseconds::zero()};

// So that there are several devices on every machine.
Result<std::unique_ptr<MemoryResource>> host_memory(Device /*device*/, const MemoryPoolOptions& options) {
  return HybridMemoryPool::create(options);
}

INSTANTIATE_TEST_SUITE_P(OfTheCpu, ResourceConformance,
                         testing::Values(ResourceUnderTest{[](ResourceStack& stack) {
                                                             auto& pools = stack.add<DevicePools>();
                                                             // A wrapper that adds nothing: the stack would
                                                             // own the pool otherwise.
                                                             stack.add<StatisticsResource>(
                                                                 *pools.pool(kCpu).value());
                                                           },
                                                           {.size_check = SizeCheck::kBytes}}));

TEST(DevicePools, MakesAPoolOnFirstUseAndKeepsIt) {
  DevicePools pools;
  EXPECT_THAT(pools.devices(), ElementsAre());
  EXPECT_FALSE(pools.largest().has_value());
  EXPECT_EQ(pools.usage(kCpu).committed, 0u);
  EXPECT_EQ(pools.trim(), 0u);

  const auto pool = pools.pool(kCpu);
  ASSERT_THAT(pool, is_ok());
  EXPECT_EQ((*pool)->device(), kCpu);
  EXPECT_EQ(*pools.pool(kCpu), *pool);
  EXPECT_EQ(*pools.pool(), *pools.pool(auto_select_device()));
  EXPECT_THAT(pools.devices(), ElementsAre(kCpu));
}

TEST(DevicePools, AnAbsentDeviceNamesItsBuildOption) {
  DevicePools pools;
  for (const auto& [device, option] :
       {std::pair(kOtherGpu, "LOBIT_CUDA"), std::pair(Device{DeviceKind::kMlx, 0}, "LOBIT_MLX")}) {
    const auto pool = pools.pool(device);
    ASSERT_THAT(pool, fails_with(ErrorCode::kUnsupported));
    EXPECT_THAT(pool.error().message, HasSubstr(option));
    EXPECT_THAT(pool.error().message, HasSubstr(device_name(device)));
    EXPECT_THAT(pools.allocate(1, 64, device), fails_with(ErrorCode::kUnsupported));
    EXPECT_THAT(pools.allocate_raw(1, 64, device), fails_with(ErrorCode::kUnsupported));
  }
  EXPECT_THAT(pools.pool({DeviceKind::kCpu, 1}), fails_with(ErrorCode::kNotFound));
  EXPECT_THAT(pools.devices(), ElementsAre()) << "nothing falls back to the processor";
}

TEST(DevicePools, EachDeviceHasItsOwnLimit) {
  DevicePools pools({.limit = 16 * kMiB, .idle_trim = kNoIdleTrim.idle_trim}, host_memory);
  ASSERT_THAT(pools.configure(kGpu, {.limit = 64 * kMiB}), is_ok());
  ASSERT_THAT(pools.configure(kGpu, {.limit = 4 * kMiB}), is_ok());
  EXPECT_THAT(pools.allocate(8 * kMiB, 64, kGpu), fails_with(ErrorCode::kLimit));
  EXPECT_THAT(pools.allocate(3 * kMiB, 64, kGpu), is_ok());
  EXPECT_THAT(pools.allocate(8 * kMiB, 64, kOtherGpu), is_ok());
  EXPECT_THAT(pools.allocate(32 * kMiB, 64, kOtherGpu), fails_with(ErrorCode::kLimit));
}

TEST(DevicePools, ADeviceIsConfiguredBeforeItsPoolIsThere) {
  DevicePools pools({.limit = 16 * kMiB, .idle_trim = kNoIdleTrim.idle_trim}, host_memory);
  ASSERT_THAT(pools.pool(kGpu), is_ok());
  const Status late = pools.configure(kGpu, {.limit = 64 * kMiB});
  ASSERT_THAT(late, fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(late.error().detail.to, "cuda:0");
  EXPECT_THAT(pools.allocate(32 * kMiB, 64, kGpu), fails_with(ErrorCode::kLimit)) << "nothing changed";
  ASSERT_THAT(pools.configure(kOtherGpu, {.limit = 64 * kMiB}), is_ok());
  EXPECT_THAT(pools.allocate(32 * kMiB, 64, kOtherGpu), is_ok());
}

TEST(DevicePools, OptionsThatContradictEachOtherCanBeCorrected) {
  DevicePools pools({.limit = 0});
  EXPECT_THAT(pools.pool(kCpu), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(pools.devices(), ElementsAre());
  ASSERT_THAT(pools.configure(kCpu, {.limit = 4 * kMiB}), is_ok());
  EXPECT_THAT(pools.pool(kCpu), is_ok());
}

TEST(DevicePools, ABufferGoesBackToThePoolThatItCameFrom) {
  DevicePools pools(kNoIdleTrim, host_memory);
  Buffer kept;
  {
    Buffer buffer = *pools.allocate(1000, 256, kGpu);
    const Buffer other = *pools.allocate(500, 64, kOtherGpu);
    EXPECT_EQ(buffer.resource(), *pools.pool(kGpu));
    EXPECT_EQ(buffer.size(), 1000u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 256, 0u);
    kept = std::move(buffer);
  }
  EXPECT_EQ(pools.usage(kGpu).allocated, 1000u);
  EXPECT_EQ(pools.usage(kOtherGpu).allocated, 0u);
  EXPECT_THAT(kept.free(), is_ok());
  EXPECT_EQ(pools.usage(kGpu).allocated, 0u);
  EXPECT_EQ(pools.usage(kGpu).deallocations, 1u);
}

TEST(DevicePools, RefusesToFreeOnAnotherDevice) {
  DevicePools pools(kNoIdleTrim, host_memory);
  for (const size_t bytes : {size_t{100}, size_t{5} << 20}) {
    void* const block = *pools.allocate_raw(bytes, 64, kGpu);
    fill_pattern(block, bytes, 7);
    const Status never_used = pools.deallocate_raw(block, bytes, 64, {DeviceKind::kMlx, 0});
    ASSERT_THAT(never_used, fails_with(ErrorCode::kInvalidArgument));
    EXPECT_EQ(never_used.error().detail.to, "mlx:0");
    ASSERT_THAT(pools.pool(kOtherGpu), is_ok());
    EXPECT_THAT(pools.deallocate_raw(block, bytes, 64, kOtherGpu), fails_with(ErrorCode::kInvalidArgument));
    EXPECT_EQ(pools.usage(kGpu).allocated, bytes);
    EXPECT_EQ(pools.usage(kOtherGpu).deallocations, 0u);
    EXPECT_TRUE(holds_pattern(block, bytes, 7));
    EXPECT_THAT(pools.deallocate_raw(block, bytes, 64, kGpu), is_ok());
    EXPECT_THAT(pools.deallocate_raw(block, bytes, 64, kGpu), fails_with(ErrorCode::kInvalidArgument));
  }
  EXPECT_THAT(pools.devices(), ElementsAre(kGpu, kOtherGpu)) << "freeing makes no pool";
}

TEST(DevicePools, CountsEachDeviceAndAllOfThem) {
  DevicePools pools(kNoIdleTrim, host_memory);
  const Buffer small = *pools.allocate(1000, 64, kGpu);
  const Buffer large = *pools.allocate(5 * kMiB, 64, kOtherGpu);
  static_cast<void>(*pools.allocate(3 * kMiB, 64, kOtherGpu));
  EXPECT_EQ(pools.usage(kGpu).allocated, 1000u);
  EXPECT_EQ(pools.usage(kOtherGpu).allocated, 5 * kMiB);
  EXPECT_EQ(pools.usage(kCpu).allocations, 0u);
  const MemoryUsage all = pools.usage();
  EXPECT_EQ(all.allocated, 5 * kMiB + 1000);
  EXPECT_EQ(all.peak_allocated, 8 * kMiB + 1000);
  EXPECT_EQ(all.allocations, 3u);
  EXPECT_EQ(all.deallocations, 1u);
  EXPECT_EQ(all.used, pools.usage(kGpu).used + pools.usage(kOtherGpu).used);
  EXPECT_EQ(all.committed, pools.usage(kGpu).committed + pools.usage(kOtherGpu).committed);
  EXPECT_EQ(all.peak_committed, pools.usage(kGpu).peak_committed + pools.usage(kOtherGpu).peak_committed);
  EXPECT_EQ(pools.largest(), kOtherGpu);
  EXPECT_THAT(pools.devices(), ElementsAre(kGpu, kOtherGpu));
}

TEST(DevicePools, TrimsOneOrAll) {
  DevicePools pools(kNoIdleTrim, host_memory);
  for (const Device device : {kCpu, kGpu, kOtherGpu}) {
    static_cast<void>(*pools.allocate(8 * kMiB, 64, device));
    EXPECT_GE(pools.usage(device).committed, 8 * kMiB);
  }
  EXPECT_GE(pools.trim(kGpu), 8 * kMiB);
  EXPECT_EQ(pools.usage(kGpu).committed, 0u);
  EXPECT_GE(pools.usage(kCpu).committed, 8 * kMiB);
  const uint64_t before = pools.usage().committed;
  EXPECT_GE(before, 16 * kMiB);
  EXPECT_EQ(pools.trim(), before);
  EXPECT_EQ(pools.usage().committed, 0u);
}

TEST(DevicePools, ThreadsThatAreFirstGetTheSamePool) {
  constexpr size_t kThreads = 8;
  constexpr size_t kRounds = 10;
  for (size_t round = 0; round < kRounds; ++round) {
    std::atomic<int> made = 0;
    DevicePools pools({}, [&](Device device, const MemoryPoolOptions& options) {
      ++made;
      return host_memory(device, options);
    });
    std::vector<MemoryResource*> seen(kThreads);
    std::vector<Buffer> buffers(kThreads);
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        const Device device{DeviceKind::kCuda, static_cast<uint16_t>(i % 2)};
        static_cast<void>(pools.usage());
        buffers[i] = pools.allocate(100 + i, 64, device).value();
        std::memset(buffers[i].data(), static_cast<int>(i), buffers[i].size());
        seen[i] = *pools.pool(device);
        static_cast<void>(pools.trim());
        void* const block = *pools.allocate_raw(5000, 64, device);
        EXPECT_THAT(pools.deallocate_raw(block, 5000, 64, device), is_ok());
      });
    }
    threads.clear();
    EXPECT_EQ(made, 2);
    for (size_t i = 0; i < kThreads; ++i) {
      EXPECT_EQ(seen[i], seen[i % 2]);
      EXPECT_EQ(buffers[i].resource(), seen[i]);
      EXPECT_EQ(buffers[i].data()[0], static_cast<std::byte>(i));
    }
    EXPECT_NE(seen[0], seen[1]);
    EXPECT_EQ(pools.usage().allocations, 2 * kThreads);
    EXPECT_EQ(pools.usage().deallocations, kThreads);
  }
}

}  // namespace
}  // namespace lobit
