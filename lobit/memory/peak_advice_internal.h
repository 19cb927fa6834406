// PeakAdvisor: which blocks of the peak need not have been live then, as far as a trace tells. Each block
// counts once. Owned by what draws a profile, which calls it for each event in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lobit/memory/memory_patterns_internal.h"
#include "lobit/memory/memory_profile.h"
#include "lobit/memory/traced_block_internal.h"

namespace lobit::detail {

class PeakAdvisor {
 public:
  PeakAdvisor(uint64_t peak_time_ns, uint64_t peak_bytes, uint64_t duration_ns, size_t tags);

  // A block that lived at the peak is freed, after it. `longer`: the block that replaced it, or nullptr.
  void freed(const TracedBlock& block, uint32_t tag, uint64_t time_ns, const TracedBlock* longer);
  // A block that lived at the peak lives at the end.
  void left(const TracedBlock& block, uint32_t tag);

  // What concerns at least 1 % of the peak: most bytes first. `committed`: at the peak, 0 when unknown.
  std::vector<PeakAdvice> advice(const std::vector<std::string>& tags, uint64_t committed) const;

 private:
  // Blocks of one tag for one reason.
  struct Sum {
    uint64_t bytes = 0;
    uint64_t blocks = 0;
    uint64_t most_ns = 0;  // that one of them lived on after the peak

    void add(const TracedBlock& block, uint64_t after_ns = 0);
  };

  uint64_t peak_time_ns_;
  uint64_t peak_bytes_;
  uint64_t duration_ns_;
  std::vector<Sum> replaced_;  // old blocks whose longer ones were live, too
  std::vector<Sum> late_;      // old blocks that were freed soon after the peak
  std::vector<Sum> left_;      // old blocks that were never freed
};

}  // namespace lobit::detail
