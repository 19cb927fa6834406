#include "lobit/memory/tracking_resource.h"

#include <atomic>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/base/test_heap.h"
#include "lobit/base/test_support.h"
#include "lobit/memory/buffer.h"
#include "lobit/memory/failing_resource.h"
#include "lobit/memory/hybrid_memory_pool.h"
#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/system_resource.h"
#include "lobit/memory/test_maintenance_clock.h"
#include "lobit/memory/tracker_internal.h"

namespace lobit {
namespace {

constexpr size_t kKiB = 1024;
constexpr size_t kMiB = 1024 * kKiB;

std::unique_ptr<TrackingResource> track(MemoryResource& below, const TrackingOptions& options = {}) {
  return TrackingResource::create(below, options).value();
}

void* take(MemoryResource& resource, size_t bytes, MemoryTag tag = MemoryTag::kUntagged) {
  const ScopedMemoryTag scope(tag);
  return resource.allocate(bytes).value();
}

TagStatistics of_tag(const TrackingStatistics& statistics, MemoryTag tag) {
  for (const TagStatistics& entry : statistics.tags) {
    if (entry.tag == tag) return entry;
  }
  return {.tag = tag};
}

TEST(TrackingResource, RefusesOptionsThatMeanNothing) {
  SystemResource system;
  EXPECT_THAT(TrackingResource::create(system, {.sample_bytes = 0}), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(TrackingResource::create(system, {.timeline_points = UINT32_MAX}),
              fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(TrackingResource::create(system, {.leaks = {.interval = std::chrono::milliseconds(-1)}}),
              fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(TrackingResource::create(system, {.leaks = {.age = std::chrono::milliseconds(-1)}}),
              fails_with(ErrorCode::kInvalidArgument));
}

// One script, by hand: what each level knows of it.
void run_script(MemoryResource& resource) {
  void* a = take(resource, 100 * kKiB, MemoryTag::kWeights);
  void* b = take(resource, 50 * kKiB, MemoryTag::kKvCache);
  EXPECT_THAT(resource.deallocate(a, 100 * kKiB), is_ok());
  void* c = take(resource, 30 * kKiB, MemoryTag::kKvCache);
  EXPECT_THAT(resource.deallocate(c, 31 * kKiB), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(resource.allocate(0), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(resource.deallocate(b, 50 * kKiB), is_ok());
}

TEST(TrackingResource, CountsExactlyAtEveryLevelButNone) {
  for (const TrackingLevel level :
       {TrackingLevel::kBasic, TrackingLevel::kStandard, TrackingLevel::kDetailed}) {
    SystemResource system;
    const auto tracked = track(system, {.level = level});
    run_script(*tracked);
    const TrackingStatistics counted = tracked->statistics();
    EXPECT_EQ(counted.level, level);
    EXPECT_EQ(counted.live_bytes, 30 * kKiB);
    EXPECT_EQ(counted.live_blocks, 1u);
    EXPECT_EQ(counted.peak_bytes, 150 * kKiB);
    EXPECT_EQ(counted.allocations, 3u);
    EXPECT_EQ(counted.deallocations, 2u);
    EXPECT_EQ(counted.allocated_bytes, 180 * kKiB);
    EXPECT_EQ(counted.refused_allocations, 1u);
    EXPECT_EQ(counted.refused_deallocations, 1u);
    EXPECT_EQ(counted.unrecorded_blocks, 0u);
    const uint64_t sizes = std::accumulate(counted.sizes.begin(), counted.sizes.end(), uint64_t{0});
    EXPECT_EQ(sizes, level == TrackingLevel::kBasic ? 0u : 3u);
    EXPECT_EQ(counted.sizes[17], level == TrackingLevel::kBasic ? 0u : 1u);  // 100 KiB
    EXPECT_EQ(counted.allocate_latency.timed, level == TrackingLevel::kBasic ? 0u : 1u);
  }
}

TEST(TrackingResource, NoneCountsNothingAndAllocatesNothing) {
  SystemResource system;
  const auto tracked = track(system, {.level = TrackingLevel::kNone});
  run_script(*tracked);
  const TrackingStatistics counted = tracked->statistics();
  EXPECT_EQ(counted.allocations, 0u);
  EXPECT_EQ(counted.live_bytes, 0u);
  if (!heap_is_counted()) return;
  HybridMemoryPool* const pool = HybridMemoryPool::create().value().release();
  const std::unique_ptr<HybridMemoryPool> owner(pool);
  const auto over_pool = track(*pool, {.level = TrackingLevel::kNone});
  ASSERT_THAT(over_pool->deallocate(take(*over_pool, 100), 100), is_ok());
  int freed = 0;
  const HeapPeak heap;
  for (int i = 0; i < 1000; ++i) {
    const Result<void*> block = over_pool->allocate(100);
    if (block && over_pool->deallocate(*block, 100)) ++freed;
  }
  EXPECT_EQ(heap.bytes(), 0u);
  EXPECT_EQ(freed, 1000);
}

TEST(TrackingResource, DetailedKnowsWhatEachTagHoldsAndHeld) {
  SystemResource system;
  const auto tracked = track(system, {.level = TrackingLevel::kDetailed});
  run_script(*tracked);
  const TrackingStatistics counted = tracked->statistics();
  EXPECT_EQ(of_tag(counted, MemoryTag::kWeights).live_bytes, 0u);
  EXPECT_EQ(of_tag(counted, MemoryTag::kWeights).peak_bytes, 100 * kKiB);
  EXPECT_EQ(of_tag(counted, MemoryTag::kKvCache).live_bytes, 30 * kKiB);
  EXPECT_EQ(of_tag(counted, MemoryTag::kKvCache).peak_bytes, 80 * kKiB);
  EXPECT_EQ(counted.recorded_blocks, 1u);
  EXPECT_EQ(std::accumulate(counted.lifetimes.begin(), counted.lifetimes.end(), uint64_t{0}), 2u);
}

TEST(TrackingResource, LeaksAreExactlyTheBlocksThatWereNotFreed) {
  SystemResource system;
  const auto tracked = track(system, {.level = TrackingLevel::kDetailed});
  std::vector<void*> kept;
  for (size_t i = 1; i <= 20; ++i) {
    void* const block = take(*tracked, i * 1000, i % 2 == 0 ? MemoryTag::kWeights : MemoryTag::kIo);
    if (i % 5 == 0) {
      kept.push_back(block);
    } else {
      ASSERT_THAT(tracked->deallocate(block, i * 1000), is_ok());
    }
  }
  {
    const Buffer buffer = Buffer::allocate(*tracked, 4096).value();
  }
  const LeakReport report = tracked->leaks();
  EXPECT_FALSE(report.is_estimate);
  EXPECT_EQ(report.blocks, 4u);
  EXPECT_EQ(report.bytes, 50'000u);
  ASSERT_EQ(report.largest.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    const UnfreedBlock& block = report.largest[i];
    EXPECT_EQ(block.bytes, (20 - 5 * i) * 1000);
    EXPECT_EQ(block.address, reinterpret_cast<uintptr_t>(kept[3 - i]));
    EXPECT_EQ(report.tags[block.tag], i % 2 == 0 ? "weights" : "io");
    EXPECT_EQ(block.device, "cpu");
    EXPECT_GT(block.age_ns, 0u);
  }
  EXPECT_EQ(tracked->leaks(std::chrono::hours(1)).blocks, 0u);
}

// Named, so that it is found again.
[[gnu::noinline]] void* taken_by_this_function(MemoryResource& resource) {
  void* const block = resource.allocate(12345).value();
  EXPECT_NE(block, nullptr);
  return block;
}

bool names(const StackTrace& stack, std::string_view function) {
  return std::ranges::any_of(stack, [&](const StackFrame& frame) {
    return frame.function.find(function) != std::string::npos && frame.line > 0 &&
           frame.file.ends_with("tracking_resource_test.cc");
  });
}

std::string text_of(const StackTrace& stack) {
  std::string text;
  for (const StackFrame& frame : stack) {
    text += frame.function + " " + frame.file + ":" + std::to_string(frame.line) + "\n";
  }
  return text;
}

TEST(TrackingResource, ALeaksStackNamesFunctionFileAndLine) {
  SystemResource system;
  for (const StackCapture stacks : {StackCapture::kRecorded, StackCapture::kNone}) {
    const auto tracked = track(system, {.level = TrackingLevel::kDetailed, .stacks = stacks});
    void* const block = taken_by_this_function(*tracked);
    const LeakReport report = tracked->leaks();
    ASSERT_EQ(report.largest.size(), 1u);
    const StackTrace& stack = report.stacks[report.largest[0].stack];
    const bool is_known = stacks == StackCapture::kRecorded;
    EXPECT_EQ(names(stack, "taken_by_this_function"), is_known) << text_of(stack);
    EXPECT_EQ(names(stack, "ALeaksStackNamesFunctionFileAndLine"), is_known) << text_of(stack);
    ASSERT_THAT(tracked->deallocate(block, 12345), is_ok());
  }
}

TEST(TrackingResource, TellsOfLeaksWhenItGoes) {
  SystemResource system;
  LeakReport told;
  int calls = 0;
  const TrackingOptions options{.level = TrackingLevel::kDetailed,
                                .leaks = {.report = [&](const LeakReport& r) {
                                  told = r;
                                  ++calls;
                                  throw std::runtime_error("counts as told");
                                }}};
  {
    const auto tracked = track(system, options);
  }
  EXPECT_EQ(calls, 0);
  void* block = nullptr;
  {
    const auto tracked = track(system, options);
    block = take(*tracked, 777);
  }
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(told.blocks, 1u);
  EXPECT_EQ(told.bytes, 777u);
  EXPECT_THAT(system.deallocate(block, 777), is_ok());
}

TEST(TrackerScan, TellsWhenThereAreMoreLeaksThanBefore) {
  SystemResource system;
  std::vector<uint64_t> told;
  detail::TestMaintenanceClock clock;
  detail::MaintenanceThread thread(clock);
  {
    const TrackingOptions options{.level = TrackingLevel::kDetailed,
                                  .leaks = {.report = [&](const LeakReport& r) { told.push_back(r.bytes); },
                                            .interval = std::chrono::seconds(1),
                                            .age = std::chrono::milliseconds(0)}};
    const auto tracker = detail::Tracker::create(system, options, thread).value();
    clock.advance(std::chrono::seconds(2));
    EXPECT_TRUE(told.empty());
    void* const a = tracker->allocate(TrackingLevel::kDetailed, 100, 64, {}).value();
    clock.advance(std::chrono::seconds(1));
    EXPECT_EQ(told, std::vector<uint64_t>({100}));
    clock.advance(std::chrono::seconds(1));
    EXPECT_EQ(told.size(), 1u);
    void* const b = tracker->allocate(TrackingLevel::kDetailed, 50, 64, {}).value();
    clock.advance(std::chrono::seconds(1));
    EXPECT_EQ(told, std::vector<uint64_t>({100, 150}));
    EXPECT_THAT(tracker->deallocate(TrackingLevel::kDetailed, a, 100, 64, {}), is_ok());
    EXPECT_THAT(tracker->deallocate(TrackingLevel::kDetailed, b, 50, 64, {}), is_ok());
    clock.advance(std::chrono::seconds(1));
  }
  EXPECT_EQ(told.size(), 2u);
}

TEST(TrackerScan, TakesYoungBlocksForOnesInUse) {
  SystemResource system;
  int told = 0;
  detail::TestMaintenanceClock clock;
  detail::MaintenanceThread thread(clock);
  const TrackingOptions options{.level = TrackingLevel::kDetailed,
                                .leaks = {.report = [&](const LeakReport&) { ++told; },
                                          .interval = std::chrono::seconds(1),
                                          .age = std::chrono::hours(1)}};
  const auto tracker = detail::Tracker::create(system, options, thread).value();
  void* const a = tracker->allocate(TrackingLevel::kDetailed, 100, 64, {}).value();
  clock.advance(std::chrono::seconds(3));
  EXPECT_EQ(told, 0);
  EXPECT_THAT(tracker->deallocate(TrackingLevel::kDetailed, a, 100, 64, {}), is_ok());
}

// ---- Levels that change.

TEST(TrackingResource, FromNoneItCountsWhatLivesBelow) {
  SystemResource system;
  const auto tracked = track(system, {.level = TrackingLevel::kDetailed});
  void* const before = take(*tracked, 1000, MemoryTag::kWeights);
  tracked->set_level(TrackingLevel::kNone);
  EXPECT_EQ(tracked->leaks().blocks, 0u);
  void* const unseen = take(*tracked, 200);
  tracked->set_level(TrackingLevel::kDetailed);
  void* const seen = take(*tracked, 30, MemoryTag::kWeights);
  TrackingStatistics counted = tracked->statistics();
  EXPECT_EQ(counted.live_bytes, 1230u);
  EXPECT_EQ(counted.live_blocks, 3u);
  EXPECT_EQ(counted.allocations, 1u);
  EXPECT_EQ(counted.recorded_blocks, 1u);
  EXPECT_EQ(of_tag(counted, MemoryTag::kWeights).live_bytes, 30u);
  EXPECT_EQ(of_tag(counted, MemoryTag::kUntagged).live_bytes, 1200u);
  for (const auto& [block, bytes] : {std::pair(before, 1000), std::pair(unseen, 200), std::pair(seen, 30)}) {
    ASSERT_THAT(tracked->deallocate(block, static_cast<size_t>(bytes)), is_ok());
  }
  counted = tracked->statistics();
  EXPECT_EQ(counted.live_bytes, 0u);
  EXPECT_EQ(counted.live_blocks, 0u);
  EXPECT_EQ(counted.peak_bytes, 1230u);
}

TEST(TrackingResource, RecordsEndAtLevelsThatMakeNone) {
  SystemResource system;
  const auto tracked = track(system, {.level = TrackingLevel::kDetailed});
  void* const block = take(*tracked, 5000, MemoryTag::kScratch);
  tracked->set_level(TrackingLevel::kBasic);
  EXPECT_EQ(tracked->statistics().recorded_blocks, 1u);
  ASSERT_THAT(tracked->deallocate(block, 5000), is_ok());
  const TrackingStatistics counted = tracked->statistics();
  EXPECT_EQ(counted.recorded_blocks, 0u);
  EXPECT_EQ(of_tag(counted, MemoryTag::kScratch).live_bytes, 0u);
}

TEST(TrackingResource, ResetBeginsAnewAndKnowsLiveBlocks) {
  SystemResource system;
  const auto tracked = track(system, {.level = TrackingLevel::kDetailed});
  void* const block = take(*tracked, 5000, MemoryTag::kIo);
  ASSERT_THAT(tracked->deallocate(take(*tracked, 9000), 9000), is_ok());
  tracked->reset();
  TrackingStatistics counted = tracked->statistics();
  EXPECT_EQ(counted.allocations, 0u);
  EXPECT_EQ(counted.allocate_latency.timed, 0u);
  EXPECT_EQ(counted.live_bytes, 5000u);
  EXPECT_EQ(counted.live_blocks, 1u);
  EXPECT_EQ(counted.peak_bytes, 5000u);
  EXPECT_EQ(tracked->leaks().blocks, 1u);
  ASSERT_THAT(tracked->deallocate(block, 5000), is_ok());
  counted = tracked->statistics();
  EXPECT_EQ(counted.live_bytes, 0u);
  EXPECT_EQ(counted.deallocations, 1u);
}

TEST(TrackingResource, APeakIsSeenHoweverOftenSomebodyAsks) {
  for (const TrackingLevel level : {TrackingLevel::kBasic, TrackingLevel::kDetailed}) {
    SystemResource system;
    const auto tracked = track(system, {.level = level});
    std::vector<void*> blocks;
    const auto take_some = [&](size_t count) {
      for (size_t i = 0; i < count; ++i) blocks.push_back(take(*tracked, 100 * kKiB));
    };
    const auto free_some = [&](size_t count) {
      for (size_t i = 0; i < count; ++i) {
        ASSERT_THAT(tracked->deallocate(blocks.back(), 100 * kKiB), is_ok());
        blocks.pop_back();
      }
    };
    take_some(10);
    free_some(5);
    take_some(4);
    static_cast<void>(tracked->statistics());
    take_some(4);
    free_some(13);
    EXPECT_EQ(tracked->statistics().peak_bytes, 1300 * kKiB);
  }
}

TEST(TrackingResource, CallsOfBothKindsAreTimed) {
  SystemResource system;
  const auto tracked = track(system);
  for (int i = 0; i < 1000; ++i) ASSERT_THAT(tracked->deallocate(take(*tracked, 100), 100), is_ok());
  const TrackingStatistics counted = tracked->statistics();
  EXPECT_GE(counted.allocate_latency.timed, 10u);
  EXPECT_GE(counted.free_latency.timed, 10u);
  EXPECT_GE(counted.free_latency.max_ns, counted.free_latency.p50_ns);
}

TEST(TrackingResource, ThePeakIsOneMoment) {
  for (const TrackingLevel level : {TrackingLevel::kBasic, TrackingLevel::kDetailed}) {
    SystemResource system;
    const auto tracked = track(system, {.level = level});
    std::vector<void*> blocks;
    for (int i = 0; i < 64; ++i) blocks.push_back(take(*tracked, kMiB, MemoryTag::kWeights));
    void* const last = take(*tracked, 1000, MemoryTag::kIo);
    const MemoryProfile profile = tracked->profile();
    EXPECT_EQ(profile.peak.live_bytes, 64 * kMiB + 1000);
    EXPECT_EQ(
        std::accumulate(profile.peak.bytes_by_tag.begin(), profile.peak.bytes_by_tag.end(), uint64_t{0}),
        profile.peak.live_bytes);
    EXPECT_GT(profile.peak.time_ns, 0u);
    EXPECT_LE(profile.peak.time_ns, profile.duration_ns);
    for (void* const block : blocks) ASSERT_THAT(tracked->deallocate(block, kMiB), is_ok());
    ASSERT_THAT(tracked->deallocate(last, 1000), is_ok());
  }
}

TEST(TrackingResource, TimesCountFromTheLastReset) {
  SystemResource system;
  const auto tracked = track(system, {.level = TrackingLevel::kDetailed});
  void* const before = take(*tracked, 5000);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));  // longer than the rest takes
  tracked->reset();
  void* const after = take(*tracked, 100);
  const MemoryProfile profile = tracked->profile();
  ASSERT_EQ(profile.unfreed.size(), 2u);
  EXPECT_EQ(profile.unfreed[0].time_ns, 0u);
  EXPECT_GE(profile.unfreed[0].age_ns, 5'000'000u);
  EXPECT_LE(profile.unfreed[1].time_ns, profile.duration_ns);
  ASSERT_FALSE(profile.timeline.empty());
  EXPECT_GE(profile.timeline.front().live_bytes, 5000u);
  ASSERT_THAT(tracked->deallocate(before, 5000), is_ok());
  ASSERT_THAT(tracked->deallocate(after, 100), is_ok());
}

// ---- What others see.

// Looks, while a block goes back, whether its record is gone.
class WatchedResource final : public ResourceWrapper {
 public:
  using ResourceWrapper::ResourceWrapper;
  explicit WatchedResource(MemoryResource& upstream) : ResourceWrapper(upstream) {}
  TrackingResource* watched = nullptr;
  uint64_t records_seen = 99;

 private:
  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override {
    return upstream().allocate(bytes, alignment, stream);
  }
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override {
    records_seen = watched->statistics().recorded_blocks;
    return upstream().deallocate(pointer, bytes, alignment, stream);
  }
};

TEST(TrackingResource, ARecordGoesBeforeItsMemory) {
  SystemResource system;
  WatchedResource watched(system);
  const auto tracked = track(watched, {.level = TrackingLevel::kDetailed});
  watched.watched = tracked.get();
  ASSERT_THAT(tracked->deallocate(take(*tracked, 10), 10), is_ok());
  EXPECT_EQ(watched.records_seen, 0u);
}

TEST(TrackingResource, ARefusedFreeLeavesTheRecord) {
  SystemResource system;
  const auto tracked = track(system, {.level = TrackingLevel::kDetailed});
  void* const block = take(*tracked, 100, MemoryTag::kIo);
  EXPECT_THAT(tracked->deallocate(block, 99), fails_with(ErrorCode::kInvalidArgument));
  const LeakReport report = tracked->leaks();
  ASSERT_EQ(report.largest.size(), 1u);
  EXPECT_EQ(report.tags[report.largest[0].tag], "io");
  EXPECT_EQ(of_tag(tracked->statistics(), MemoryTag::kIo).live_bytes, 100u);
  EXPECT_THAT(tracked->deallocate(block, 100), is_ok());
  EXPECT_EQ(of_tag(tracked->statistics(), MemoryTag::kIo).live_bytes, 0u);
}

TEST(TrackingResource, ShortageNamesWhatHoldsTheMemory) {
  const auto pool = HybridMemoryPool::create({.limit = 64 * kMiB}).value();
  const auto tracked = track(*pool, {.level = TrackingLevel::kDetailed});
  std::vector<Buffer> held;
  const auto hold = [&](size_t bytes, MemoryTag tag) {
    const ScopedMemoryTag scope(tag);
    held.push_back(Buffer::allocate(*tracked, bytes).value());
  };
  hold(30 * kMiB, MemoryTag::kWeights);
  hold(8 * kMiB, MemoryTag::kKvCache);
  hold(8 * kMiB, MemoryTag::kKvCache);
  hold(1 * kMiB, MemoryTag::kIo);
  hold(4096, MemoryTag::kScratch);
  const Result<void*> refused = tracked->allocate(32 * kMiB);
  ASSERT_THAT(refused, fails_with(ErrorCode::kLimit));
  EXPECT_NE(refused.error().message.find("; held by weights: 31457280 bytes in 1 block, kv_cache: 16777216 "
                                         "bytes in 2 blocks, io: 1048576 bytes in 1 block"),
            std::string::npos)
      << refused.error().message;
  EXPECT_EQ(refused.error().message.find("scratch"), std::string::npos);
  tracked->set_level(TrackingLevel::kBasic);
  EXPECT_EQ(tracked->allocate(32 * kMiB).error().message.find("held by"), std::string::npos);
}

// ---- Sampling.

TEST(TrackingResource, SamplesStandForTheRest) {
  const auto pool = HybridMemoryPool::create().value();
  const auto tracked = track(*pool, {.sample_bytes = 16 * kKiB, .stacks = StackCapture::kNone});
  std::vector<void*> blocks;
  constexpr size_t kBlocks = 100'000;
  for (size_t i = 0; i < kBlocks; ++i) {
    blocks.push_back(take(*tracked, 256, i % 4 == 0 ? MemoryTag::kIo : MemoryTag::kScratch));
  }
  void* const large = take(*tracked, 8 * kMiB, MemoryTag::kWeights);
  const TrackingStatistics counted = tracked->statistics();
  EXPECT_EQ(counted.live_bytes, kBlocks * 256 + 8 * kMiB);
  EXPECT_LT(counted.recorded_blocks, 2500u);
  // About 400 and 1200 samples: 20 % is four and seven standard deviations.
  constexpr double kBytes = 256.0 * kBlocks;
  EXPECT_NEAR(static_cast<double>(of_tag(counted, MemoryTag::kIo).live_bytes), kBytes * 0.25, kBytes * 0.05);
  EXPECT_NEAR(static_cast<double>(of_tag(counted, MemoryTag::kScratch).live_bytes), kBytes * 0.75,
              kBytes * 0.15);
  // Known exactly, but cut where all estimates together are above what lives.
  EXPECT_NEAR(static_cast<double>(of_tag(counted, MemoryTag::kWeights).live_bytes), 8.0 * kMiB,
              0.1 * kMiB * 8);
  uint64_t sum = 0;
  for (const TagStatistics& tag : counted.tags) sum += tag.live_bytes;
  EXPECT_EQ(sum, counted.live_bytes);
  EXPECT_TRUE(tracked->leaks().is_estimate);
  for (void* const block : blocks) ASSERT_THAT(tracked->deallocate(block, 256), is_ok());
  ASSERT_THAT(tracked->deallocate(large, 8 * kMiB), is_ok());
  const TrackingStatistics end = tracked->statistics();
  EXPECT_EQ(end.recorded_blocks, 0u);
  for (const TagStatistics& tag : end.tags) EXPECT_EQ(tag.live_bytes, 0u);
}

TEST(TrackingResource, SampledBlocksAreCountedForThoseAroundThem) {
  const auto pool = HybridMemoryPool::create().value();
  const auto tracked = track(*pool, {.sample_bytes = 4096, .stacks = StackCapture::kNone});
  std::vector<void*> blocks;
  for (int i = 0; i < 5000; ++i) blocks.push_back(take(*tracked, 4096));
  const LeakReport report = tracked->leaks();
  EXPECT_TRUE(report.is_estimate);
  // About 3160 samples, each of 1.58 blocks; 10 % is nine standard deviations.
  EXPECT_NEAR(static_cast<double>(report.blocks), 5000, 500);
  EXPECT_NEAR(static_cast<double>(report.bytes), 5000.0 * 4096, 500.0 * 4096);
  for (void* const block : blocks) ASSERT_THAT(tracked->deallocate(block, 4096), is_ok());
  EXPECT_TRUE(tracked->profile().is_estimate) << "what was held at the peak is one";
  EXPECT_EQ(tracked->leaks().blocks, 0u);
}

TEST(TrackingOptions, PresetsDiffer) {
  SystemResource system;
  const auto records_of = [&](const TrackingOptions& options) {
    const auto tracked = track(system, options);
    void* const block = take(*tracked, 100);
    const uint64_t recorded = tracked->statistics().recorded_blocks;
    EXPECT_THAT(tracked->deallocate(block, 100), is_ok());
    return std::pair(recorded, tracked->profile().timeline.empty());
  };
  EXPECT_EQ(records_of(TrackingOptions::minimal()), std::pair(uint64_t{0}, true));
  EXPECT_EQ(records_of(TrackingOptions::detailed()), std::pair(uint64_t{1}, false));
  EXPECT_EQ(records_of(TrackingOptions::debug()), std::pair(uint64_t{1}, false));
  EXPECT_GT(TrackingOptions::production().sample_bytes, TrackingOptions().sample_bytes);
}

// ---- Profiles.

TEST(TrackingResource, AProfileAddsUp) {
  const auto pool = HybridMemoryPool::create({.limit = 256 * kMiB}).value();
  const auto tracked = track(*pool, {.level = TrackingLevel::kDetailed, .name = "example"});
  void* const a = take(*tracked, 4 * kMiB, MemoryTag::kWeights);
  void* const b = take(*tracked, 2 * kMiB, MemoryTag::kKvCache);
  void* const c = take(*tracked, 1 * kMiB, MemoryTag::kKvCache);
  ASSERT_THAT(tracked->deallocate(b, 2 * kMiB), is_ok());
  const MemoryProfile profile = tracked->profile();
  EXPECT_EQ(profile.name, "example");
  EXPECT_EQ(profile.limit, 256 * kMiB);
  EXPECT_EQ(profile.allocations, 3u);
  EXPECT_EQ(profile.frees, 1u);
  EXPECT_EQ(profile.live_bytes, 5 * kMiB);
  EXPECT_EQ(profile.peak.live_bytes, 7 * kMiB);
  EXPECT_EQ(profile.peak.bytes_by_tag[static_cast<size_t>(MemoryTag::kWeights)], 4 * kMiB);
  EXPECT_EQ(profile.peak.bytes_by_tag[static_cast<size_t>(MemoryTag::kKvCache)], 3 * kMiB);
  EXPECT_EQ(profile.peak_by_tag[static_cast<size_t>(MemoryTag::kKvCache)], 3 * kMiB);
  uint64_t at_peak = 0;
  for (const MemoryHolder& holder : profile.at_peak) at_peak += holder.bytes;
  EXPECT_EQ(at_peak, 7 * kMiB);
  uint64_t at_end = 0;
  for (const MemoryHolder& holder : profile.at_end) {
    at_end += holder.bytes;
    EXPECT_LT(holder.stack, profile.stacks.size());
    EXPECT_LT(holder.tag, profile.tags.size());
  }
  EXPECT_EQ(at_end, 5 * kMiB);
  EXPECT_EQ(profile.unfreed.size(), 2u);
  ASSERT_TRUE(profile.fragmentation);
  EXPECT_EQ(profile.fragmentation->requested, 5 * kMiB);
  EXPECT_EQ(profile.fragmentation->requested + profile.fragmentation->rounding + profile.fragmentation->free,
            profile.fragmentation->committed);
  uint64_t most = 0;
  for (const MemoryMoment& moment : profile.timeline) {
    most = std::max(most, moment.live_bytes);
    EXPECT_EQ(std::accumulate(moment.bytes_by_tag.begin(), moment.bytes_by_tag.end(), uint64_t{0}),
              moment.live_bytes);
  }
  EXPECT_EQ(most, 7 * kMiB);
  EXPECT_EQ(profile.timeline.back().live_bytes, 5 * kMiB);
  EXPECT_GT(profile.mean_lifetime_ns, 0);
  ASSERT_THAT(tracked->deallocate(a, 4 * kMiB), is_ok());
  ASSERT_THAT(tracked->deallocate(c, 1 * kMiB), is_ok());
}

TEST(TrackingResource, AProfileNamesWhatCanBeActedOn) {
  const auto pool = HybridMemoryPool::create({.idle_trim = std::chrono::milliseconds::zero()}).value();
  const auto tracked = track(*pool, {.level = TrackingLevel::kDetailed});
  for (int i = 0; i < 40; ++i) {
    ASSERT_THAT(tracked->deallocate(take(*tracked, 2 << 20), 2 << 20), is_ok());
  }
  void* const small = take(*tracked, 100);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const MemoryProfile profile = tracked->profile();
  const auto has = [&](MemoryPatternKind kind) {
    return std::ranges::any_of(profile.patterns, [&](const MemoryPattern& p) { return p.kind == kind; });
  };
  EXPECT_TRUE(has(MemoryPatternKind::kShortLivedLarge));
  EXPECT_TRUE(has(MemoryPatternKind::kFragmentation)) << "the last 2 MiB block's pages are committed";
  EXPECT_FALSE(has(MemoryPatternKind::kGrowth));
  ASSERT_THAT(tracked->deallocate(small, 100), is_ok());
}

TEST(TrackingResource, TheTimelineIsAsLongAsItIsAsked) {
  SystemResource system;
  for (const uint32_t points : {0u, 4u, 64u}) {
    const auto tracked = track(system, {.level = TrackingLevel::kDetailed, .timeline_points = points});
    for (int i = 0; i < 2000; ++i) ASSERT_THAT(tracked->deallocate(take(*tracked, 5000), 5000), is_ok());
    const MemoryProfile profile = tracked->profile();
    EXPECT_LE(profile.timeline.size(), points + 1);
    EXPECT_EQ(profile.timeline.empty(), points == 0);
    for (size_t i = 1; i < profile.timeline.size(); ++i) {
      EXPECT_LE(profile.timeline[i - 1].time_ns, profile.timeline[i].time_ns);
    }
  }
}

// ---- Threads.

TEST(TrackingResourceThreads, AddUpWhateverTheLevelDoesMeanwhile) {
  const auto pool = HybridMemoryPool::create({.limit = 256 * kMiB}).value();
  FailingResource failing(*pool);
  const auto tracked = track(failing, {.level = TrackingLevel::kDetailed, .sample_bytes = 4096});
  constexpr int kThreads = 16;
  std::atomic<int> running = kThreads;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Random random(static_cast<uint64_t>(t) + 1);
      const ScopedMemoryTag scope(static_cast<MemoryTag>(t % 6));
      std::vector<Buffer> held;
      for (int i = 0; i < 2000; ++i) {
        if (held.size() > 20 || (!held.empty() && random.below(2) == 0)) {
          held.erase(held.begin() + static_cast<ptrdiff_t>(random.below(held.size())));
        } else if (auto buffer = Buffer::allocate(*tracked, random.size(20'000))) {
          held.push_back(std::move(*buffer));
        }
      }
      running.fetch_sub(1);
    });
  }
  const std::array levels = {TrackingLevel::kNone, TrackingLevel::kBasic, TrackingLevel::kStandard,
                             TrackingLevel::kDetailed};
  for (size_t i = 0; running.load() > 0; ++i) {
    tracked->set_level(levels[i % levels.size()]);
    static_cast<void>(tracked->statistics());
    if (i % 16 == 0) static_cast<void>(tracked->leaks());
    std::this_thread::yield();
  }
  for (std::thread& thread : threads) thread.join();
  tracked->set_level(TrackingLevel::kNone);
  tracked->set_level(TrackingLevel::kDetailed);
  const TrackingStatistics end = tracked->statistics();
  EXPECT_EQ(end.live_bytes, 0u);
  EXPECT_EQ(end.live_blocks, 0u);
  EXPECT_EQ(end.recorded_blocks, 0u);
}

TEST(TrackingResourceThreads, CountsOfEndedThreadsStay) {
  SystemResource system;
  const auto tracked = track(system, {.level = TrackingLevel::kDetailed});
  std::vector<void*> blocks(8);
  for (size_t round = 0; round < 2; ++round) {
    std::vector<std::thread> threads;
    for (size_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, at = round * 4 + t] { blocks[at] = take(*tracked, 1000 + at); });
    }
    for (std::thread& thread : threads) thread.join();
  }
  TrackingStatistics counted = tracked->statistics();
  EXPECT_EQ(counted.allocations, 8u);
  EXPECT_EQ(counted.live_bytes, 8028u);
  EXPECT_EQ(counted.peak_bytes, 8028u);
  for (size_t at = 0; at < blocks.size(); ++at) {
    ASSERT_THAT(tracked->deallocate(blocks[at], 1000 + at), is_ok());
  }
  counted = tracked->statistics();
  EXPECT_EQ(counted.live_bytes, 0u);
  EXPECT_EQ(counted.peak_bytes, 8028u);
}

// ---- No memory.

TEST(TrackingResource, AFullHeapCostsRecordsAndNotAllocations) {
  if (!heap_is_counted()) GTEST_SKIP() << "sanitizers bring their own heap";
  const auto pool = HybridMemoryPool::create().value();
  ASSERT_THAT(pool->deallocate(pool->allocate(100).value(), 100), is_ok());
  uint64_t unrecorded = 0;
  for (uint64_t number = 1;; ++number) {
    const auto tracked = track(*pool, {.level = TrackingLevel::kDetailed, .stacks = StackCapture::kNone});
    bool failed = false;
    Result<void*> block = nullptr;
    {
      const FailingHeap heap(number);
      block = tracked->allocate(100);
      failed = heap.failed();
    }
    ASSERT_THAT(block, is_ok());
    ASSERT_THAT(tracked->deallocate(*block, 100), is_ok());
    const TrackingStatistics counted = tracked->statistics();
    EXPECT_EQ(counted.live_bytes, 0u);
    for (const TagStatistics& tag : counted.tags) EXPECT_EQ(tag.live_bytes, 0u);
    unrecorded += counted.unrecorded_blocks;
    if (!failed) break;
  }
  EXPECT_GE(unrecorded, 1u);
}

TEST(TrackingResource, AFullHeapLeavesARefusalAsItIs) {
  if (!heap_is_counted()) GTEST_SKIP() << "sanitizers bring their own heap";
  SystemResource system;
  FailingResource failing(system);
  const auto tracked = track(failing, {.level = TrackingLevel::kDetailed});
  void* const block = take(*tracked, 100);
  for (uint64_t number = 1; number < 20; ++number) {
    const FailingHeap heap(number);
    try {
      EXPECT_FALSE(tracked->allocate(SIZE_MAX / 2).has_value());
    } catch (const std::bad_alloc&) {
      // Of the message that the resource below makes; what tracking adds is left out instead.
      EXPECT_LE(number, 4u);
    }
  }
  EXPECT_THAT(tracked->deallocate(block, 100), is_ok());
}

}  // namespace
}  // namespace lobit
