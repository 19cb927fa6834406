#include "lobit/memory/pmr.h"

#include <map>
#include <memory_resource>
#include <string>
#include <unordered_map>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/memory/failing_resource.h"
#include "lobit/memory/limiting_resource.h"
#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/system_resource.h"

namespace lobit {
namespace {

// Fills the containers that people use and checks what they hold.
void use_containers(std::pmr::memory_resource& memory) {
  std::pmr::vector<uint64_t> vector(&memory);
  std::pmr::map<int, std::pmr::string> map(&memory);
  std::pmr::unordered_map<std::pmr::string, int> unordered(&memory);
  for (int i = 0; i < 1000; ++i) {
    const std::string text = "a text that is longer than a small string " + std::to_string(i);
    vector.push_back(static_cast<uint64_t>(i * i));
    map.emplace(i, text);
    unordered.emplace(text, i);
  }
  for (int i = 0; i < 1000; i += 2) map.erase(i);
  EXPECT_EQ(vector.at(999), 998001u);
  EXPECT_EQ(map.size(), 500u);
  EXPECT_EQ(map.at(7), "a text that is longer than a small string 7");
  EXPECT_EQ(map.at(7).get_allocator().resource(), &memory) << "elements take from it too";
  EXPECT_EQ(unordered.at("a text that is longer than a small string 321"), 321);
}

TEST(PmrAdaptor, ServesStandardContainers) {
  SystemResource system;
  PmrAdaptor adaptor(system);
  use_containers(adaptor);
  const MemoryUsage usage = system.usage();
  EXPECT_EQ(usage.allocated, 0u);
  EXPECT_GT(usage.peak_allocated, 100000u);
  EXPECT_GT(usage.allocations, 3000u);
  EXPECT_EQ(adaptor.refused_deallocations(), 0u);
}

TEST(PmrAdaptor, ServesStandardPools) {
  SystemResource system;
  PmrAdaptor adaptor(system);
  {
    std::pmr::synchronized_pool_resource pool(&adaptor);
    use_containers(pool);
    std::pmr::monotonic_buffer_resource buffer(&adaptor);
    use_containers(buffer);
    EXPECT_GT(system.usage().allocated, 100000u);
  }
  EXPECT_EQ(system.usage().allocated, 0u);
  EXPECT_EQ(adaptor.refused_deallocations(), 0u);
}

TEST(PmrAdaptor, ThrowsBadAllocWhereTheResourceRefuses) {
  SystemResource system;
  LimitingResource limited(system, 1000);
  PmrAdaptor adaptor(limited);
  std::pmr::vector<char> vector(&adaptor);
  vector.resize(600, 'x');
  EXPECT_THROW(vector.resize(700), std::bad_alloc);
  EXPECT_EQ(vector.size(), 600u);
  EXPECT_EQ(vector[599], 'x');
  EXPECT_THROW(static_cast<void>(adaptor.allocate(1, 2 * kMaxAlignment)), std::bad_alloc);
  EXPECT_EQ(limited.counted(), 600u);
}

TEST(PmrAdaptor, GivesABlockForNoBytes) {
  SystemResource system;
  PmrAdaptor adaptor(system);
  void* a = adaptor.allocate(0, 1);
  void* b = adaptor.allocate(0, 1);
  EXPECT_NE(a, b);
  EXPECT_EQ(system.usage().allocated, 2u);
  adaptor.deallocate(a, 0, 1);
  adaptor.deallocate(b, 0, 1);
  EXPECT_EQ(system.usage().allocated, 0u);
  EXPECT_EQ(adaptor.refused_deallocations(), 0u);
}

TEST(PmrAdaptor, CountsWhatComesBackWrongly) {
  SystemResource system;
  PmrAdaptor adaptor(system);
  void* block = adaptor.allocate(100, 64);
  adaptor.deallocate(block, 99, 64);
  adaptor.deallocate(block, 100, 64);
  adaptor.deallocate(block, 100, 64);
  EXPECT_EQ(adaptor.refused_deallocations(), 2u);
  EXPECT_EQ(system.usage().deallocations, 1u);
}

TEST(PmrAdaptor, EqualsAnotherOverTheSameResourceAndStream) {
  SystemResource one;
  SystemResource two;
  int handle = 0;
  const PmrAdaptor a(one);
  const PmrAdaptor same(one);
  const PmrAdaptor other(two);
  const PmrAdaptor stream(one, Stream{&handle});
  EXPECT_TRUE(a.is_equal(same));
  EXPECT_FALSE(a.is_equal(other));
  EXPECT_FALSE(a.is_equal(stream));
  EXPECT_FALSE(a.is_equal(*std::pmr::new_delete_resource()));

  // Equal resources let a container be moved without copying its elements.
  PmrAdaptor from(one);
  PmrAdaptor to(one);
  std::pmr::vector<int> source({1, 2, 3}, &from);
  const int* place = source.data();
  const std::pmr::vector<int> target(std::move(source), &to);
  EXPECT_EQ(target.data(), place);
}

TEST(PmrResource, TakesFromTheStandardResources) {
  PmrResource resource(*std::pmr::new_delete_resource());
  {
    CheckedBlocks blocks(resource);
    for (size_t bytes = 1; bytes < 100000; bytes *= 3) ASSERT_NE(blocks.add(bytes, 256), nullptr);
    blocks.expect_usage();
  }
  EXPECT_EQ(resource.usage().allocated, 0u);
}

TEST(PmrResource, ReportsWhatTheResourceBelowThrows) {
  PmrResource none(*std::pmr::null_memory_resource());
  const auto refused = none.allocate(100);
  ASSERT_THAT(refused, fails_with(ErrorCode::kOutOfMemory));
  EXPECT_EQ(refused.error().detail.required, 100u);
  EXPECT_EQ(none.usage().allocations, 0u);

  alignas(64) std::array<std::byte, 1024> place{};
  std::pmr::monotonic_buffer_resource buffer(place.data(), place.size(), std::pmr::null_memory_resource());
  PmrResource small(buffer);
  void* block = *small.allocate(1000);
  EXPECT_EQ(block, place.data());
  EXPECT_THAT(small.allocate(1000), fails_with(ErrorCode::kOutOfMemory));
  ASSERT_THAT(small.deallocate(block, 1000), is_ok());
}

class ThrowsAnything final : public std::pmr::memory_resource {
  void* do_allocate(size_t, size_t) override { throw 42; }
  void do_deallocate(void*, size_t, size_t) override {}
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }
};

TEST(PmrResource, LetsNoOtherExceptionOut) {
  ThrowsAnything odd;
  PmrResource resource(odd);
  EXPECT_THAT(resource.allocate(1), fails_with(ErrorCode::kOutOfMemory));
}

TEST(PmrResource, GivesBackWhatIsLiveWhenItGoes) {
  SystemResource system;
  PmrAdaptor adaptor(system);
  {
    PmrResource resource(adaptor);
    ASSERT_THAT(resource.allocate(100, 4096), is_ok());
    ASSERT_THAT(resource.allocate(200), is_ok());
    EXPECT_EQ(system.usage().allocated, 4096u + 256u) << "each is rounded up to its alignment";
  }
  EXPECT_EQ(system.usage().allocated, 0u);
  EXPECT_EQ(adaptor.refused_deallocations(), 0u);
}

TEST(PmrResource, CarriesContainersThroughBothAdaptors) {
  SystemResource system;
  {
    PmrAdaptor below(system);
    std::pmr::synchronized_pool_resource pool(&below);
    PmrResource resource(pool);
    PmrAdaptor above(resource);
    use_containers(above);
    EXPECT_EQ(resource.usage().allocated, 0u);
    EXPECT_EQ(above.refused_deallocations(), 0u);
  }
  EXPECT_EQ(system.usage().allocated, 0u);
}

}  // namespace
}  // namespace lobit
