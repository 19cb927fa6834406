// ScopedFpEnv puts the calling thread's floating-point unit into the state that lobit's bytes are defined by
// (round to nearest even, subnormals kept, no traps) and restores the caller's state at the end of the scope.
// Held by every public entry that computes, and by every worker thread.
#pragma once

#include <cstdint>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace lobit {

class ScopedFpEnv {
 public:
#if defined(__SSE__)
  ScopedFpEnv() : saved_(_mm_getcsr()) {
    if (saved_ != kDefault) _mm_setcsr(kDefault);
  }
  ~ScopedFpEnv() {
    if (saved_ != kDefault) _mm_setcsr(saved_);
  }
#elif defined(__aarch64__)
  ScopedFpEnv() : saved_(__builtin_aarch64_get_fpcr()) {
    if (saved_ != 0) __builtin_aarch64_set_fpcr(0);
  }
  ~ScopedFpEnv() {
    if (saved_ != 0) __builtin_aarch64_set_fpcr(saved_);
  }
#endif
  ScopedFpEnv(const ScopedFpEnv&) = delete;
  ScopedFpEnv& operator=(const ScopedFpEnv&) = delete;

#if defined(__SSE__)
 private:
  static constexpr uint32_t kDefault = 0x1F80;  // all exceptions masked, nearest even, no FTZ, no DAZ
  uint32_t saved_;
#elif defined(__aarch64__)
 private:
  uint32_t saved_;
#endif
};

}  // namespace lobit
