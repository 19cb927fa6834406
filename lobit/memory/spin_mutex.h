// SpinMutex: a mutex for sections of some ten nanoseconds. Who finds it locked looks a few more times before
// it lets the system put it to sleep, which costs a thousand times as much.
#pragma once

#include <atomic>
#include <cstdint>

namespace lobit::detail {

class SpinMutex {
 public:
  void lock() {
    if (!try_lock()) [[unlikely]]
      lock_slowly();
  }
  bool try_lock() {
    uint32_t expected = kFree;
    return state_.compare_exchange_strong(expected, kLocked, std::memory_order_acquire,
                                          std::memory_order_relaxed);
  }
  void unlock() {
    if (state_.exchange(kFree, std::memory_order_release) == kAwaited) [[unlikely]]
      state_.notify_one();
  }

 private:
  static constexpr uint32_t kFree = 0;
  static constexpr uint32_t kLocked = 1;
  static constexpr uint32_t kAwaited = 2;  // locked, and somebody may be asleep
  static constexpr int kLooks = 100;

  static void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  void lock_slowly() {
    for (int i = 0; i < kLooks; ++i) {
      relax();
      if (state_.load(std::memory_order_relaxed) == kFree && try_lock()) return;
    }
    // Whoever comes from here leaves the mark, for it cannot know whether it was the only one.
    while (state_.exchange(kAwaited, std::memory_order_acquire) != kFree) {
      state_.wait(kAwaited, std::memory_order_relaxed);
    }
  }

  std::atomic<uint32_t> state_{kFree};
};

}  // namespace lobit::detail
