#include "lobit/base/fast_clock.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace lobit::detail {

#if defined(__x86_64__)

namespace {

constexpr uint64_t kMeasuredNs = 200'000;

bool is_counter_invariant() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  constexpr unsigned kPowerManagement = 0x80000007;
  constexpr unsigned kInvariantCounter = 1u << 8;
  return __get_cpuid(kPowerManagement, &a, &b, &c, &d) != 0 && (d & kInvariantCounter) != 0;
}

struct Reading {
  uint64_t tick = 0;
  uint64_t ns = 0;
};

// Both clocks at one moment: of some tries the one that took the least time, because a thread may be put
// aside between the two.
Reading read_both() {
  constexpr int kTries = 8;
  Reading best;
  uint64_t best_ticks = UINT64_MAX;
  for (int i = 0; i < kTries; ++i) {
    const uint64_t before = __rdtsc();
    const uint64_t ns = steady_nanoseconds();
    const uint64_t ticks = __rdtsc() - before;
    if (ticks >= best_ticks) continue;
    best_ticks = ticks;
    best = {before + ticks / 2, ns};
  }
  return best;
}

}  // namespace

TickRate measure_tick_rate() {
  if (!is_counter_invariant()) return {};
  const Reading first = read_both();
  Reading last;
  do {
    last = read_both();
  } while (last.ns - first.ns < kMeasuredNs);
  if (last.tick <= first.tick) return {};
  const double ns_per_tick =
      static_cast<double>(last.ns - first.ns) / static_cast<double>(last.tick - first.tick);
  return {first.tick, first.ns, static_cast<uint64_t>(ns_per_tick * 0x1p32)};
}

#else

TickRate measure_tick_rate() {
  return {};
}

#endif

}  // namespace lobit::detail
