// StepPattern: which sizes a step of a program asks for, and whether the steps are alike. Records the open
// step; two complete steps in a row with the same sizes in the same order are a pattern that the next is
// expected to follow. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lobit/memory/block_size_advice.h"

namespace lobit::detail {

class StepPattern {
 public:
  void begin();
  // These two never throw.
  void allocated(size_t bytes) { record(static_cast<int64_t>(bytes)); }
  // Only of what the open step allocated.
  void freed(size_t bytes) { record(-static_cast<int64_t>(bytes)); }
  void end();

  bool repeats() const { return repeats_; }
  // How many blocks of each size the last complete step had alive at one time, by rising size.
  const std::vector<SizeCount>& peaks() const { return peaks_; }

 private:
  // A step of more events is not compared: it would cost more to remember than to serve. Nor is one for which
  // there is no memory.
  static constexpr size_t kMaxEvents = size_t{1} << 20;

  void record(int64_t event);
  bool same_sizes() const;
  void count_peaks();

  std::vector<int64_t> current_;  // bytes; negative when they were freed
  std::vector<int64_t> last_;
  std::vector<SizeCount> peaks_;
  bool comparable_ = true;  // all of the open step was recorded
  bool repeats_ = false;
};

}  // namespace lobit::detail
