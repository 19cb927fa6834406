// What the benchmark of the tensor pools compares: the pools with their default options over a
// HybridMemoryPool, that pool without them, and malloc. All of one face, of which TensorHandle is the common
// currency.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lobit/memory/adaptive_tensor_memory_pool.h"
#include "lobit/memory/hybrid_memory_pool.h"
#include "lobit/memory/tensor_memory_pool.h"

namespace lobit::bench {

// The value, or the end of the process.
template <class T>
T require(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "%s\n", result.error().message.c_str());
    std::exit(1);
  }
  return std::move(*result);
}

inline void require(const Status& status) {
  if (!status) {
    std::fprintf(stderr, "%s\n", status.error().message.c_str());
    std::exit(1);
  }
}

// Standard, pre-warmed and adaptive pools.
template <class Pool>
class PooledTensors {
 public:
  using Make = Result<std::unique_ptr<Pool>> (*)(MemoryResource&);
  explicit PooledTensors(Make make)
      : memory_(require(HybridMemoryPool::create())), pool_(require(make(*memory_))) {}

  TensorHandle allocate(size_t bytes, TensorUse use) {
    return require(pool_->allocate_tensor(0, bytes, {}, use));
  }
  void deallocate(const TensorHandle& tensor) { require(pool_->deallocate_tensor(tensor)); }
  void begin_step() { require(pool_->begin_step()); }
  void end_step() { require(pool_->end_step()); }
  // Bytes taken from the system at most.
  uint64_t peak_bytes() const { return memory_->usage().peak_committed; }
  // Of all tensors, the share that got a block that the pool had; below 0 where there is no such pool.
  double hit_rate() const;
  std::vector<std::string> recommendations() const;

 private:
  std::unique_ptr<HybridMemoryPool> memory_;
  std::unique_ptr<Pool> pool_;
};

template <>
inline double PooledTensors<TensorMemoryPool>::hit_rate() const {
  return pool_->performance_metrics().hit_rate();
}

template <>
inline double PooledTensors<AdaptiveTensorMemoryPool>::hit_rate() const {
  const TensorPoolMetrics standard = pool_->standard().performance_metrics();
  const TensorPoolMetrics prewarmed = pool_->prewarmed().performance_metrics();
  return TensorPoolMetrics::rate(standard.hits + prewarmed.hits,
                                 standard.allocations + prewarmed.allocations);
}

template <>
inline std::vector<std::string> PooledTensors<TensorMemoryPool>::recommendations() const {
  return {};
}

template <>
inline std::vector<std::string> PooledTensors<AdaptiveTensorMemoryPool>::recommendations() const {
  return pool_->recommendations();
}

// Blocks of a HybridMemoryPool.
class PlainBlocks {
 public:
  TensorHandle allocate(size_t bytes, TensorUse) {
    return {.data = require(memory_->allocate(bytes)), .bytes = bytes};
  }
  void deallocate(const TensorHandle& tensor) { require(memory_->deallocate(tensor.data, tensor.bytes)); }
  void begin_step() {}
  void end_step() {}
  uint64_t peak_bytes() const { return memory_->usage().peak_committed; }
  double hit_rate() const { return -1; }
  std::vector<std::string> recommendations() const { return {}; }

 private:
  std::unique_ptr<HybridMemoryPool> memory_ = require(HybridMemoryPool::create());
};

class MallocBlocks {
 public:
  TensorHandle allocate(size_t bytes, TensorUse) {
    void* const block = std::malloc(bytes);
    if (block == nullptr) std::abort();
    return {.data = block, .bytes = bytes};
  }
  void deallocate(const TensorHandle& tensor) { std::free(tensor.data); }
  void begin_step() {}
  void end_step() {}
  uint64_t peak_bytes() const { return 0; }  // malloc does not say
  double hit_rate() const { return -1; }
  std::vector<std::string> recommendations() const { return {}; }
};

// Calls visitor(make) where make() returns a new contestant; false when there is none of that name.
template <class Visitor>
bool visit_tensor_allocator(const std::string& name, Visitor&& visitor) {
  const auto visit = [&](auto make) {
    visitor(make);
    return true;
  };
  if (name == "adaptive") {
    return visit([] {
      return PooledTensors<AdaptiveTensorMemoryPool>(
          [](MemoryResource& memory) { return AdaptiveTensorMemoryPool::create(memory); });
    });
  }
  if (name == "standard") {
    return visit([] {
      return PooledTensors<TensorMemoryPool>(
          [](MemoryResource& memory) { return TensorMemoryPool::create(memory); });
    });
  }
  if (name == "pre-warmed") {
    return visit([] {
      return PooledTensors<TensorMemoryPool>(
          [](MemoryResource& memory) { return TensorMemoryPool::create_prewarmed(memory); });
    });
  }
  if (name == "hybrid pool") return visit([] { return PlainBlocks(); });
  if (name == "malloc") return visit([] { return MallocBlocks(); });
  return false;
}

}  // namespace lobit::bench
