// TimeBudget: how long work that goes in steps may take. Who works asks after each step whether the time is
// up, so the work takes at most a step longer. A plain value; copy it freely between threads.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace lobit {

// Of the system's steady clock.
inline uint64_t steady_nanoseconds() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

class TimeBudget {
 public:
  using Clock = uint64_t (*)();  // rising nanoseconds

  // From now on; nanoseconds::max() is never spent.
  explicit TimeBudget(std::chrono::nanoseconds budget, Clock clock = steady_nanoseconds)
      : clock_(clock),
        budget_(static_cast<uint64_t>(std::max<int64_t>(budget.count(), 0))),
        start_(clock()) {}

  bool is_spent() const { return left() == std::chrono::nanoseconds::zero(); }
  std::chrono::nanoseconds left() const {
    if (budget_ == kUnlimited) return std::chrono::nanoseconds::max();
    const uint64_t passed = clock_() - start_;
    return std::chrono::nanoseconds(passed < budget_ ? budget_ - passed : 0);
  }

 private:
  static constexpr uint64_t kUnlimited = static_cast<uint64_t>(std::chrono::nanoseconds::max().count());

  Clock clock_;
  uint64_t budget_;  // nanoseconds
  uint64_t start_;
};

}  // namespace lobit
