#include "lobit/memory/resource_conformance.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <memory_resource>
#include <mutex>
#include <optional>
#include <thread>

#include "lobit/memory/failing_resource.h"
#include "lobit/memory/limiting_resource.h"
#include "lobit/memory/logging_resource.h"
#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/pmr.h"
#include "lobit/memory/statistics_resource.h"
#include "lobit/memory/system_resource.h"
#include "lobit/memory/tracking_resource.h"

namespace lobit {
namespace {

bool operator==(const MemoryUsage& a, const MemoryUsage& b) {
  return a.allocated == b.allocated && a.used == b.used && a.peak_allocated == b.peak_allocated &&
         a.allocations == b.allocations && a.deallocations == b.deallocations;
}

// A power of two, and what lies around it, up to `max`.
std::vector<size_t> sizes_around_powers(size_t max) {
  std::vector<size_t> sizes;
  for (size_t power = 1; power <= max; power *= 2) {
    for (const size_t size : {power - 1, power, power + 1, power + power / 2}) {
      if (size >= 1 && size <= max) sizes.push_back(size);
    }
  }
  return sizes;
}

TEST_P(ResourceConformance, KeepsEverySizeApartAndIntact) {
  CheckedBlocks blocks(resource());
  for (const size_t bytes : sizes_around_powers(can().max_bytes)) {
    if (blocks.live_bytes() + bytes > can().total_bytes / 4) blocks.free_all();
    ASSERT_NE(blocks.add(bytes), nullptr) << bytes << ": " << blocks.error().message;
  }
  blocks.expect_contents();
  blocks.expect_usage();
}

TEST_P(ResourceConformance, KeepsEveryAlignment) {
  CheckedBlocks blocks(resource());
  for (size_t alignment = 1; alignment <= kMaxAlignment; alignment *= 2) {
    for (const size_t bytes : {size_t{1}, alignment - 1, alignment, alignment + 1, 3 * alignment + 7}) {
      if (bytes == 0 || bytes > can().max_bytes) continue;
      // A resource may need the alignment once more to find an aligned place.
      if (blocks.live_bytes() + blocks.count() * alignment + bytes > can().total_bytes / 4) blocks.free_all();
      ASSERT_NE(blocks.add(bytes, alignment), nullptr)
          << bytes << " aligned to " << alignment << ": " << blocks.error().message;
    }
  }
  blocks.expect_contents();
  blocks.expect_usage();
}

TEST_P(ResourceConformance, RefusesWhatCannotBeAllocated) {
  CheckedBlocks blocks(resource());
  ASSERT_NE(blocks.add(100), nullptr);
  const MemoryUsage before = resource().usage();
  EXPECT_THAT(resource().allocate(0), fails_with(ErrorCode::kInvalidArgument));
  for (const size_t alignment :
       {size_t{0}, size_t{3}, size_t{48}, kMaxAlignment - 1, 2 * kMaxAlignment, SIZE_MAX, SIZE_MAX / 2 + 1}) {
    EXPECT_THAT(resource().allocate(64, alignment), fails_with(ErrorCode::kInvalidArgument)) << alignment;
  }
  EXPECT_TRUE(resource().usage() == before);
  blocks.expect_contents();
}

TEST_P(ResourceConformance, RefusesSizesThatNothingHolds) {
  CheckedBlocks blocks(resource());
  ASSERT_NE(blocks.add(100), nullptr);
  const MemoryUsage before = resource().usage();
  for (const size_t bytes :
       {SIZE_MAX, SIZE_MAX - 8, SIZE_MAX - 63, SIZE_MAX - kMaxAlignment, SIZE_MAX / 2 + 1}) {
    for (const size_t alignment : {size_t{1}, kDefaultAlignment, kMaxAlignment}) {
      const Result<void*> block = resource().allocate(bytes, alignment);
      ASSERT_FALSE(block) << bytes;
      EXPECT_TRUE(block.error().code == ErrorCode::kOutOfMemory || block.error().code == ErrorCode::kLimit)
          << block.error().message;
      EXPECT_GE(block.error().detail.required.value_or(0), bytes) << block.error().message;
    }
  }
  EXPECT_TRUE(resource().usage() == before);
  ASSERT_NE(blocks.add(100), nullptr);
  blocks.expect_usage();
}

// Each kind of misuse has no effect: usage and a live neighbour stay, and the block can still be freed.
class Misuse {
 public:
  explicit Misuse(MemoryResource& resource) : resource_(resource), blocks_(resource) {
    EXPECT_NE(blocks_.add(1000), nullptr);
    block_ = blocks_.add(1000);
    before_ = resource.usage();
  }
  ~Misuse() {
    EXPECT_TRUE(resource_.usage() == before_);
    blocks_.expect_contents();
    blocks_.free_all();
    EXPECT_EQ(resource_.usage().allocated, 0u);
    EXPECT_NE(blocks_.add(1000), nullptr) << "the resource still works";
  }
  Misuse(const Misuse&) = delete;
  Misuse& operator=(const Misuse&) = delete;

  void expect_refused(void* pointer, size_t bytes = 1000, size_t alignment = kDefaultAlignment) {
    EXPECT_THAT(resource_.deallocate(pointer, bytes, alignment), fails_with(ErrorCode::kInvalidArgument))
        << bytes << " bytes aligned to " << alignment;
  }
  std::byte* block() const { return static_cast<std::byte*>(block_); }

 private:
  MemoryResource& resource_;
  CheckedBlocks blocks_;
  void* block_ = nullptr;
  MemoryUsage before_;
};

TEST_P(ResourceConformance, RefusesADoubleFree) {
  void* stale = *resource().allocate(1000);
  {
    CheckedBlocks neighbour(resource());
    ASSERT_NE(neighbour.add(1000), nullptr);
    ASSERT_THAT(resource().deallocate(stale, 1000), is_ok());
    const MemoryUsage before = resource().usage();
    EXPECT_THAT(resource().deallocate(stale, 1000), fails_with(ErrorCode::kInvalidArgument));
    EXPECT_THAT(resource().deallocate(stale, 1000), fails_with(ErrorCode::kInvalidArgument));
    EXPECT_TRUE(resource().usage() == before);
    neighbour.expect_contents();
    ASSERT_NE(neighbour.add(1000), nullptr);
    ASSERT_NE(neighbour.add(1000), nullptr) << "a block that was freed twice is handed out once";
  }
  EXPECT_EQ(resource().usage().allocated, 0u);
}

TEST_P(ResourceConformance, RefusesAForeignPointer) {
  Misuse misuse(resource());
  alignas(kDefaultAlignment) std::array<std::byte, 1000> local{};
  SystemResource other;
  void* foreign = *other.allocate(1000);
  misuse.expect_refused(nullptr);
  misuse.expect_refused(local.data());
  misuse.expect_refused(foreign);
  // NOLINTNEXTLINE(performance-no-int-to-ptr): where nothing can be
  misuse.expect_refused(reinterpret_cast<void*>(UINTPTR_MAX - 63));
  EXPECT_THAT(other.deallocate(foreign, 1000), is_ok());
}

TEST_P(ResourceConformance, RefusesAnInteriorPointer) {
  Misuse misuse(resource());
  misuse.expect_refused(misuse.block() + 1);
  misuse.expect_refused(misuse.block() + 64);
  misuse.expect_refused(misuse.block() + 512);
  misuse.expect_refused(misuse.block() + 999);
}

TEST_P(ResourceConformance, RefusesWrongBytes) {
  if (can().size_check == SizeCheck::kNone) GTEST_SKIP() << "it knows addresses only";
  Misuse misuse(resource());
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{999}, size_t{1001}, size_t{4096}, SIZE_MAX}) {
    misuse.expect_refused(misuse.block(), bytes);
  }
}

TEST_P(ResourceConformance, RefusesToFreeWithWhatIsNoAlignment) {
  if (can().size_check == SizeCheck::kNone) GTEST_SKIP() << "it knows addresses only";
  Misuse misuse(resource());
  for (const size_t alignment : {size_t{0}, size_t{3}, 2 * kMaxAlignment}) {
    misuse.expect_refused(misuse.block(), 1000, alignment);
  }
}

TEST_P(ResourceConformance, RefusesAWrongAlignment) {
  if (can().size_check != SizeCheck::kExact) GTEST_SKIP() << "it does not remember alignments";
  Misuse misuse(resource());
  for (const size_t alignment : {size_t{32}, size_t{128}, kMaxAlignment}) {
    misuse.expect_refused(misuse.block(), 1000, alignment);
  }
}

TEST_P(ResourceConformance, CountsEveryBlockAndEndsAtZero) {
  CheckedBlocks blocks(resource());
  blocks.expect_usage();
  void* a = blocks.add(1);
  blocks.expect_usage();
  void* b = blocks.add(65536, 4096);
  ASSERT_NE(blocks.add(100000), nullptr);
  blocks.expect_usage();
  blocks.free(b);
  blocks.expect_usage();
  blocks.free(a);
  blocks.free_all();
  blocks.expect_usage();
  const MemoryUsage usage = resource().usage();
  EXPECT_EQ(usage.allocated, 0u);
  EXPECT_EQ(usage.used, 0u);
  EXPECT_EQ(usage.allocations, 3u);
  EXPECT_EQ(usage.deallocations, 3u);
  EXPECT_GE(usage.peak_committed, 165537u);
}

TEST_P(ResourceConformance, ThePeakStaysWhenMemoryGoes) {
  if (!can().exact_peak) GTEST_SKIP() << "its peak is not exact";
  CheckedBlocks blocks(resource());
  void* large = blocks.add(200000);
  blocks.free(large);
  ASSERT_NE(blocks.add(50000), nullptr);
  ASSERT_NE(blocks.add(50000), nullptr);
  EXPECT_EQ(resource().usage().allocated, 100000u);
  EXPECT_EQ(resource().usage().peak_allocated, 200000u);
  ASSERT_NE(blocks.add(150000), nullptr);
  EXPECT_EQ(resource().usage().peak_allocated, 250000u);
}

TEST_P(ResourceConformance, TrimSaysWhatItGivesBackAndKeepsLiveBlocks) {
  CheckedBlocks blocks(resource());
  std::vector<void*> freed;
  const size_t bytes = std::min(can().max_bytes, can().total_bytes / 128);
  for (int i = 0; i < 16; ++i) {
    void* block = blocks.add(bytes);
    ASSERT_NE(block, nullptr);
    if (i % 2 == 0) freed.push_back(block);
  }
  for (void* block : freed) blocks.free(block);
  for (int round = 0; round < 2; ++round) {
    const uint64_t before = resource().usage().committed;
    const size_t given_back = resource().trim();
    EXPECT_EQ(resource().usage().committed, before - given_back);
    blocks.expect_contents();
    blocks.expect_usage();
  }
  for (int i = 0; i < 8; ++i) ASSERT_NE(blocks.add(bytes), nullptr);
}

TEST_P(ResourceConformance, FreedMemoryServesAgain) {
  CheckedBlocks blocks(resource());
  // Altogether twice what the resource surely holds.
  const size_t bytes = std::min(can().max_bytes, can().total_bytes / 4);
  for (uint64_t sum = 0; sum < 2 * can().total_bytes; sum += bytes) {
    void* block = blocks.add(bytes);
    ASSERT_NE(block, nullptr) << blocks.error().message;
    blocks.free(block);
  }
  blocks.expect_usage();
}

TEST_P(ResourceConformance, AnotherThreadMayFree) {
  if (!can().any_thread) GTEST_SKIP() << "it serves one thread";
  CheckedBlocks blocks(resource());
  for (const size_t bytes : {size_t{1}, size_t{100}, size_t{5000}, size_t{300000}}) {
    ASSERT_NE(blocks.add(bytes), nullptr);
  }
  std::thread([&] {
    blocks.free_all();
    ASSERT_NE(blocks.add(5000), nullptr);
  }).join();
  blocks.expect_usage();
  blocks.free_all();
  blocks.expect_usage();
}

// Blocks that threads hand to each other.
struct Parcel {
  void* pointer = nullptr;
  size_t bytes = 0;
  size_t alignment = 0;
  uint64_t seed = 0;
};

class Mailbox {
 public:
  // Leaves the parcel and takes another one out, if there are more than a few.
  std::optional<Parcel> swap(const Parcel& in) {
    const std::lock_guard lock(mutex_);
    parcels_.push_back(in);
    if (parcels_.size() < 16) return std::nullopt;
    return take_first();
  }
  std::optional<Parcel> take() {
    const std::lock_guard lock(mutex_);
    if (parcels_.empty()) return std::nullopt;
    return take_first();
  }

 private:
  Parcel take_first() {
    const Parcel parcel = parcels_.front();
    parcels_.erase(parcels_.begin());
    return parcel;
  }
  std::mutex mutex_;
  std::vector<Parcel> parcels_;
};

void open_parcel(MemoryResource& resource, const Parcel& parcel) {
  EXPECT_TRUE(holds_pattern(parcel.pointer, parcel.bytes, parcel.seed));
  EXPECT_THAT(resource.deallocate(parcel.pointer, parcel.bytes, parcel.alignment), is_ok());
}

TEST_P(ResourceConformance, ThreadsMixTheirBlocks) {
  if (!can().any_thread) GTEST_SKIP() << "it serves one thread";
  constexpr int kThreads = 4;
  constexpr int kRounds = 1500;
  const size_t max_bytes = std::min({can().max_bytes, can().total_bytes / 128, size_t{32} << 10});
  Mailbox mailbox;
  std::vector<std::jthread> threads;
  for (uint64_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      Random random(thread);
      for (int i = 0; i < kRounds; ++i) {
        Parcel parcel{.bytes = random.size(max_bytes),
                      .alignment = size_t{1} << random.below(13),
                      .seed = random.next()};
        const Result<void*> block = resource().allocate(parcel.bytes, parcel.alignment);
        ASSERT_THAT(block, is_ok());
        parcel.pointer = *block;
        EXPECT_EQ(reinterpret_cast<uintptr_t>(*block) % parcel.alignment, 0u);
        fill_pattern(*block, parcel.bytes, parcel.seed);
        if (i % 100 == 99) static_cast<void>(resource().usage());
        if (i % 500 == 499) static_cast<void>(resource().trim());
        if (i % 3 == 0) {
          open_parcel(resource(), parcel);
        } else if (const std::optional<Parcel> other = mailbox.swap(parcel)) {
          open_parcel(resource(), *other);
        }
      }
    });
  }
  threads.clear();
  while (const std::optional<Parcel> parcel = mailbox.take()) open_parcel(resource(), *parcel);
  const MemoryUsage usage = resource().usage();
  EXPECT_EQ(usage.allocated, 0u);
  EXPECT_EQ(usage.used, 0u);
  EXPECT_EQ(usage.allocations, uint64_t{kThreads} * kRounds);
  EXPECT_EQ(usage.deallocations, uint64_t{kThreads} * kRounds);
  EXPECT_GE(usage.peak_allocated, 1u);
}

TEST_P(ResourceConformance, TakesBackWhatIsLiveWhenItGoes) {
  for (const size_t bytes : {size_t{1}, size_t{4096}, size_t{500000}}) {
    void* block = *resource().allocate(bytes, 4096);
    std::memset(block, 1, bytes);
  }
  EXPECT_EQ(resource().usage().allocated, 504097u);
  destroy();  // the address sanitizer finds what is left
}

ResourceUnderTest over_system(std::function<void(ResourceStack&, MemoryResource&)> add,
                              const Capabilities& can = {}) {
  return {[add = std::move(add)](ResourceStack& stack) { add(stack, stack.add<SystemResource>()); }, can};
}

INSTANTIATE_TEST_SUITE_P(System, ResourceConformance, testing::Values(under_test<SystemResource>()));

INSTANTIATE_TEST_SUITE_P(Limiting, ResourceConformance,
                         testing::Values(over_system(
                             [](ResourceStack& stack, MemoryResource& below) {
                               stack.add<LimitingResource>(below, uint64_t{16} << 20);
                             },
                             {.total_bytes = size_t{16} << 20})));

INSTANTIATE_TEST_SUITE_P(Statistics, ResourceConformance,
                         testing::Values(over_system([](ResourceStack& stack, MemoryResource& below) {
                           stack.add<StatisticsResource>(below);
                         })));

INSTANTIATE_TEST_SUITE_P(Failing, ResourceConformance,
                         testing::Values(over_system([](ResourceStack& stack, MemoryResource& below) {
                           stack.add<FailingResource>(below);
                         })));

INSTANTIATE_TEST_SUITE_P(Logging, ResourceConformance,
                         testing::Values(over_system([](ResourceStack& stack, MemoryResource& below) {
                           stack.add<LoggingResource>(below, stack.add<TraceText>());
                         })));

ResourceUnderTest tracked_at(TrackingLevel level) {
  return over_system([level](ResourceStack& stack, MemoryResource& below) {
    stack.own(TrackingResource::create(below, {.level = level, .sample_bytes = 4096}).value());
  });
}

INSTANTIATE_TEST_SUITE_P(Tracking, ResourceConformance,
                         testing::Values(tracked_at(TrackingLevel::kNone), tracked_at(TrackingLevel::kBasic),
                                         tracked_at(TrackingLevel::kStandard),
                                         tracked_at(TrackingLevel::kDetailed)));

// A resource that is not made for threads.
INSTANTIATE_TEST_SUITE_P(PmrPool, ResourceConformance,
                         testing::Values(ResourceUnderTest{[](ResourceStack& stack) {
                           stack.add<PmrResource>(stack.add<std::pmr::unsynchronized_pool_resource>());
                         }}));

INSTANTIATE_TEST_SUITE_P(PmrBothWays, ResourceConformance,
                         testing::Values(over_system([](ResourceStack& stack, MemoryResource& below) {
                           auto& pool =
                               stack.add<std::pmr::synchronized_pool_resource>(&stack.add<PmrAdaptor>(below));
                           stack.add<PmrResource>(pool);
                         })));

INSTANTIATE_TEST_SUITE_P(AllAtOnce, ResourceConformance,
                         testing::Values(over_system([](ResourceStack& stack, MemoryResource& below) {
                           auto& failing = stack.add<FailingResource>(below);
                           auto& pmr = stack.add<PmrResource>(stack.add<PmrAdaptor>(failing));
                           auto& logging = stack.add<LoggingResource>(pmr, stack.add<TraceText>());
                           auto& limiting = stack.add<LimitingResource>(logging, uint64_t{64} << 20);
                           stack.add<StatisticsResource>(limiting);
                         })));

}  // namespace
}  // namespace lobit
