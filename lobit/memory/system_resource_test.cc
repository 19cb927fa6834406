#include "lobit/memory/system_resource.h"

#include <memory>
#include <vector>

#include "lobit/base/test_support.h"
#include "lobit/memory/limiting_resource.h"
#include "lobit/memory/static_arena_resource.h"

namespace lobit {
namespace {

constexpr Device kGpu{DeviceKind::kCuda, 1};

Backend& cpu() {
  return **backend(Device{});
}

// A device that is not there: its memory and its streams are the CPU's, and it tells on which streams memory
// came and went.
class PretendedGpu final : public Backend {
 public:
  std::vector<Stream> taken;
  std::vector<Stream> freed;

  Device device() const override { return kGpu; }
  Result<void*> allocate(size_t bytes, size_t alignment, Stream stream) override {
    LOBIT_TRY(void* block, cpu().allocate(bytes, alignment, stream));
    taken.push_back(stream);
    return block;
  }
  Status deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override {
    LOBIT_RETURN_IF_ERROR(cpu().deallocate(pointer, bytes, alignment, stream));
    freed.push_back(stream);
    return {};
  }
  Status copy(void* to, const void* from, size_t bytes, CopyKind kind, Stream stream) override {
    return cpu().copy(to, from, bytes, kind, stream);
  }
  Result<Stream> create_stream() override { return cpu().create_stream(); }
  Status destroy_stream(Stream stream) override { return cpu().destroy_stream(stream); }
  Result<Event> create_event() override { return cpu().create_event(); }
  Status destroy_event(Event event) override { return cpu().destroy_event(event); }
  Status record(Event event, Stream stream) override { return cpu().record(event, stream); }
  Status wait(Stream stream, Event event) override { return cpu().wait(stream, event); }
  Status synchronize(Event event) override { return cpu().synchronize(event); }
  Status synchronize(Stream stream) override { return cpu().synchronize(stream); }
  Result<DeviceMemory> memory() const override { return cpu().memory(); }
};

TEST(SystemResource, IsTheCpusUnlessItIsToldAnother) {
  PretendedGpu gpu;
  EXPECT_EQ(SystemResource().device(), Device{});
  SystemResource resource(gpu);
  EXPECT_EQ(resource.device(), kGpu);
  ASSERT_THAT(resource.deallocate(*resource.allocate(100), 100), is_ok());
  EXPECT_EQ(gpu.taken.size(), 1u);
  EXPECT_EQ(gpu.freed.size(), 1u);
}

TEST(SystemResource, PutsADeviceBelowWrappersAndArenas) {
  PretendedGpu gpu;
  SystemResource system(gpu);
  LimitingResource limiting(system, 4096);
  {
    const auto arena = StaticArenaResource::create(4096, limiting).value();
    EXPECT_EQ(arena->device(), kGpu);
    EXPECT_THAT(limiting.allocate(1), fails_with(ErrorCode::kLimit));
    EXPECT_THAT(arena->allocate(4000), is_ok());
  }
  EXPECT_EQ(gpu.taken.size(), 1u);
  EXPECT_EQ(gpu.freed.size(), 1u);
}

TEST(SystemResource, TakesAndFreesInTheOrderOfTheStreamsItIsTold) {
  PretendedGpu gpu;
  SystemResource resource(gpu);
  const Stream one = *gpu.create_stream();
  const Stream two = *gpu.create_stream();
  void* block = *resource.allocate(100, 64, one);
  ASSERT_THAT(resource.deallocate(block, 100, 64, two), is_ok());
  EXPECT_EQ(gpu.taken, std::vector{one});
  EXPECT_EQ(gpu.freed, std::vector{two});
  EXPECT_THAT(gpu.destroy_stream(one), is_ok());
  EXPECT_THAT(gpu.destroy_stream(two), is_ok());
}

TEST(SystemResource, ABlockThatTheDeviceDoesNotTakeBackLivesOn) {
  PretendedGpu gpu;
  SystemResource resource(gpu);
  const Stream gone = *gpu.create_stream();
  ASSERT_THAT(gpu.destroy_stream(gone), is_ok());
  EXPECT_THAT(resource.allocate(100, 64, gone), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(resource.usage().allocations, 0u);

  void* block = *resource.allocate(100);
  EXPECT_THAT(resource.deallocate(block, 100, 64, gone), fails_with(ErrorCode::kInvalidArgument));
  const MemoryUsage usage = resource.usage();
  EXPECT_EQ(usage.allocated, 100u);
  EXPECT_EQ(usage.committed, 128u);
  EXPECT_EQ(usage.allocations, 1u);
  EXPECT_EQ(usage.deallocations, 0u);
  EXPECT_THAT(resource.deallocate(block, 100), is_ok());
  EXPECT_EQ(resource.usage().peak_allocated, 100u);
}

TEST(SystemResource, FreesWhatIsLeftOnItsOwnStreamWhileThatIsThere) {
  PretendedGpu gpu;
  const Stream alive = *gpu.create_stream();
  const Stream ended = *gpu.create_stream();
  for (const auto& [stream, freed_on] : {std::pair(alive, alive), std::pair(ended, Stream())}) {
    auto resource = std::make_unique<SystemResource>(gpu);
    ASSERT_THAT(resource->allocate(100, 64, stream), is_ok());
    if (stream == ended) {
      ASSERT_THAT(gpu.destroy_stream(ended), is_ok());
    }
    gpu.freed.clear();
    resource.reset();
    EXPECT_EQ(gpu.freed, std::vector{freed_on});
  }
  EXPECT_THAT(gpu.destroy_stream(alive), is_ok());
}

}  // namespace
}  // namespace lobit
