// What the benchmark of the tensor pools runs: tensors of one size, cold and then warm, and three workloads.
// Every tensor has one byte of each page written. Times are of the wall clock, less what reading it takes,
// since single calls are too short for the processor's.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lobit/memory/tensor_memory_pool.h"

namespace lobit::bench {

class StopWatch {
 public:
  void start() { start_ = now(); }
  double elapsed_ns() const { return std::max(now() - start_ - cost(), 0.0); }

 private:
  static double now() {
    return static_cast<double>(std::chrono::steady_clock::now().time_since_epoch() /
                               std::chrono::nanoseconds(1));
  }
  // The least time between two readings.
  static double cost() {
    static const double kCost = [] {
      double least = 1e9;
      for (int i = 0; i < 1000; ++i) {
        const double start = now();
        least = std::min(least, now() - start);
      }
      return least;
    }();
    return kCost;
  }

  double start_ = 0;
};

class RandomIndex {
 public:
  size_t below(size_t bound) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<size_t>((state_ >> 32) * bound >> 32);
  }

 private:
  uint64_t state_ = 1;
};

inline void touch(const TensorHandle& tensor) {
  volatile char* const bytes = static_cast<char*>(tensor.data);
  for (size_t i = 0; i < tensor.bytes; i += 4096) bytes[i] = 1;
}

// Nanoseconds, one of each tensor.
struct ColdTimes {
  double creation = 0;         // of the pool itself, with all that it takes ahead
  double first = 0;            // to allocate and touch the first tensor: what the pool takes from the system
  std::vector<double> others;  // the same of those that follow, all of them alive
};
struct WarmTimes {
  std::vector<double> pairs;    // to free one and allocate another
  std::vector<double> touched;  // and to touch it
};

inline constexpr size_t kLiveTensors = 16;

template <class Allocator>
std::vector<TensorHandle> run_cold(Allocator& allocator, size_t bytes, ColdTimes& times) {
  std::vector<TensorHandle> tensors;
  StopWatch watch;
  for (size_t i = 0; i < kLiveTensors; ++i) {
    watch.start();
    tensors.push_back(allocator.allocate(bytes, TensorUse::kOrdinary));
    touch(tensors.back());
    if (i == 0) {
      times.first = watch.elapsed_ns();
    } else {
      times.others.push_back(watch.elapsed_ns());
    }
  }
  return tensors;
}

// One tensor freed and another allocated in its place.
template <class Allocator>
class WarmRun {
 public:
  WarmRun(Allocator& allocator, std::vector<TensorHandle>& tensors)
      : allocator_(allocator), tensors_(tensors) {}

  // Fewer samples when they would take longer than that many nanoseconds, but always one.
  WarmTimes run(size_t samples, double most_ns) {
    WarmTimes times;
    times.pairs.reserve(samples);
    times.touched.reserve(samples);
    for (double spent = 0; times.pairs.size() < samples && (spent == 0 || spent < most_ns);) {
      TensorHandle& tensor = tensors_[random_.below(tensors_.size())];
      const size_t bytes = tensor.bytes;
      watch_.start();
      allocator_.deallocate(tensor);
      tensor = allocator_.allocate(bytes, TensorUse::kOrdinary);
      times.pairs.push_back(watch_.elapsed_ns());
      touch(tensor);
      times.touched.push_back(watch_.elapsed_ns());
      spent += times.touched.back();
    }
    return times;
  }

 private:
  Allocator& allocator_;
  std::vector<TensorHandle>& tensors_;
  RandomIndex random_;
  StopWatch watch_;
};

// Runs steps of a made-up program on an allocator. What it keeps from step to step lives as long as this.
template <class Allocator>
class Workload {
 public:
  explicit Workload(Allocator& allocator) : allocator_(allocator) {}
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;
  ~Workload() {
    for (const TensorHandle& tensor : kept_) allocator_.deallocate(tensor);
  }

  // Nanoseconds of each allocation and of each deallocation, in turn with nothing else.
  std::vector<double> run(const std::string& name, size_t steps) {
    times_.reserve(steps * 256);  // so that it takes no memory while the allocator is measured
    for (size_t step = 0; step < steps; ++step) {
      allocator_.begin_step();
      if (name == "decode") layers(8);
      if (name == "prefill") layers(128 + random_.below(897));
      if (name == "mixed") mixed();
      allocator_.end_step();
    }
    return std::move(times_);
  }

 private:
  TensorHandle allocate(size_t bytes, TensorUse use) {
    watch_.start();
    const TensorHandle tensor = allocator_.allocate(bytes, use);
    times_.push_back(watch_.elapsed_ns());
    touch(tensor);
    return tensor;
  }

  void deallocate(const TensorHandle& tensor) {
    watch_.start();
    allocator_.deallocate(tensor);
    times_.push_back(watch_.elapsed_ns());
  }

  // The tensors of 16 layers of a model of hidden size 1024 for so many tokens.
  void layers(size_t tokens) {
    constexpr std::array<size_t, 8> kWidths = {2048, 2048, 2048, 2048, 8192, 8192, 8192, 2048};
    for (int layer = 0; layer < 16; ++layer) {
      std::array<TensorHandle, kWidths.size()> tensors;
      for (size_t i = 0; i < kWidths.size(); ++i) {
        tensors[i] = allocate(tokens * kWidths[i], TensorUse::kTemporary);
        if (i >= 3) deallocate(tensors[i - 3]);
      }
      for (size_t i = kWidths.size() - 3; i < kWidths.size(); ++i) deallocate(tensors[i]);
    }
  }

  // 64 tensors from 1 KiB to 16 MiB live; each step replaces 16 of them.
  void mixed() {
    for (int i = 0; i < 16; ++i) {
      const size_t bytes = (size_t{1} << (10 + random_.below(14))) + random_.below(1024);
      const TensorHandle tensor = allocate(bytes, TensorUse::kOrdinary);
      if (kept_.size() < 64) {
        kept_.push_back(tensor);
      } else {
        deallocate(std::exchange(kept_[random_.below(kept_.size())], tensor));
      }
    }
  }

  Allocator& allocator_;
  std::vector<TensorHandle> kept_;
  std::vector<double> times_;
  RandomIndex random_;
  StopWatch watch_;
};

}  // namespace lobit::bench
