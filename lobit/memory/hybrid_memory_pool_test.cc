#include "lobit/memory/hybrid_memory_pool.h"

#include <cstring>
#include <map>
#include <vector>

#include "lobit/base/test_support.h"
#include "lobit/memory/buffer.h"
#include "lobit/memory/resource_conformance.h"

namespace lobit {
namespace {

constexpr size_t kKiB = 1024;
constexpr size_t kMiB = 1024 * kKiB;

// Gives back only when the test says so.
std::unique_ptr<HybridMemoryPool> make_pool(MemoryPoolOptions options = {}) {
  options.idle_trim = options.idle_trim.zero();
  return HybridMemoryPool::create(options).value();
}

TEST(HybridMemoryPool, AllocatesEverySizeAroundItsClasses) {
  const auto pool = make_pool();
  std::vector<std::pair<void*, size_t>> blocks;
  for (size_t size = 1; size <= 2 * kMiB; size += size < 40 * kKiB ? 61 : 16 * kKiB - 1) {
    auto block = pool->allocate(size, 64);
    ASSERT_THAT(block, is_ok()) << size;
    ASSERT_EQ(reinterpret_cast<uintptr_t>(*block) % 64, 0u);
    std::memset(*block, static_cast<int>(size % 251), size);
    blocks.emplace_back(*block, size);
  }
  for (const auto& [pointer, size] : blocks) {
    const auto* bytes = static_cast<const unsigned char*>(pointer);
    ASSERT_EQ(bytes[0], size % 251);
    ASSERT_EQ(bytes[size - 1], size % 251);
    ASSERT_THAT(pool->deallocate(pointer, size, 64), is_ok()) << size;
  }
  EXPECT_EQ(pool->usage().allocated, 0u);
  EXPECT_EQ(pool->usage().used, 0u);
}

TEST(HybridMemoryPool, RefusesToFreeTwice) {
  const auto pool = make_pool();
  for (const size_t size : {16 * size_t{1}, kKiB, 20 * kKiB, 100 * kKiB, 3 * kMiB}) {
    void* block = pool->allocate(size, 64).value();
    EXPECT_THAT(pool->deallocate(block, size, 64), is_ok());
    EXPECT_THAT(pool->deallocate(block, size, 64), fails_with(ErrorCode::kInvalidArgument)) << size;
  }
}

TEST(HybridMemoryPool, RandomOperationsKeepEveryBlock) {
  const auto pool = make_pool({.limit = 512 * kMiB});
  struct Block {
    size_t size;
    size_t alignment;
    unsigned char tag;
  };
  std::map<unsigned char*, Block> blocks;
  uint64_t seed = 1;
  const auto random = [&](uint64_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % n;
  };
  uint64_t live = 0;
  for (int step = 0; step < 200'000; ++step) {
    if (blocks.size() < 500 && random(2) == 0) {
      const size_t size = 1 + random(uint64_t{1} << random(22));
      const size_t alignment = size_t{1} << random(random(8) == 0 ? 21 : 8);
      auto got = pool->allocate(size, alignment);
      ASSERT_THAT(got, is_ok());
      auto* block = static_cast<unsigned char*>(*got);
      ASSERT_EQ(reinterpret_cast<uintptr_t>(block) % alignment, 0u);
      const auto next = blocks.lower_bound(block);
      if (next != blocks.end()) {
        ASSERT_LE(block + size, next->first);
      }
      if (next != blocks.begin()) {
        ASSERT_LE(std::prev(next)->first + std::prev(next)->second.size, block);
      }
      const auto tag = static_cast<unsigned char>(random(256));
      block[0] = block[size - 1] = block[size / 2] = tag;
      blocks.emplace(block, Block{size, alignment, tag});
      live += size;
    } else if (!blocks.empty()) {
      auto it = blocks.begin();
      std::advance(it, static_cast<long>(random(blocks.size())));
      ASSERT_EQ(it->first[0], it->second.tag);
      ASSERT_EQ(it->first[it->second.size - 1], it->second.tag);
      ASSERT_EQ(it->first[it->second.size / 2], it->second.tag);
      live -= it->second.size;
      ASSERT_THAT(pool->deallocate(it->first, it->second.size, it->second.alignment), is_ok());
      blocks.erase(it);
    }
    if (step % 5000 == 0) {
      ASSERT_EQ(pool->usage().allocated, live);
      if (step % 20'000 == 0) pool->trim();
    }
  }
  for (const auto& [pointer, block] : blocks) {
    ASSERT_EQ(pointer[0], block.tag);
    ASSERT_THAT(pool->deallocate(pointer, block.size, block.alignment), is_ok());
  }
  pool->trim();
  EXPECT_EQ(pool->usage().committed, 0u);
}

// Blocks that share a slab have no record of their alignment.
INSTANTIATE_TEST_SUITE_P(
    HybridMemoryPool, ResourceConformance,
    testing::Values(ResourceUnderTest{[](ResourceStack& stack) { stack.own(make_pool()); },
                                      {.size_check = SizeCheck::kBytes}},
                    ResourceUnderTest{[](ResourceStack& stack) {
                                        stack.own(make_pool(
                                            {.limit = 160 * kMiB, .huge_pages = HugePages::kNever}));
                                      },
                                      {.size_check = SizeCheck::kBytes}}));

}  // namespace
}  // namespace lobit
