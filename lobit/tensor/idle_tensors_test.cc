#include "lobit/tensor/idle_tensors.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/memory/cleanup_manager.h"
#include "lobit/memory/failing_resource.h"
#include "lobit/memory/hybrid_memory_pool.h"
#include "lobit/memory/limiting_resource.h"
#include "lobit/tensor/tensor_test_support.h"
#include "lobit/tensor/weak_tensor.h"

namespace lobit {
namespace {

using namespace std::chrono_literals;
using enum Encoding;

constexpr int64_t kElements = 1 << 16;
constexpr uint64_t kBytes = kElements * sizeof(float);

// Rises by `step` with every look.
std::atomic<uint64_t> time_now{0};
std::atomic<uint64_t> time_step{0};
uint64_t test_clock() {
  return time_now += time_step;
}

float step_of(size_t i) {
  const size_t step = i / 64;
  return static_cast<float>(step);
}

// Values that shrink: 64 of each.
Tensor smooth(MemoryResource& memory, float first = 0.0f) {
  std::vector<float> values(kElements);
  for (size_t i = 0; i < values.size(); ++i) values[i] = first + step_of(i);
  return *Tensor::from_values(values, shape_of({kElements}), kF32, memory);
}

// And bits that do not.
Tensor noise(MemoryResource& memory) {
  Tensor tensor = *Tensor::empty(shape_of({kElements}), kRawU32, memory);
  uint32_t state = 1;
  const std::span<uint32_t> numbers = *tensor.mutable_values<uint32_t>();
  for (uint32_t& number : numbers) {
    state = state * 1664525 + 1013904223;
    number = state * 2654435761u ^ state >> 15;
  }
  return tensor;
}

std::vector<std::byte> bytes_of(const Tensor& tensor) {
  const std::span<const std::byte> bytes = *tensor.bytes();
  return {bytes.begin(), bytes.end()};
}

class IdleTensorsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    time_now = 0;
    time_step = 0;
  }
  SystemResource memory_;
};

TEST_F(IdleTensorsTest, AreSmallerAndComeBackAsTheyWere) {
  IdleTensors store(memory_, {}, test_clock);
  Tensor tensor = smooth(memory_);
  tensor.set_name("w");
  tensor.set_tags({"a", "b"});
  const uint64_t id = tensor.id();
  const std::vector<std::byte> bytes = bytes_of(tensor);
  const auto key = store.add(std::move(tensor));
  ASSERT_THAT(key, is_ok());
  EXPECT_FALSE(store.is_compressed(*key));

  const IdleCompression done = store.compress_idle(0ns);
  EXPECT_EQ(done.compressed, 1u);
  EXPECT_TRUE(done.finished);
  EXPECT_TRUE(store.is_compressed(*key));
  const IdleTensorStatistics statistics = store.statistics();
  EXPECT_EQ(statistics.tensors, 1u);
  EXPECT_EQ(statistics.compressed_tensors, 1u);
  EXPECT_EQ(statistics.original_bytes, kBytes);
  EXPECT_EQ(memory_.usage().allocated, statistics.stored_bytes);
  EXPECT_EQ(done.bytes_freed, kBytes - statistics.stored_bytes);
  EXPECT_LT(statistics.stored_bytes, kBytes / 4);
  EXPECT_EQ(store.compress_idle(0ns).compressed, 0u);

  const auto found = store.get(*key);
  ASSERT_THAT(found, is_ok());
  EXPECT_FALSE(store.is_compressed(*key));
  EXPECT_EQ(bytes_of(*found), bytes);
  EXPECT_EQ(found->id(), id);
  EXPECT_EQ(found->name(), "w");
  EXPECT_EQ(found->tags().size(), 2u);
  EXPECT_EQ(memory_.usage().allocated, kBytes);
  EXPECT_EQ(store.statistics().compression.restored_blocks, 1u);
  EXPECT_TRUE(store.get(*key)->shares_storage_with(*found));
}

TEST_F(IdleTensorsTest, OfEveryFormatComeBack) {
  IdleTensors store(memory_);
  for (const ValueFormat format : formats_for(256)) {
    Tensor tensor = *Tensor::zeros(shape_of({64, 256}), format, memory_);
    const std::vector<std::byte> bytes = bytes_of(tensor);
    const auto key = store.add(std::move(tensor));
    ASSERT_EQ(store.compress_idle(0ns).compressed, 1u) << to_string(format);
    const auto found = store.take(*key);
    ASSERT_THAT(found, is_ok());
    EXPECT_EQ(found->format(), format);
    EXPECT_EQ(bytes_of(*found), bytes) << to_string(format);
  }
  EXPECT_EQ(store.statistics().tensors, 0u);
  EXPECT_EQ(memory_.usage().allocated, 0u);
}

TEST_F(IdleTensorsTest, AViewIsKeptInOnePieceUnderItsId) {
  IdleTensors store(memory_);
  const Tensor whole = *smooth(memory_).reshape(shape_of({256, 256}));
  const Tensor view = *whole.transpose();
  const auto key = store.add(view);
  ASSERT_THAT(key, is_ok());
  ASSERT_EQ(store.compress_idle(0ns).compressed, 1u);
  const auto found = store.get(*key);
  EXPECT_EQ(found->id(), view.id());
  EXPECT_EQ(values_of(*found), values_of(view));
  // Half a block, in one piece already: the other half goes with it.
  const uint64_t before = memory_.usage().allocated;
  const auto half = store.add(*smooth(memory_).slice(0, 0, kElements / 2));
  EXPECT_EQ(memory_.usage().allocated, before + kBytes);
  EXPECT_EQ(store.compress_idle(0ns).in_use, 1u);  // the one that was found
  EXPECT_LT(memory_.usage().allocated, before + kBytes / 4);
  EXPECT_EQ(values_of(*store.get(*half))[kElements / 2 - 1], step_of(kElements / 2 - 1));
}

TEST_F(IdleTensorsTest, AreLeftAloneWhileTheyAreInUse) {
  IdleTensors store(memory_);
  Tensor copy = smooth(memory_);
  const auto key = store.add(copy);
  EXPECT_EQ(store.compress_idle(0ns).in_use, 1u);
  const Tensor part = *copy.slice(0, 5, 9);
  copy = Tensor();
  EXPECT_EQ(store.compress_idle(0ns).in_use, 1u);
  EXPECT_EQ(values_of(part)[0], 0.0f);
  const std::vector<float> values(16);
  const auto borrowed =
      store.add(*Tensor::borrow(std::as_bytes(std::span(values)), shape_of({16}), kF32, memory_));
  EXPECT_EQ(store.compress_idle(0ns).in_use, 2u);
  EXPECT_FALSE(store.is_compressed(*key));
  EXPECT_FALSE(store.is_compressed(*borrowed));
}

TEST_F(IdleTensorsTest, WhoWritesHasHisOwn) {
  IdleTensors store(memory_);
  const auto key = store.add(smooth(memory_));
  store.compress_idle(0ns);
  Tensor mine = *store.get(*key);
  mine.mutable_values<float>().value()[0] = 77.0f;
  EXPECT_EQ(values_of(*store.get(*key))[0], 0.0f);
  mine = Tensor();
  EXPECT_EQ(store.compress_idle(0ns).compressed, 1u);
  EXPECT_EQ(values_of(*store.get(*key))[0], 0.0f);
}

TEST_F(IdleTensorsTest, AWeakReferenceHasExpired) {
  IdleTensors store(memory_);
  Tensor tensor = smooth(memory_);
  const WeakTensor weak(tensor);
  const auto key = store.add(std::move(tensor));
  EXPECT_TRUE(weak.lock().has_value());
  store.compress_idle(0ns);
  EXPECT_TRUE(weak.expired());
  EXPECT_THAT(store.get(*key), is_ok());
}

TEST_F(IdleTensorsTest, WhatDoesNotShrinkIsTriedOnce) {
  IdleTensors store(memory_);
  const auto key = store.add(noise(memory_));
  EXPECT_EQ(store.compress_idle(0ns).incompressible, 1u);
  EXPECT_EQ(store.compress_idle(0ns).incompressible, 1u);
  EXPECT_EQ(store.statistics().compression.skipped_blocks, 1u);
  EXPECT_FALSE(store.is_compressed(*key));
  EXPECT_EQ(memory_.usage().allocated, kBytes);
}

TEST_F(IdleTensorsTest, TheLongestUnusedGoFirst) {
  IdleTensors store(memory_, {}, test_clock);
  std::array<IdleTensors::Key, 3> keys{};
  for (IdleTensors::Key& key : keys) {
    time_now += 100;
    key = *store.add(smooth(memory_));
  }
  time_now += 100;
  EXPECT_THAT(store.get(keys[0]), is_ok());
  // Ages: 0, 200, 100.
  EXPECT_EQ(store.compress_idle(201ns).compressed, 0u);
  EXPECT_EQ(store.compress_idle(200ns).compressed, 1u);
  EXPECT_TRUE(store.is_compressed(keys[1]));
  // Three looks at the clock are made before the first tensor, and the next would be after the time.
  time_step = 10;
  const IdleCompression part = store.compress_idle(0ns, 25ns);
  EXPECT_EQ(part.compressed, 1u);
  EXPECT_FALSE(part.finished);
  EXPECT_TRUE(store.is_compressed(keys[2]));
  EXPECT_FALSE(store.is_compressed(keys[0]));
}

TEST_F(IdleTensorsTest, NothingIsLostWhenRestoringFails) {
  LimitingResource limit(memory_, 8 * kBytes);
  IdleTensors store(limit);
  const Tensor expected = smooth(memory_);
  const auto key = store.add(smooth(limit));
  ASSERT_EQ(store.compress_idle(0ns).compressed, 1u);
  std::vector<Tensor> filler;
  for (Result<Tensor> t = Tensor::empty(shape_of({1 << 14}), kF32, limit); t;
       t = Tensor::empty(shape_of({1 << 14}), kF32, limit)) {
    filler.push_back(*t);
  }
  EXPECT_THAT(store.get(*key), fails_with(ErrorCode::kLimit));
  EXPECT_THAT(store.take(*key), fails_with(ErrorCode::kLimit));
  EXPECT_EQ(store.statistics().failed_restores, 2u);
  EXPECT_TRUE(store.is_compressed(*key));
  filler.clear();
  EXPECT_EQ(values_of(*store.get(*key)), values_of(expected));
}

TEST_F(IdleTensorsTest, ComeBackToTheirOwnResourceWithinItsLimit) {
  LimitingResource own(memory_, kBytes);
  IdleTensors store(memory_);
  const auto key = store.add(smooth(own));
  ASSERT_EQ(store.compress_idle(0ns).compressed, 1u);
  {
    const Tensor filler = *Tensor::empty(shape_of({kElements / 2}), kF32, own);
    EXPECT_THAT(store.get(*key), fails_with(ErrorCode::kLimit));
    EXPECT_TRUE(store.is_compressed(*key));
  }
  const auto found = store.get(*key);
  ASSERT_THAT(found, is_ok());
  EXPECT_EQ(found->resource(), &own);
  EXPECT_EQ(values_of(*found), values_of(smooth(memory_)));
  // Where there is no room for a copy in one piece.
  const Tensor transposed = *found->reshape(shape_of({256, 256}))->transpose();
  EXPECT_THAT(store.add(transposed), fails_with(ErrorCode::kLimit));
}

TEST_F(IdleTensorsTest, ALackOfMemoryAtAnyPointLeavesEachAsItWas) {
  FailingResource failing(memory_);
  IdleTensors store(failing);
  const Tensor expected = smooth(memory_);
  const auto key = store.add(smooth(failing));
  for (uint64_t number = 1;; ++number) {
    failing.set_plan({.number = number});
    const IdleCompression done = store.compress_idle(0ns);
    if (failing.failures() == 0) break;
    EXPECT_EQ(done.failed, 1u);
    EXPECT_FALSE(done.error.empty());
    EXPECT_FALSE(store.is_compressed(*key));
    ASSERT_LT(number, 100u);
  }
  ASSERT_TRUE(store.is_compressed(*key));
  for (uint64_t number = 1;; ++number) {
    failing.set_plan({.number = number});
    const auto found = store.get(*key);
    if (failing.failures() == 0) break;
    EXPECT_THAT(found, fails_with(ErrorCode::kOutOfMemory));
    EXPECT_TRUE(store.is_compressed(*key));
    ASSERT_LT(number, 100u);
  }
  EXPECT_EQ(values_of(*store.get(*key)), values_of(expected));
}

TEST_F(IdleTensorsTest, RefusesKeysThatAreNotThere) {
  IdleTensors store(memory_);
  const auto key = store.add(smooth(memory_));
  EXPECT_THAT(store.get(*key + 1), fails_with(ErrorCode::kNotFound));
  EXPECT_THAT(store.remove(*key), is_ok());
  EXPECT_THAT(store.remove(*key), fails_with(ErrorCode::kNotFound));
  EXPECT_THAT(store.take(*key), fails_with(ErrorCode::kNotFound));
  EXPECT_FALSE(store.is_compressed(*key));
  EXPECT_EQ(memory_.usage().allocated, 0u);
}

TEST_F(IdleTensorsTest, AreCompressedByACleanupUnderPressure) {
  IdleTensors store(memory_);
  auto manager = CleanupManager::create({.schedule = CleanupSchedule::kOff});
  ASSERT_THAT(manager, is_ok());
  ASSERT_THAT((*manager)->add("idle tensors", Device{}, store.cleanup_function(0ns)), is_ok());
  const auto key = store.add(smooth(memory_));
  EXPECT_TRUE((*manager)->clean_due().empty());
  EXPECT_FALSE(store.is_compressed(*key));
  (*manager)->set_pressure_source([] { return MemoryPressureLevel::kHigh; });
  const std::vector<CleanupReport> reports = (*manager)->clean_due();
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].strategy, "pressure");
  EXPECT_EQ(reports[0].bytes_freed, kBytes - store.statistics().stored_bytes);
  EXPECT_TRUE(store.is_compressed(*key));
  EXPECT_THAT((*manager)->remove("idle tensors"), is_ok());
}

// The store works while the pool waits for room; what it makes smaller goes elsewhere.
TEST_F(IdleTensorsTest, MakeRoomForAPoolThatRunsShort) {
  const auto pool = HybridMemoryPool::create({.limit = uint64_t{16} << 20, .idle_trim = 0ms});
  ASSERT_THAT(pool, is_ok());
  IdleTensors store(memory_);
  const auto id = (*pool)->add_reclaimer(
      {.priority = 0, .reclaim = [&](const OutOfMemory&) { store.compress_idle(0ns, 1s); }});
  std::vector<IdleTensors::Key> keys;
  // Three times as much as the pool holds.
  for (int i = 0; i < 24; ++i) {
    const auto tensor = Tensor::full(shape_of({1 << 19}), static_cast<float>(i), kF32, **pool);
    ASSERT_THAT(tensor, is_ok()) << i;
    keys.push_back(*store.add(*tensor));
  }
  EXPECT_GE(store.statistics().compressed_tensors, 16u);
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto found = store.get(keys[i]);
    ASSERT_THAT(found, is_ok()) << i;
    EXPECT_EQ(found->values<float>().value()[12345], static_cast<float>(i));
  }
  (*pool)->remove_reclaimer(id);
}

// What compressing takes comes from the pool that is short, which asks for more room again.
TEST_F(IdleTensorsTest, DoesNotStartAnewWithinItself) {
  const auto pool = HybridMemoryPool::create({.limit = uint64_t{16} << 20, .idle_trim = 0ms});
  ASSERT_THAT(pool, is_ok());
  IdleTensors store(**pool);
  size_t calls = 0;
  const auto id = (*pool)->add_reclaimer({.priority = 0, .reclaim = [&](const OutOfMemory&) {
                                            ++calls;
                                            store.compress_idle(0ns);
                                          }});
  for (;;) {
    auto tensor = Tensor::full(shape_of({1 << 18}), 1.0f, kF32, **pool);
    if (!tensor) break;
    ASSERT_THAT(store.add(std::move(*tensor)), is_ok());
    ASSERT_LT(calls, 1000u) << "each tensor starts over with all others";
    if (store.statistics().tensors > 40) break;
  }
  EXPECT_GT(calls, 0u);
  EXPECT_LT(calls, 1000u);
  (*pool)->remove_reclaimer(id);
}

TEST(IdleTensorsThreads, ReadWriteCompressAndForgetAtOnce) {
  SystemResource memory;
  {
    IdleTensors store(memory);
    std::array<IdleTensors::Key, 6> keys{};
    for (size_t i = 0; i < keys.size(); ++i) keys[i] = *store.add(smooth(memory, static_cast<float>(i)));
    std::atomic<int> wrong = 0;
    std::atomic<int> readers = 4;
    {
      std::vector<std::jthread> threads;
      for (size_t t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
          for (size_t round = 0; round < 60; ++round) {
            const size_t i = (round * 7 + t) % keys.size();
            auto tensor = store.get(keys[i]);
            const auto first = static_cast<float>(i);
            wrong +=
                !tensor || tensor->values<float>().value()[kElements - 1] != first + step_of(kElements - 1);
            if (tensor && round % 3 == 0) tensor->mutable_values<float>().value()[kElements - 1] = -1.0f;
            if (round % 10 == 9) {
              const auto own = store.add(smooth(memory));
              wrong += !own || !store.remove(*own);
            }
          }
          --readers;
        });
      }
      for (int t = 0; t < 2; ++t) {
        threads.emplace_back([&] {
          while (readers > 0) {
            wrong += store.compress_idle(0ns).failed != 0;
            static_cast<void>(store.statistics());
          }
        });
      }
    }
    EXPECT_EQ(wrong.load(), 0);
    store.compress_idle(0ns);
    EXPECT_EQ(store.statistics().compressed_tensors, keys.size());
    EXPECT_EQ(memory.usage().allocated, store.statistics().stored_bytes);
  }
  EXPECT_EQ(memory.usage().allocated, 0u);
}

}  // namespace
}  // namespace lobit
