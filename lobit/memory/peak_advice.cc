#include <algorithm>
#include <tuple>

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/memory/memory_tag.h"
#include "lobit/memory/peak_advice_internal.h"

namespace lobit::detail {

PeakAdvisor::PeakAdvisor(uint64_t peak_time_ns, uint64_t peak_bytes, uint64_t duration_ns, size_t tags)
    : peak_time_ns_(peak_time_ns),
      peak_bytes_(peak_bytes),
      duration_ns_(duration_ns),
      replaced_(tags),
      late_(tags),
      left_(tags) {}

void PeakAdvisor::Sum::add(const TracedBlock& block, uint64_t after_ns) {
  bytes += block.bytes;
  ++blocks;
  most_ns = std::max(most_ns, after_ns);
}

void PeakAdvisor::freed(const TracedBlock& block, uint32_t tag, uint64_t time_ns, const TracedBlock* longer) {
  const uint64_t before = peak_time_ns_ - block.time_ns;
  const uint64_t after = time_ns - peak_time_ns_;
  if (longer != nullptr && longer->lived_at_peak && longer->replaced >= Regrowth::kChain) {
    replaced_[tag].add(block);
  } else if (before > 0 && after <= duration_ns_ / 100 && after <= before / 10) {
    late_[tag].add(block, after);
  }
}

void PeakAdvisor::left(const TracedBlock& block, uint32_t tag) {
  const uint64_t before = peak_time_ns_ - block.time_ns;
  if (before > 0 && before >= duration_ns_ / 10) left_[tag].add(block);
}

std::vector<PeakAdvice> PeakAdvisor::advice(const std::vector<std::string>& tags, uint64_t committed) const {
  std::vector<PeakAdvice> all;
  const auto add = [&](uint64_t bytes, std::string text) {
    if (bytes > 0 && bytes >= peak_bytes_ / 100) all.push_back({bytes, std::move(text)});
  };
  for (size_t tag = 0; tag < tags.size(); ++tag) {
    const Sum& replaced = replaced_[tag];
    add(replaced.bytes,
        fmt::format("{} of {} in {} were being replaced by longer blocks, which were live, too: reserve "
                    "the whole length at once, or grow by pages",
                    format_bytes(replaced.bytes), tags[tag], format_blocks(replaced.blocks)));
    const Sum& late = late_[tag];
    add(late.bytes,
        fmt::format("{} of {} in {} had lived for long and were freed within {} after the peak: free "
                    "them before it, if they were used no more",
                    format_bytes(late.bytes), tags[tag], format_blocks(late.blocks),
                    format_ns(late.most_ns)));
    // Weights are there to stay.
    if (tags[tag] == memory_tag_name(MemoryTag::kWeights)) continue;
    const Sum& left = left_[tag];
    add(left.bytes, fmt::format("{} of {} in {} were allocated long before the peak and never freed: "
                                "they may be leaks",
                                format_bytes(left.bytes), tags[tag], format_blocks(left.blocks)));
  }
  if (committed > peak_bytes_) {
    add(committed - peak_bytes_,
        fmt::format("{} were committed beyond what was live, for rounding and gaps between blocks",
                    format_bytes(committed - peak_bytes_)));
  }
  std::ranges::sort(all, [](const PeakAdvice& a, const PeakAdvice& b) {
    return std::tie(b.bytes, a.text) < std::tie(a.bytes, b.text);
  });
  return all;
}

}  // namespace lobit::detail
