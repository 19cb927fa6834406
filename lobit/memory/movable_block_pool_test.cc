#include "lobit/memory/movable_block_pool.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <numeric>
#include <thread>
#include <vector>

#include "lobit/base/test_heap.h"
#include "lobit/base/test_support.h"
#include "lobit/memory/hybrid_memory_pool.h"
#include "lobit/memory/memory_profile.h"
#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/resource_wrapper.h"
#include "lobit/memory/statistics_resource.h"

namespace lobit {
namespace {

using namespace std::chrono_literals;

constexpr size_t kKiB = 1024;
constexpr size_t kMiB = 1024 * kKiB;
constexpr size_t kBlock = 6 * kMiB;  // whole huge pages, and no thread's cache keeps it

const TimeBudget kUnlimited(std::chrono::nanoseconds::max());

// Each look at this clock takes a millisecond.
std::atomic<uint64_t> ticks{0};
uint64_t ticking_clock() {
  return ticks.fetch_add(1) * 1'000'000;
}

std::unique_ptr<HybridMemoryPool> make_memory(MemoryPoolOptions options = {}) {
  options.idle_trim = options.idle_trim.zero();
  return HybridMemoryPool::create(options).value();
}

class MovableBlocks : public testing::Test {
 protected:
  struct Owned {
    MovableBlock block;
    uint64_t seed;
  };

  void allocate(size_t bytes) {
    owned_.push_back({pool_->allocate(bytes).value(), random_.next()});
    fill_pattern(owned_.back().block.pin().data(), bytes, owned_.back().seed);
  }
  void free_every_other() {
    for (size_t i = 0; i < owned_.size(); ++i) owned_.erase(owned_.begin() + static_cast<ptrdiff_t>(i));
  }
  void expect_contents() const {
    for (const Owned& owned : owned_) {
      EXPECT_TRUE(holds_pattern(owned.block.pin().data(), owned.block.size(), owned.seed));
    }
  }
  std::vector<std::byte*> addresses() const {
    std::vector<std::byte*> all;
    for (const Owned& owned : owned_) all.push_back(owned.block.pin().data());
    return all;
  }
  MemoryFragmentation fragmentation() const { return memory_->fragmentation().value(); }

  std::unique_ptr<HybridMemoryPool> memory_ = make_memory();
  std::unique_ptr<MovableBlockPool> pool_ = MovableBlockPool::create(*memory_).value();
  Random random_{1};
  std::vector<Owned> owned_;
};

// Eight blocks with a hole below each: the upper four fill the lower four holes.
TEST_F(MovableBlocks, MoveDownUntilTheFreeMemoryIsOnePiece) {
  for (int i = 0; i < 16; ++i) allocate(kBlock);
  std::vector<std::byte*> lowest = addresses();
  std::sort(lowest.begin(), lowest.end());
  lowest.resize(8);
  free_every_other();
  ASSERT_EQ(owned_.size(), 8u);
  EXPECT_EQ(fragmentation().largest_free, kBlock);
  EXPECT_EQ(fragmentation().free_pieces, 8u);

  const CompactionResult result = pool_->compact(kUnlimited);
  EXPECT_TRUE(result.finished);
  EXPECT_EQ(result.moved_blocks, 4u);
  EXPECT_EQ(result.moved_bytes, 4 * kBlock);
  EXPECT_EQ(result.largest_free_growth, static_cast<int64_t>(7 * kBlock));
  EXPECT_EQ(fragmentation().largest_free, 8 * kBlock);
  EXPECT_EQ(fragmentation().free_pieces, 1u);
  expect_contents();
  std::vector<std::byte*> now = addresses();
  std::sort(now.begin(), now.end());
  EXPECT_EQ(now, lowest);

  EXPECT_EQ(memory_->trim(), 8 * kBlock);
  EXPECT_EQ(pool_->compact(kUnlimited).moved_blocks, 0u);
  expect_contents();
}

// Too little of each huge page is free for it to be split, so trimming alone gives nothing back.
TEST_F(MovableBlocks, MakeRoomForWholeHugePagesToGo) {
  constexpr size_t kHole = 60 * kKiB;
  constexpr size_t kLive = 964 * kKiB;  // two of each to a huge page
  std::vector<MovableBlock> holes;
  for (int i = 0; i < 64; ++i) {
    allocate(kLive);
    holes.push_back(pool_->allocate(kHole).value());
  }
  const uint64_t full = memory_->usage().committed;
  for (int i = 63; i >= 0; i -= 2) owned_.erase(owned_.begin() + i);
  holes.clear();
  const CompactionResult result = pool_->compact(kUnlimited);
  EXPECT_GE(result.moved_blocks, 15u);
  memory_->trim();
  EXPECT_LE(memory_->usage().committed, full / 2 + 2 * kMiB);
  expect_contents();
}

TEST_F(MovableBlocks, OfManySizesKeepTheirContentAndAlignment) {
  std::vector<MovableBlock> aligned;
  for (int i = 0; i < 300; ++i) {
    allocate(32 * kKiB + random_.size(3 * kMiB));
    aligned.push_back(pool_->allocate(100 * kKiB, size_t{64} << 10).value());
  }
  for (int i = 0; i < 200; ++i) {
    owned_.erase(owned_.begin() + static_cast<ptrdiff_t>(random_.below(owned_.size())));
    aligned.pop_back();
  }
  const MemoryFragmentation before = fragmentation();
  const CompactionResult result = pool_->compact(kUnlimited);
  EXPECT_GT(result.moved_blocks, 50u);
  EXPECT_GT(fragmentation().largest_free, before.largest_free);
  expect_contents();
  for (const MovableBlock& block : aligned) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block.pin().data()) % (size_t{64} << 10), 0u);
  }
  EXPECT_EQ(fragmentation().committed, before.committed);
  owned_.clear();
  aligned.clear();
  EXPECT_EQ(memory_->usage().allocated, 0u);
  EXPECT_EQ(pool_->live_blocks(), 0u);
  EXPECT_EQ(pool_->live_bytes(), 0u);
}

TEST_F(MovableBlocks, StayWhileTheyArePinned) {
  for (int i = 0; i < 8; ++i) allocate(kBlock);
  free_every_other();
  std::vector<BlockPin> pins;
  for (const Owned& owned : owned_) {
    pins.push_back(owned.block.pin());
    pins.push_back(owned.block.pin());
  }
  for (size_t i = 1; i < pins.size(); i += 2) pins[i] = {};  // one of two is enough
  const std::vector<std::byte*> before = addresses();
  EXPECT_EQ(pool_->compact(kUnlimited).moved_blocks, 0u);
  EXPECT_EQ(addresses(), before);
  pins.clear();
  EXPECT_EQ(pool_->compact(kUnlimited).moved_blocks, 2u);
  expect_contents();
}

TEST_F(MovableBlocks, StopAfterTheBlockAtWhichTheTimeWasUpAndGoOnThere) {
  for (int i = 0; i < 24; ++i) allocate(kBlock);
  free_every_other();
  const CompactionResult three = pool_->compact(TimeBudget(3ms, ticking_clock));
  EXPECT_EQ(three.moved_blocks, 3u);
  EXPECT_FALSE(three.finished);
  const CompactionResult one = pool_->compact(TimeBudget(0ns, ticking_clock));
  EXPECT_EQ(one.moved_blocks, 1u);
  const CompactionResult rest = pool_->compact(kUnlimited);
  EXPECT_EQ(rest.moved_blocks, 2u);
  EXPECT_TRUE(rest.finished);
  expect_contents();
}

TEST_F(MovableBlocks, DoNotMoveWhereNothingIsCommitted) {
  for (int i = 0; i < 16; ++i) allocate(kBlock);
  free_every_other();
  memory_->trim();
  const uint64_t committed = memory_->usage().committed;
  EXPECT_EQ(pool_->compact(kUnlimited).moved_blocks, 0u);
  EXPECT_EQ(memory_->usage().committed, committed);
}

TEST_F(MovableBlocks, OfSlabsStay) {
  for (int i = 0; i < 100; ++i) allocate(kKiB);
  free_every_other();
  EXPECT_EQ(pool_->compact(kUnlimited).moved_blocks, 0u);
  expect_contents();
}

TEST_F(MovableBlocks, LiveAsLongAsAHandleOrAPin) {
  MovableBlock block = pool_->allocate(kBlock).value();
  BlockPin pin = block.pin();
  BlockPin other = block.pin();
  fill_pattern(pin.data(), kBlock, 7);
  block = {};
  EXPECT_TRUE(block.empty());
  EXPECT_TRUE(block.pin().empty());
  EXPECT_EQ(block.pin().data(), nullptr);
  other = {};
  EXPECT_EQ(pool_->compact(kUnlimited).moved_blocks, 0u);
  EXPECT_EQ(memory_->usage().allocated, kBlock);
  EXPECT_EQ(pool_->live_blocks(), 1u);
  pool_.reset();
  EXPECT_TRUE(holds_pattern(pin.data(), kBlock, 7));
  EXPECT_EQ(pin.size(), kBlock);
  pin = {};
  EXPECT_EQ(memory_->usage().allocated, 0u);
}

TEST_F(MovableBlocks, OutliveTheirPool) {
  allocate(kBlock);
  pool_.reset();
  expect_contents();
  owned_.clear();
  EXPECT_EQ(memory_->usage().allocated, 0u);
}

TEST_F(MovableBlocks, AreRefusedAsTheResourceRefuses) {
  EXPECT_THAT(pool_->allocate(0), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(pool_->allocate(1, 3), fails_with(ErrorCode::kInvalidArgument));
  const auto small = make_memory({.limit = 8 * kMiB});
  const auto pool = MovableBlockPool::create(*small).value();
  EXPECT_THAT(pool->allocate(9 * kMiB), fails_with(ErrorCode::kLimit));
  EXPECT_EQ(pool->live_blocks(), 0u);
}

TEST_F(MovableBlocks, GiveTheirMemoryBackWhenTheyCannotBeRemembered) {
  if (!heap_is_counted()) GTEST_SKIP() << "sanitizers bring their own heap";
  const FailingHeap failing(2);  // the record, then its place in the table
  EXPECT_THAT(pool_->allocate(kBlock), fails_with(ErrorCode::kOutOfMemory));
  EXPECT_EQ(memory_->usage().allocated, 0u);
  EXPECT_EQ(pool_->live_blocks(), 0u);
}

// While a copy would pass the limit of the large pool, nothing moves and nothing breaks.
TEST(MovableBlocksLimit, WithoutRoomForACopyTheyStay) {
  const auto memory = make_memory({.large = {.max = 4 * kBlock}});
  const auto pool = MovableBlockPool::create(*memory).value();
  std::vector<MovableBlock> blocks;
  for (int i = 0; i < 4; ++i) blocks.push_back(pool->allocate(kBlock).value());
  EXPECT_EQ(pool->compact(kUnlimited).moved_blocks, 0u);
  blocks.erase(blocks.begin());
  EXPECT_EQ(pool->compact(kUnlimited).moved_blocks, 1u);
}

// Through a wrapper, which counts what is moved, blocks are asked for like all others.
TEST(MovableBlocksOfAWrapper, MoveDown) {
  const auto memory = make_memory();
  StatisticsResource counting(*memory);
  const auto pool = MovableBlockPool::create(counting).value();
  std::vector<MovableBlock> blocks;
  for (int i = 0; i < 16; ++i) blocks.push_back(pool->allocate(kBlock).value());
  for (size_t i = 0; i < blocks.size(); ++i) blocks.erase(blocks.begin() + static_cast<ptrdiff_t>(i));
  const uint64_t largest = memory->fragmentation().value().largest_free;
  EXPECT_GE(pool->compact(kUnlimited).moved_blocks, 3u);
  EXPECT_GT(memory->fragmentation().value().largest_free, largest);
  EXPECT_EQ(memory->usage().allocated, 8 * kBlock);
  blocks.clear();
  EXPECT_EQ(memory->usage().allocated, 0u);
}

// Calls a function while a block is being moved.
class WatchedResource final : public ResourceWrapper {
 public:
  explicit WatchedResource(MemoryResource& upstream) : ResourceWrapper(upstream) {}
  std::function<void()> during_move = [] {};

 private:
  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override {
    return upstream().allocate(bytes, alignment, stream);
  }
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override {
    return upstream().deallocate(pointer, bytes, alignment, stream);
  }
  void* do_allocate_below(const void* block, size_t bytes, size_t alignment, Stream stream) override {
    during_move();
    return upstream().allocate_below(block, bytes, alignment, stream);
  }
};

class MovableBlockInAMove : public testing::Test {
 protected:
  void SetUp() override {
    {
      const MovableBlock hole = pool_->allocate(2 * kBlock).value();
      block_ = pool_->allocate(kBlock).value();
    }
    const BlockPin pin = block_.pin();
    old_ = pin.data();
    fill_pattern(pin.data(), kBlock, 9);
  }

  std::unique_ptr<HybridMemoryPool> memory_ = make_memory();
  WatchedResource watched_{*memory_};
  std::unique_ptr<MovableBlockPool> pool_ = MovableBlockPool::create(watched_).value();
  MovableBlock block_;
  std::byte* old_ = nullptr;
};

TEST_F(MovableBlockInAMove, IsPinnedWhereItMovesTo) {
  BlockPin pin;
  std::thread other;
  watched_.during_move = [&] { other = std::thread([&] { pin = block_.pin(); }); };
  EXPECT_EQ(pool_->compact(kUnlimited).moved_blocks, 1u);
  other.join();
  EXPECT_LT(pin.data(), old_);
  EXPECT_TRUE(holds_pattern(pin.data(), kBlock, 9));
}

TEST_F(MovableBlockInAMove, MayLoseItsHandle) {
  watched_.during_move = [&] { block_ = {}; };
  EXPECT_EQ(pool_->compact(kUnlimited).moved_blocks, 1u);
  EXPECT_EQ(memory_->usage().allocated, 0u);
  EXPECT_EQ(pool_->live_blocks(), 0u);
}

TEST_F(MovableBlockInAMove, LetsOthersAllocateAndFree) {
  std::vector<MovableBlock> others;
  watched_.during_move = [&] {
    others.push_back(pool_->allocate(kKiB).value());
    others.push_back(pool_->allocate(kMiB).value());
    others.erase(others.begin());
  };
  EXPECT_EQ(pool_->compact(kUnlimited).moved_blocks, 1u);
  EXPECT_TRUE(holds_pattern(block_.pin().data(), kBlock, 9));
}

TEST(MovableBlocksThreads, PinAllocateAndFreeWhileOthersCompact) {
  const auto memory = make_memory();
  const auto pool = MovableBlockPool::create(*memory).value();
  constexpr size_t kThreads = 6;
  std::atomic<size_t> working{kThreads};
  std::atomic<uint64_t> moved{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Random random(t);
      std::vector<std::pair<MovableBlock, uint64_t>> blocks;
      for (int step = 0; step < 250; ++step) {
        const size_t bytes = 33 * kKiB + random.size(200 * kKiB);
        blocks.emplace_back(pool->allocate(bytes).value(), random.next());
        fill_pattern(blocks.back().first.pin().data(), bytes, blocks.back().second);
        const auto& [block, seed] = blocks[random.below(blocks.size())];
        const BlockPin pin = block.pin();
        EXPECT_TRUE(holds_pattern(pin.data(), pin.size(), seed));
        if (step % 3 != 0) {
          blocks.erase(blocks.begin() + static_cast<ptrdiff_t>(random.below(blocks.size())));
        }
      }
      --working;
      for (const auto& [block, seed] : blocks) {
        const BlockPin pin = block.pin();
        EXPECT_TRUE(holds_pattern(pin.data(), pin.size(), seed));
      }
    });
  }
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      while (working != 0) moved += pool->compact(TimeBudget(1ms)).moved_blocks;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(moved, 0u);
  EXPECT_EQ(pool->live_blocks(), 0u);
  EXPECT_EQ(memory->usage().allocated, 0u);
  memory->trim();
  EXPECT_EQ(memory->usage().committed, 0u);
}

}  // namespace
}  // namespace lobit
