#include <algorithm>
#include <map>
#include <new>

#include "lobit/memory/step_pattern_internal.h"

namespace lobit::detail {

void StepPattern::begin() {
  current_.clear();
  comparable_ = true;
}

void StepPattern::record(int64_t event) {
  if (!comparable_) return;
  comparable_ = current_.size() < kMaxEvents;
  if (!comparable_) return;
  try {
    current_.push_back(event);
  } catch (const std::bad_alloc&) {
    comparable_ = false;
  }
}

void StepPattern::end() {
  if (!comparable_) {
    current_.clear();
    last_.clear();
    peaks_.clear();
    repeats_ = false;
    return;
  }
  repeats_ = same_sizes();
  count_peaks();
  std::swap(last_, current_);
}

bool StepPattern::same_sizes() const {
  // When blocks are freed may differ from step to step: destructors run late, threads overtake each other.
  auto a = last_.begin();
  auto b = current_.begin();
  const auto skip_frees = [](auto& at, auto end) {
    at = std::find_if(at, end, [](int64_t e) { return e > 0; });
  };
  for (bool any = false;; any = true, ++a, ++b) {
    skip_frees(a, last_.end());
    skip_frees(b, current_.end());
    if (a == last_.end() || b == current_.end()) return any && a == last_.end() && b == current_.end();
    if (*a != *b) return false;
  }
}

void StepPattern::count_peaks() {
  struct Count {
    uint64_t live = 0;
    uint64_t peak = 0;
  };
  std::map<int64_t, Count> counts;
  for (const int64_t event : current_) {
    Count& count = counts[event < 0 ? -event : event];
    event < 0 ? --count.live : ++count.live;
    count.peak = std::max(count.peak, count.live);
  }
  peaks_.clear();
  for (const auto& [bytes, count] : counts) peaks_.push_back({static_cast<size_t>(bytes), count.peak});
}

}  // namespace lobit::detail
