#include "lobit/memory/memory_strategy.h"

#include <array>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "lobit/base/test_support.h"
#include "lobit/memory/block_heap_resource.h"
#include "lobit/memory/block_pool_resource.h"
#include "lobit/memory/resource_conformance.h"
#include "lobit/memory/static_arena_resource.h"
#include "lobit/memory/test_probe.h"

namespace lobit {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

struct LiveBlock {
  void* pointer;
  size_t bytes;
  size_t alignment;
  unsigned char fill;
};

bool is_filled(const LiveBlock& block) {
  const auto* bytes = static_cast<const unsigned char*>(block.pointer);
  for (size_t i = 0; i < block.bytes; ++i) {
    if (bytes[i] != block.fill) return false;
  }
  return true;
}

class EveryStrategy : public testing::TestWithParam<MemoryStrategy> {
 protected:
  ProbeResource below_;
  std::unique_ptr<MemoryResource> strategy_ =
      make_strategy(GetParam(), {.initial_pool_size = 2 * kMiB, .block_size = 4096}, below_).value();
};

TEST_P(EveryStrategy, RunsOneScriptedTrace) {
  std::mt19937 random(7);
  std::vector<LiveBlock> live;
  uint64_t asked = 0;
  uint64_t allocations = 0;
  for (int step = 0; step < 20000; ++step) {
    if (live.size() < 40 && random() % 2 == 0) {
      const size_t bytes = 1 + random() % (size_t{1} << (random() % 15));
      const size_t alignment = size_t{1} << (random() % 14);
      const Result<void*> block = strategy_->allocate(bytes, alignment);
      ASSERT_THAT(block, is_ok());
      ASSERT_EQ(reinterpret_cast<uintptr_t>(*block) % alignment, 0u);
      live.push_back({*block, bytes, alignment, static_cast<unsigned char>(random())});
      std::memset(*block, live.back().fill, bytes);
      asked += bytes;
      ++allocations;
    } else if (!live.empty()) {
      const size_t victim = random() % live.size();
      const LiveBlock block = live[victim];
      ASSERT_TRUE(is_filled(block));
      ASSERT_THAT(strategy_->deallocate(block.pointer, block.bytes, block.alignment), is_ok());
      live[victim] = live.back();
      live.pop_back();
      asked -= block.bytes;
    }
    ASSERT_EQ(strategy_->usage().allocated, asked);
  }
  EXPECT_EQ(strategy_->usage().allocations, allocations);
  EXPECT_EQ(strategy_->usage().deallocations, allocations - live.size());
}

TEST_P(EveryStrategy, RefusesMisuseAndStaysConsistent) {
  void* const block = strategy_->allocate(1000).value();
  EXPECT_THAT(strategy_->allocate(0), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(strategy_->allocate(8, 3), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(strategy_->allocate(SIZE_MAX - 8), fails_with(ErrorCode::kOutOfMemory));
  EXPECT_THAT(strategy_->allocate(SIZE_MAX - 8, kMaxAlignment), fails_with(ErrorCode::kOutOfMemory));

  std::array<std::byte, 1000> foreign{};
  EXPECT_THAT(strategy_->deallocate(foreign.data(), 1000), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(strategy_->deallocate(nullptr, 1000), fails_with(ErrorCode::kInvalidArgument));
  for (const size_t inside : {1u, 64u, 128u, 999u}) {
    EXPECT_THAT(strategy_->deallocate(static_cast<std::byte*>(block) + inside, 1000),
                fails_with(ErrorCode::kInvalidArgument));
  }
  EXPECT_THAT(strategy_->deallocate(block, 999), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(strategy_->deallocate(block, 1000, 128), fails_with(ErrorCode::kInvalidArgument));

  EXPECT_EQ(strategy_->usage().allocated, 1000u);
  EXPECT_THAT(strategy_->deallocate(block, 1000), is_ok());
  EXPECT_THAT(strategy_->deallocate(block, 1000), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(strategy_->usage().allocated, 0u);
  EXPECT_EQ(strategy_->usage().used, 0u);
}

TEST_P(EveryStrategy, GivesEverythingBackWhenItGoes) {
  for (const size_t bytes : {1u, 5000u, 100000u}) ASSERT_THAT(strategy_->allocate(bytes), is_ok());
  EXPECT_GT(below_.live_bytes(), 0u);
  strategy_.reset();
  EXPECT_EQ(below_.live_bytes(), 0u);
}

TEST_P(EveryStrategy, ServesThreads) {
  std::vector<std::jthread> threads;
  for (unsigned char id = 0; id < 4; ++id) {
    threads.emplace_back([this, id] {
      std::mt19937 random(id);
      for (int round = 0; round < 2000; ++round) {
        const size_t bytes = 1 + random() % 9000;
        const Result<void*> block = strategy_->allocate(bytes);
        ASSERT_THAT(block, is_ok());
        std::memset(*block, id, bytes);
        ASSERT_TRUE(is_filled({*block, bytes, 64, id}));
        ASSERT_THAT(strategy_->deallocate(*block, bytes), is_ok());
      }
    });
  }
  threads.clear();
  EXPECT_EQ(strategy_->usage().allocated, 0u);
  EXPECT_EQ(strategy_->usage().allocations, 8000u);
}

INSTANTIATE_TEST_SUITE_P(Strategies, EveryStrategy,
                         testing::Values(MemoryStrategy::kStatic, MemoryStrategy::kPooled,
                                         MemoryStrategy::kDynamic, MemoryStrategy::kHybrid));

ResourceUnderTest strategy_under_test(MemoryStrategy strategy, size_t block_size) {
  return {
      [=](ResourceStack& stack) {
        auto& below = stack.add<SystemResource>();
        stack.own(make_strategy(strategy, {.initial_pool_size = 64 * kMiB, .block_size = block_size}, below)
                      .value());
      },
      {.max_bytes = 4 * kMiB, .total_bytes = 16 * kMiB}};
}

INSTANTIATE_TEST_SUITE_P(Strategies, ResourceConformance,
                         testing::Values(strategy_under_test(MemoryStrategy::kStatic, 4096),
                                         strategy_under_test(MemoryStrategy::kPooled, 4096),
                                         strategy_under_test(MemoryStrategy::kPooled, 1000),
                                         strategy_under_test(MemoryStrategy::kDynamic, 4096),
                                         strategy_under_test(MemoryStrategy::kHybrid, 4096)));

TEST(StaticArenaResource, AsksForNothingAfterItsCreation) {
  ProbeResource below;
  auto arena = StaticArenaResource::create(kMiB, below).value();
  EXPECT_EQ(below.sizes(), std::vector<size_t>{kMiB});
  std::vector<void*> blocks;
  while (const Result<void*> block = arena->allocate(100)) blocks.push_back(*block);
  EXPECT_EQ(blocks.size(), kMiB / 128);
  for (void* block : blocks) ASSERT_THAT(arena->deallocate(block, 100), is_ok());
  EXPECT_EQ(arena->trim(), 0u);
  EXPECT_EQ(below.calls(), 1u);
}

TEST(StaticArenaResource, SaysWhatIsLeftWhenExhausted) {
  ProbeResource below;
  auto arena = StaticArenaResource::create(1024, below).value();
  std::vector<void*> blocks;
  for (int i = 0; i < 4; ++i) blocks.push_back(arena->allocate(256).value());
  ASSERT_THAT(arena->deallocate(blocks[0], 256), is_ok());
  ASSERT_THAT(arena->deallocate(blocks[2], 256), is_ok());
  const Result<void*> refused = arena->allocate(300);
  ASSERT_THAT(refused, fails_with(ErrorCode::kOutOfMemory));
  EXPECT_EQ(refused.error().detail.required, 300u);
  EXPECT_EQ(refused.error().detail.available, 256u);
  EXPECT_EQ(arena->occupancy().largest_free, 256u);
  EXPECT_DOUBLE_EQ(arena->occupancy().fragmentation(), 0.5);

  // The message has the bytes of the caller, the detail what would be enough for any address.
  const Result<void*> aligned = arena->allocate(200, 256);
  ASSERT_THAT(aligned, fails_with(ErrorCode::kOutOfMemory));
  EXPECT_THAT(aligned.error().message, testing::HasSubstr("200 bytes aligned to 256 asked for"));
  EXPECT_EQ(aligned.error().detail.required, 200u + 192);

  // What lies between two free blocks joins them.
  ASSERT_THAT(arena->deallocate(blocks[1], 256), is_ok());
  EXPECT_EQ(arena->occupancy().largest_free, 768u);
  EXPECT_THAT(arena->allocate(768), is_ok());
}

TEST(StaticArenaResource, IsOneFreeBlockAgainAfterAnyOrder) {
  ProbeResource below;
  auto arena = StaticArenaResource::create(kMiB, below).value();
  std::mt19937 random(3);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::pair<void*, size_t>> blocks;
    for (size_t bytes = 1 + random() % 3000;; bytes = 1 + random() % 3000) {
      const Result<void*> block = arena->allocate(bytes, size_t{1} << (random() % 12));
      if (!block) break;
      blocks.emplace_back(*block, bytes);
    }
    std::shuffle(blocks.begin(), blocks.end(), random);
    for (const auto& [block, bytes] : blocks) {
      size_t alignment = 1;
      // The alignment is the one that fits: all others are refused without effect.
      while (alignment < 4096 && !arena->deallocate(block, bytes, alignment)) alignment *= 2;
      ASSERT_LT(alignment, 4096u);
    }
    ASSERT_EQ(arena->occupancy().largest_free, kMiB);
    ASSERT_EQ(arena->occupancy().used, 0u);
    void* const whole = arena->allocate(kMiB).value();
    ASSERT_THAT(arena->deallocate(whole, kMiB), is_ok());
  }
}

TEST(StaticArenaResource, TakesABlockOfTheSizeBeforeALongerOne) {
  ProbeResource below;
  auto arena = StaticArenaResource::create(kMiB, below).value();
  // A block of 65 lines of 64 bytes hangs in the list of 64 to 67 lines, which may have been too short.
  void* const freed = arena->allocate(65 * 64).value();
  ASSERT_THAT(arena->allocate(64), is_ok());
  ASSERT_THAT(arena->deallocate(freed, 65 * 64), is_ok());
  EXPECT_EQ(arena->allocate(65 * 64).value(), freed);
}

TEST(StaticArenaResource, CutsWhatAlignmentSkips) {
  ProbeResource below;
  auto arena = StaticArenaResource::create(4 * kMiB, below).value();
  void* const block = arena->allocate(64, kMaxAlignment).value();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % kMaxAlignment, 0u);
  EXPECT_EQ(arena->usage().used, 64u);
  EXPECT_THAT(arena->deallocate(block, 64, kMaxAlignment), is_ok());
  EXPECT_EQ(arena->occupancy().largest_free, 4 * kMiB);
}

TEST(StaticArenaResource, RefusesSizesItCannotManage) {
  ProbeResource below;
  EXPECT_THAT(StaticArenaResource::create(0, below), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(StaticArenaResource::create(63, below), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(StaticArenaResource::create(SIZE_MAX, below), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(below.calls(), 0u);
  below.set_capacity(100);
  EXPECT_THAT(StaticArenaResource::create(kMiB, below), fails_with(ErrorCode::kOutOfMemory));
}

TEST(BlockPoolResource, CutsThePoolInBlocksAndRunsOfThem) {
  ProbeResource below;
  auto pool = BlockPoolResource::create(10 * 4096 + 100, 4096, below).value();
  EXPECT_EQ(below.sizes(), std::vector<size_t>{10 * 4096});
  void* const small = pool->allocate(1).value();
  EXPECT_EQ(pool->usage().used, 4096u);
  void* const run = pool->allocate(4097).value();
  EXPECT_EQ(pool->usage().used, 3 * 4096u);
  EXPECT_DOUBLE_EQ(pool->occupancy().utilisation(), 4098.0 / (3 * 4096));
  EXPECT_THAT(pool->allocate(8 * 4096), fails_with(ErrorCode::kOutOfMemory));
  void* const rest = pool->allocate(7 * 4096).value();
  EXPECT_THAT(pool->allocate(1), fails_with(ErrorCode::kOutOfMemory));
  for (const auto& [block, bytes] :
       {std::pair{small, size_t{1}}, {run, size_t{4097}}, {rest, size_t{7} * 4096}}) {
    EXPECT_THAT(pool->deallocate(block, bytes), is_ok());
  }
  EXPECT_EQ(pool->occupancy().largest_free, 10 * 4096u);
}

TEST(BlockPoolResource, RoundsTheBlockSizeToACacheLine) {
  ProbeResource below;
  auto pool = BlockPoolResource::create(kMiB, 3000, below).value();
  EXPECT_EQ(pool->block_size(), 3008u);
  // Blocks of such a size are aligned to 64 bytes only; more may take two.
  EXPECT_TRUE(pool->fits_block(3008, 64));
  EXPECT_FALSE(pool->fits_block(3008, 128));
  void* const block = pool->allocate(3000, 4096).value();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 4096, 0u);
  EXPECT_THAT(pool->deallocate(block, 3000, 4096), is_ok());
  EXPECT_EQ(pool->occupancy().used, 0u);
  EXPECT_THAT(BlockPoolResource::create(kMiB, 0, below), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(BlockPoolResource::create(kMiB, SIZE_MAX, below), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(BlockPoolResource::create(kMiB, 2 * kMiB, below), fails_with(ErrorCode::kInvalidArgument));
}

TEST(BlockHeapResource, GoesBelowForWhatBlocksDoNotHold) {
  ProbeResource below;
  auto hybrid = BlockHeapResource::create(2 * 4096, 4096, below).value();
  EXPECT_EQ(below.calls(), 1u);
  void* const first = hybrid->allocate(4096).value();
  void* const second = hybrid->allocate(10).value();
  EXPECT_EQ(below.calls(), 1u);
  void* const large = hybrid->allocate(4097).value();
  void* const third = hybrid->allocate(10).value();
  EXPECT_EQ(below.sizes(), (std::vector<size_t>{8192, 4097, 10}));
  EXPECT_EQ(hybrid->usage().committed, 8192u + 4097 + 10);
  EXPECT_EQ(hybrid->usage().used, 8192u + 4097 + 10);

  ASSERT_THAT(hybrid->deallocate(large, 4097), is_ok());
  ASSERT_THAT(hybrid->deallocate(third, 10), is_ok());
  EXPECT_EQ(hybrid->usage().committed, 8192u);
  EXPECT_EQ(hybrid->usage().peak_committed, 8192u + 4097 + 10);
  ASSERT_THAT(hybrid->deallocate(first, 4096), is_ok());
  const uint64_t before = below.calls();
  EXPECT_EQ(hybrid->allocate(64).value(), first);
  EXPECT_EQ(below.calls(), before);
  EXPECT_THAT(hybrid->deallocate(second, 10), is_ok());
}

TEST(BlockHeapResource, DoesNotFreeWhatOthersTookFromBelow) {
  ProbeResource below;
  BlockHeapResource dynamic(below);
  void* const other = below.allocate(100).value();
  EXPECT_THAT(dynamic.deallocate(other, 100), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(below.live_bytes(), 100u);
  EXPECT_THAT(below.deallocate(other, 100), is_ok());
}

TEST(MakeStrategy, TakesItsSizesFromTheOptions) {
  ProbeResource below;
  const StrategyOptions options{.initial_pool_size = 65536, .block_size = 1024};
  const auto pooled = make_strategy(MemoryStrategy::kPooled, options, below).value();
  EXPECT_EQ(below.sizes().back(), 65536u);
  ASSERT_THAT(pooled->allocate(1), is_ok());
  EXPECT_EQ(pooled->usage().used, 1024u);
  const auto fixed = make_strategy(MemoryStrategy::kStatic, options, below).value();
  ASSERT_THAT(fixed->allocate(1), is_ok());
  EXPECT_EQ(fixed->usage().used, 64u);
  const uint64_t calls = below.calls();
  const auto dynamic = make_strategy(MemoryStrategy::kDynamic, options, below).value();
  EXPECT_EQ(below.calls(), calls);
  EXPECT_THAT(make_strategy(MemoryStrategy{9}, options, below), fails_with(ErrorCode::kInvalidArgument));
}

}  // namespace
}  // namespace lobit
