// Medians of interleaved runs. On a shared machine the speed drifts over seconds, so the contestants of one
// case take turns: every round runs each of them once, and a drift hits all alike.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>

namespace lobit::bench {

struct Contestant {
  std::string name;
  std::function<void()> run;
  double seconds = 0;  // of one call; the result
};

struct Sampling {
  size_t rounds = 9;
  double sample_seconds = 0.004;  // a sample repeats the call until it lasts about this long
};

// Fills in `seconds` of every contestant: the median over the rounds. One untimed call each comes first; it
// warms caches and sets the number of calls in a sample.
void sample_in_turns(std::span<Contestant> contestants, const Sampling& sampling);

// Processor time of this thread in seconds, which time lost to other programs does not lengthen.
double thread_seconds();

}  // namespace lobit::bench
