// SpinMutex: a mutex for sections of some ten nanoseconds. Who finds it locked looks a few more times before
// it lets the system put it to sleep, which costs a thousand times as much.
#pragma once

#include <mutex>

namespace lobit::detail {

class SpinMutex {
 public:
  void lock() {
    for (int i = 0; i < kLooks; ++i) {
      if (mutex_.try_lock()) return;
      relax();
    }
    mutex_.lock();
  }
  bool try_lock() { return mutex_.try_lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  static constexpr int kLooks = 100;

  static void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  std::mutex mutex_;
};

}  // namespace lobit::detail
