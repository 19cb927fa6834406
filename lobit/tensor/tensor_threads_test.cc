// Tensors that share a block, each used by its own thread.
#include <algorithm>
#include <atomic>
#include <latch>
#include <optional>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/tensor/tensor.h"
#include "lobit/tensor/tensor_test_support.h"
#include "lobit/tensor/weak_tensor.h"

namespace lobit {
namespace {

constexpr int kThreads = 8;
constexpr size_t kElements = 64;

// Calls body(thread) on all threads at once.
template <typename Body>
void on_threads(Body body) {
  std::latch start(kThreads);
  std::vector<std::jthread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      start.arrive_and_wait();
      body(t);
    });
  }
}

bool all_are(const Tensor& tensor, float expected) {
  const std::span<const float> values = tensor.values<float>().value();
  return std::ranges::all_of(values, [expected](float v) { return v == expected; });
}

void write_all(Tensor& tensor, float value) {
  std::ranges::fill(std::span<float>(tensor.mutable_values<float>().value()), value);
}

TEST(TensorThreads, CopyReadWriteAndReferToOneBlock) {
  SystemResource memory;
  {
    const Tensor origin = *Tensor::ones(shape_of({kElements}), DType::kF32, memory);
    const WeakTensor origin_weak(origin);
    std::atomic<int> wrong = 0;
    on_threads([&](int thread) {
      const auto mine = static_cast<float>(thread + 2);
      for (int round = 0; round < 300; ++round) {
        Tensor copy = origin;
        WeakTensor weak = origin_weak;
        const std::optional<Tensor> locked = weak.lock();
        wrong += !locked || !all_are(*locked, 1.0f);
        wrong += !all_are(copy.slice(0, 8, 16).value(), 1.0f);
        write_all(copy, mine);
        const WeakTensor own(copy);
        write_all(copy, mine);
        wrong += !own.expired() || !all_are(copy, mine) || !all_are(origin, 1.0f);
      }
    });
    EXPECT_EQ(wrong.load(), 0);
    EXPECT_EQ(origin.metadata().owners, 1u);
  }
  EXPECT_EQ(memory.usage().allocated, 0u);
  EXPECT_EQ(memory.usage().allocations, memory.usage().deallocations);
}

// The writers drop their shares; who is left alone with the block writes in place. The last thread asks for
// shares as long as there are any.
TEST(TensorThreads, AShareIsNeverHandedOutOfABlockThatIsWrittenTo) {
  constexpr int kWriters = kThreads - 1;
  SystemResource memory;
  std::atomic<int> wrong = 0;
  for (int round = 0; round < 100; ++round) {
    std::vector<Tensor> tensors(kThreads);
    std::vector<WeakTensor> weak(kThreads);
    tensors[0] = *Tensor::zeros(shape_of({kElements}), DType::kF32, memory);
    for (int t = 0; t < kThreads; ++t) {
      if (t > 0 && t < kWriters) tensors[static_cast<size_t>(t)] = tensors[0];
      weak[static_cast<size_t>(t)] = WeakTensor(tensors[0]);
    }
    std::atomic<int> writers = kWriters;
    on_threads([&](int thread) {
      Tensor& own = tensors[static_cast<size_t>(thread)];
      const WeakTensor& reference = weak[static_cast<size_t>(thread)];
      const auto mine = static_cast<float>(thread + 1);
      if (thread < kWriters) {
        for (int write = 0; write < 20; ++write) {
          write_all(own, mine);
          std::this_thread::yield();
        }
        wrong += !all_are(own, mine);
        own = Tensor();
        --writers;
      } else {
        while (writers > 0) {
          const std::optional<Tensor> found = reference.lock();
          if (!found) break;
          wrong += !all_are(*found, 0.0f);
          std::this_thread::yield();
        }
      }
    });
    for (const WeakTensor& w : weak) wrong += !w.expired();
  }
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_EQ(memory.usage().allocated, 0u);
  EXPECT_EQ(memory.usage().allocations, memory.usage().deallocations);
}

TEST(TensorThreads, ManyReadOneObject) {
  SystemResource memory;
  const Tensor tensor = *Tensor::from_values(numbered(70 * 8), shape_of({8, 70}),
                                             ValueFormat{Encoding::kQ4_0, ScaleGroup::kRow}, memory);
  const std::vector<float> expected = values_of(tensor);
  std::atomic<int> wrong = 0;
  on_threads([&](int) {
    for (int round = 0; round < 20; ++round) {
      wrong += values_of(tensor) != expected;
      wrong += tensor.scales()->size() != 8 || tensor.bytes()->size() != tensor.size_bytes();
    }
  });
  EXPECT_EQ(wrong.load(), 0);
}

}  // namespace
}  // namespace lobit
