// FastClock: rising time for who reads it at every call, at half the price of the system's steady
// clock: the processor's time stamp counter, where it runs at one rate on all cores (x86 with an invariant
// counter), else steady_nanoseconds(). Any thread.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include "lobit/base/export.h"
#include "lobit/base/time_budget.h"

namespace lobit {

namespace detail {

// Nanoseconds are (ticks - first_tick) * rate / 2^32 + first_ns.
struct TickRate {
  uint64_t first_tick = 0;
  uint64_t first_ns = 0;
  uint64_t rate = 0;  // 0: the counter is of no use
};

// Measured against the steady clock for a fifth of a millisecond, to about 1 in 10,000.
LOBIT_API TickRate measure_tick_rate();

// Of the process; the first call measures.
inline const TickRate& tick_rate() {
  static const TickRate kRate = measure_tick_rate();
  return kRate;
}

}  // namespace detail

// Nanoseconds since a moment that is the same for the whole process. They part from the steady clock's by up
// to 1 in 10,000, and two cores may differ by some: compare them with each other only.
class FastClock {
 public:
  FastClock() : rate_(detail::tick_rate()) {}

  uint64_t nanoseconds() const {
#if defined(__x86_64__)
    if (rate_.rate != 0) [[likely]] {
      __extension__ using Wide = unsigned __int128;
      const Wide scaled = Wide{__rdtsc() - rate_.first_tick} * rate_.rate;
      return static_cast<uint64_t>(scaled >> 32) + rate_.first_ns;
    }
#endif
    return steady_nanoseconds();
  }

 private:
  detail::TickRate rate_;
};

}  // namespace lobit
