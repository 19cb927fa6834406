#include "lobit/memory/model_test.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include <gtest/gtest-spi.h>

#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/resource_conformance.h"
#include "lobit/memory/system_resource.h"

namespace lobit {
namespace {

// Most blocks ask for a cache line or less, a few for a page or more.
size_t random_alignment(Random& random) {
  const uint64_t kind = random.below(256);
  if (kind == 0) return size_t{1} << random.below(21);
  if (kind < 32) return size_t{1} << random.below(13);
  return size_t{1} << random.below(7);
}

size_t random_bytes(Random& random, size_t max) {
  return random.size(random.below(64) == 0 ? max : std::min(max, size_t{64} << 10));
}

}  // namespace

uint64_t model_test_operations(uint64_t otherwise) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing sets the environment
  const char* text = std::getenv("LOBIT_MODEL_TEST_OPERATIONS");
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

void run_model_test(MemoryResource& resource, const ModelTest& test) {
  Random random(test.seed);
  CheckedBlocks blocks(resource, random.next());
  // Odds of an allocation in 16; drawn anew from time to time, so that the resource fills up and drains.
  uint64_t odds = 8;
  for (uint64_t i = 0; i < test.operations && !testing::Test::HasFailure(); ++i) {
    if (i % 1024 == 0) {
      odds = 5 + random.below(7);
      blocks.expect_usage();
    }
    if (i % 8192 == 0) {
      blocks.expect_contents();
      static_cast<void>(resource.trim());
    }
    const bool grow = blocks.empty() || random.below(16) < odds;
    const size_t bytes = random_bytes(random, test.max_bytes);
    if (grow && blocks.live_bytes() + bytes <= test.max_live_bytes) {
      const size_t alignment = std::min(random_alignment(random), kMaxAlignment);
      EXPECT_NE(blocks.add(bytes, alignment), nullptr)
          << "seed " << test.seed << ", operation " << i << ": " << blocks.error().message;
    } else if (!blocks.empty()) {
      blocks.free_random(random);
    }
  }
  blocks.expect_usage();
  blocks.free_all();
  blocks.expect_usage();
}

namespace {

TEST_P(ResourceConformance, AgreesWithAModel) {
  run_model_test(resource(), {.operations = model_test_operations(25'000),
                              .max_bytes = std::min(can().max_bytes, size_t{1} << 20),
                              .max_live_bytes = can().total_bytes / 4});
}

enum class Fault : uint8_t { kNone, kOverlap, kMisaligned, kChanged, kMiscounted, kRefused, kLeaked };

// Does one thing wrong, to see that the model notices.
class FaultyResource final : public MemoryResource {
 public:
  explicit FaultyResource(Fault fault) : fault_(fault), place_(*below_.allocate(8192, kMaxAlignment)) {}

 private:
  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override {
    if (fault_ == Fault::kRefused && below_.usage().allocations > 10) {
      return fail(ErrorCode::kOutOfMemory, "allocate: no more");
    }
    if (fault_ == Fault::kChanged && last_ != nullptr) *static_cast<unsigned char*>(last_) ^= 1;
    LOBIT_TRY(last_, below_.allocate(bytes, alignment, stream));
    if (fault_ == Fault::kOverlap) return place_;
    if (fault_ == Fault::kMisaligned) return static_cast<std::byte*>(place_) + 1;
    return last_;
  }
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override {
    void* block = std::exchange(last_, nullptr);
    if (fault_ == Fault::kLeaked) return {};
    const bool moved = fault_ == Fault::kOverlap || fault_ == Fault::kMisaligned;
    return below_.deallocate(moved ? block : pointer, bytes, alignment, stream);
  }
  MemoryUsage do_usage() const override {
    MemoryUsage usage = below_.usage();
    usage.allocated -= fault_ == Fault::kMiscounted ? 8191 : 8192;  // without the place
    usage.peak_allocated = std::max<uint64_t>(usage.peak_allocated - 8192, usage.allocated);
    --usage.allocations;
    return usage;
  }

  SystemResource below_;
  Fault fault_;
  void* place_;
  void* last_ = nullptr;
};

// How many complaints the model has about a fault.
int complaints(Fault fault, uint64_t max_live_bytes) {
  FaultyResource resource(fault);
  testing::TestPartResultArray results;
  {
    const testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &results);
    run_model_test(resource, {.operations = 100, .max_bytes = 1000, .max_live_bytes = max_live_bytes});
  }
  return results.size();
}

TEST(ModelTest, NoticesEveryFault) {
  EXPECT_EQ(complaints(Fault::kNone, 8000), 0);
  EXPECT_GT(complaints(Fault::kOverlap, 8000), 0);
  EXPECT_GT(complaints(Fault::kMisaligned, 1), 0);
  EXPECT_GT(complaints(Fault::kChanged, 8000), 0);
  EXPECT_GT(complaints(Fault::kMiscounted, 8000), 0);
  EXPECT_GT(complaints(Fault::kRefused, 8000), 0);
  EXPECT_GT(complaints(Fault::kLeaked, 8000), 0);
}

}  // namespace
}  // namespace lobit
