// What programs do with an allocator, each as a class with run(pairs): makes that many pairs of allocate and
// deallocate and returns the processor seconds they took. A warm start is part of the constructor: the blocks
// that stay live during the runs exist when it returns. Every block has its first 8 bytes written.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "bench/kernels/sampling.h"
#include <sched.h>

namespace lobit::bench {

enum class Fill { kFirstBytes, kWholeBlock };

// A class of blocks that a pattern works on, and how many of them it may hold at once.
struct Load {
  size_t bytes;
  size_t live;
};

template <Fill fill>
inline void write_block(void* block, size_t bytes, uint64_t value) {
  if constexpr (fill == Fill::kWholeBlock) {
    std::memset(block, static_cast<int>(value & 0xFF), bytes);
    asm volatile("" : : "r"(block) : "memory");  // or the compiler drops the fill of a block that is freed
  } else {
    *static_cast<volatile uint64_t*>(block) = value;
  }
}

// Puts the calling thread on the `index`-th core it may use, if there are that many: threads that took turns
// on one core would pass blocks through its cache.
inline void use_core(int index) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0 || CPU_COUNT(&allowed) <= index) return;
  size_t core = 0;
  while (!CPU_ISSET(core, &allowed) || index-- > 0) ++core;
  cpu_set_t chosen;
  CPU_ZERO(&chosen);
  CPU_SET(core, &chosen);
  sched_setaffinity(0, sizeof(chosen), &chosen);
}

// allocate, write, deallocate.
template <class Allocator, Fill fill>
class PairPattern {
 public:
  PairPattern(Allocator& allocator, Load load) : allocator_(allocator), bytes_(load.bytes) {}

  double run(size_t pairs) {
    const double start = thread_seconds();
    for (size_t i = 0; i < pairs; ++i) {
      void* const block = allocator_.allocate(bytes_);
      write_block<fill>(block, bytes_, i);
      allocator_.deallocate(block, bytes_);
    }
    return thread_seconds() - start;
  }

 private:
  Allocator& allocator_;
  size_t bytes_;
};

// Allocates all blocks, then frees them in reverse order. Runs whole bursts: run() scales to `pairs`.
template <class Allocator>
class BurstPattern {
 public:
  BurstPattern(Allocator& allocator, Load load)
      : allocator_(allocator), bytes_(load.bytes), blocks_(load.live) {}

  double run(size_t pairs) {
    const size_t bursts = (pairs + blocks_.size() - 1) / blocks_.size();
    const double start = thread_seconds();
    for (size_t burst = 0; burst < bursts; ++burst) {
      for (void*& block : blocks_) {
        block = allocator_.allocate(bytes_);
        write_block<Fill::kFirstBytes>(block, bytes_, burst);
      }
      for (size_t i = blocks_.size(); i-- > 0;) allocator_.deallocate(blocks_[i], bytes_);
    }
    const double pairs_made = static_cast<double>(bursts * blocks_.size());
    return (thread_seconds() - start) * static_cast<double>(pairs) / pairs_made;
  }

 private:
  Allocator& allocator_;
  size_t bytes_;
  std::vector<void*> blocks_;
};

// Frees one of the live blocks, chosen at random, and allocates another in its place.
template <class Allocator, Fill fill>
class ReplacePattern {
 public:
  ReplacePattern(Allocator& allocator, Load load, uint64_t seed = 1)
      : allocator_(allocator), bytes_(load.bytes), blocks_(load.live), random_(seed) {
    for (void*& block : blocks_) {
      block = allocator_.allocate(bytes_);
      write_block<fill>(block, bytes_, 0);
    }
  }
  ReplacePattern(const ReplacePattern&) = delete;
  ReplacePattern& operator=(const ReplacePattern&) = delete;
  ~ReplacePattern() {
    for (void* block : blocks_) allocator_.deallocate(block, bytes_);
  }

  double run(size_t pairs) {
    const double start = thread_seconds();
    for (size_t i = 0; i < pairs; ++i) {
      void*& block = blocks_[next_index()];
      allocator_.deallocate(block, bytes_);
      block = allocator_.allocate(bytes_);
      write_block<fill>(block, bytes_, i);
    }
    return thread_seconds() - start;
  }

 private:
  size_t next_index() {
    random_ = random_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<size_t>((random_ >> 32) * blocks_.size() >> 32);
  }

  Allocator& allocator_;
  size_t bytes_;
  std::vector<void*> blocks_;
  uint64_t random_;
};

// This thread and another replace blocks of their own at the same time. Processor seconds of one thread: the
// mean of both.
template <class Allocator>
class ParallelPattern {
 public:
  ParallelPattern(Allocator& allocator, Load load)
      : mine_(allocator, half(load), 1), other_([this, &allocator, load] { work(allocator, half(load)); }) {
    use_core(0);
    ready_.wait(false);
  }
  ParallelPattern(const ParallelPattern&) = delete;
  ParallelPattern& operator=(const ParallelPattern&) = delete;
  ~ParallelPattern() { order(kStop); }

  double run(size_t pairs) {
    done_ = false;
    order(pairs);
    const double mine = mine_.run(pairs);
    done_.wait(false);
    return (mine + other_seconds_) / 2;
  }

 private:
  static constexpr size_t kStop = SIZE_MAX;
  using Replace = ReplacePattern<Allocator, Fill::kFirstBytes>;

  static Load half(Load load) { return {load.bytes, std::max<size_t>(load.live / 2, 1)}; }

  void order(size_t pairs) {
    order_ = pairs;
    order_.notify_one();
  }

  void work(Allocator& allocator, Load load) {
    use_core(1);
    Replace blocks(allocator, load, 2);
    ready_ = true;
    ready_.notify_one();
    for (;;) {
      order_.wait(0);
      const size_t pairs = order_.exchange(0);
      if (pairs == kStop) return;
      other_seconds_ = blocks.run(pairs);
      done_ = true;
      done_.notify_one();
    }
  }

  std::atomic<size_t> order_ = 0;
  std::atomic<bool> ready_ = false;
  std::atomic<bool> done_ = false;
  double other_seconds_ = 0;  // read after done_
  Replace mine_;
  std::jthread other_;
};

// This thread allocates, another one reads and frees. Blocks travel in batches, of which both threads have
// some at hand; only the work on a batch is timed, not the waiting. Processor seconds of both threads
// together.
template <class Allocator>
class HandOverPattern {
 public:
  HandOverPattern(Allocator& allocator, Load load)
      : allocator_(allocator),
        bytes_(load.bytes),
        batch_(std::clamp<size_t>(load.live / kBatches, 1, 256)),
        consumer_([this] { consume(); }) {
    use_core(0);
    for (auto& batch : batches_) batch.resize(batch_);
  }
  HandOverPattern(const HandOverPattern&) = delete;
  HandOverPattern& operator=(const HandOverPattern&) = delete;
  ~HandOverPattern() { stop_ = true; }

  double run(size_t pairs) {
    const size_t batches = (pairs + batch_ - 1) / batch_;
    const double consumed_before = consumer_seconds_;
    double seconds = 0;
    for (size_t i = 0; i < batches; ++i) {
      const size_t number = produced_.load(std::memory_order_relaxed);
      while (number - consumed_.load(std::memory_order_acquire) == kBatches) std::this_thread::yield();
      const double start = thread_seconds();
      for (void*& block : batches_[number % kBatches]) {
        block = allocator_.allocate(bytes_);
        write_block<Fill::kFirstBytes>(block, bytes_, number);
      }
      seconds += thread_seconds() - start;
      produced_.store(number + 1, std::memory_order_release);
    }
    while (consumed_.load(std::memory_order_acquire) != produced_) std::this_thread::yield();
    seconds += consumer_seconds_ - consumed_before - 2 * clock_seconds_ * static_cast<double>(batches);
    return std::max(seconds, 0.0) * static_cast<double>(pairs) / static_cast<double>(batches * batch_);
  }

 private:
  static constexpr size_t kBatches = 4;

  void consume() {
    use_core(1);
    for (size_t number = 0;; ++number) {
      while (produced_.load(std::memory_order_acquire) == number) {
        if (stop_) return;
        std::this_thread::yield();
      }
      const double start = thread_seconds();
      for (void* block : batches_[number % kBatches]) {
        static_cast<void>(*static_cast<volatile uint64_t*>(block));
        allocator_.deallocate(block, bytes_);
      }
      consumer_seconds_ += thread_seconds() - start;
      consumed_.store(number + 1, std::memory_order_release);
    }
  }

  // What reading the clock adds to the time between two readings.
  static double clock_cost() {
    double least = 1;
    for (int i = 0; i < 100; ++i) {
      const double start = thread_seconds();
      least = std::min(least, thread_seconds() - start);
    }
    return least;
  }

  Allocator& allocator_;
  size_t bytes_;
  size_t batch_;
  const double clock_seconds_ = clock_cost();
  std::array<std::vector<void*>, kBatches> batches_;
  std::atomic<size_t> produced_ = 0;
  std::atomic<size_t> consumed_ = 0;
  std::atomic<bool> stop_ = false;
  double consumer_seconds_ = 0;  // read when consumed_ has caught up
  std::jthread consumer_;
};

}  // namespace lobit::bench
