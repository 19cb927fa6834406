#include "lobit/memory/trace_rules.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "lobit/base/checked.h"
#include "lobit/memory/memory_resource.h"

namespace lobit::detail {
namespace {

Status expect_zero(std::string_view field, uint64_t value) {
  if (value == 0) return {};
  return fail(ErrorCode::kCorrupt, fmt::format("expected {} 0, found {}", field, value));
}

}  // namespace

Status TraceRules::apply(TraceEvent& event) {
  if (events_ == limits_.max_events) {
    return fail(ErrorCode::kLimit, fmt::format("expected at most {} events", limits_.max_events),
                {.available = limits_.max_events});
  }
  ++events_;
  if (event.time_ns < last_time_) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("expected a time of at least {} ns, found {}", last_time_, event.time_ns));
  }
  last_time_ = event.time_ns;
  event.slot = 0;
  switch (event.op) {
    case TraceOp::kAllocate:
      return allocate(event);
    case TraceOp::kFree:
      return free(event);
    case TraceOp::kTrim:
    case TraceOp::kUsage:
      LOBIT_RETURN_IF_ERROR(expect_zero("alignment", event.alignment));
      if (event.tag != 0) return fail(ErrorCode::kCorrupt, "expected the tag untagged, found another");
      LOBIT_RETURN_IF_ERROR(expect_zero("stack", event.stack));
      [[fallthrough]];
    case TraceOp::kRefuse:
      LOBIT_RETURN_IF_ERROR(expect_zero("address", event.address));
      return expect_zero("block", event.block);
  }
  return fail(ErrorCode::kCorrupt, "expected one of the five operations");
}

Status TraceRules::allocate(TraceEvent& event) {
  if (event.block <= last_id_) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("expected a block above {}, the last one, found {}", last_id_, event.block));
  }
  if (event.bytes == 0) return fail(ErrorCode::kCorrupt, "expected at least 1 byte, found 0");
  if (!std::has_single_bit(event.alignment) || event.alignment > kMaxAlignment) {
    return fail(ErrorCode::kCorrupt, fmt::format("expected as alignment a power of two up to {}, found {}",
                                                 kMaxAlignment, event.alignment));
  }
  const std::optional<uint64_t> live_bytes = checked_add(live_bytes_, event.bytes);
  if (!live_bytes.has_value()) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("expected live blocks of less than 2^64 bytes, found {} more than {}",
                            event.bytes, live_bytes_));
  }
  if (live_blocks_ == std::min<uint64_t>(limits_.max_live_blocks, UINT32_MAX)) {
    return fail(ErrorCode::kLimit, fmt::format("expected at most {} live blocks", live_blocks_),
                {.required = live_blocks_ + 1, .available = live_blocks_});
  }
  if (free_slots_.empty()) {
    event.slot = slots_++;
  } else {
    event.slot = free_slots_.back();
    free_slots_.pop_back();
  }
  blocks_.push_back({event.block, event.bytes, event.address, event.slot,
                     static_cast<uint8_t>(std::countr_zero(event.alignment)), event.tag, true});
  last_id_ = event.block;
  live_bytes_ = *live_bytes;
  peak_live_bytes_ = std::max(peak_live_bytes_, live_bytes_);
  ++live_blocks_;
  return {};
}

Status TraceRules::free(TraceEvent& event) {
  const auto found = std::ranges::lower_bound(blocks_, event.block, {}, &Block::id);
  if (found == blocks_.end() || found->id != event.block || !found->live) {
    return fail(ErrorCode::kCorrupt, fmt::format("expected a live block, found {}, which {}", event.block,
                                                 event.block > last_id_ || event.block == 0
                                                     ? "was never allocated"
                                                     : "was freed before or never allocated"));
  }
  const uint64_t alignment = uint64_t{1} << found->alignment_log2;
  if (found->bytes != event.bytes || alignment != event.alignment) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("expected block {} with {} bytes aligned to {}, found {} "
                            "aligned to {}",
                            event.block, found->bytes, alignment, event.bytes, event.alignment));
  }
  if (found->address != event.address || found->tag != event.tag) {
    return fail(
        ErrorCode::kCorrupt,
        fmt::format("expected block {} with its tag and the address {}, found {}{}", event.block,
                    found->address, event.address, found->tag == event.tag ? "" : " and another tag"));
  }
  event.slot = found->slot;
  found->live = false;
  free_slots_.push_back(found->slot);
  live_bytes_ -= event.bytes;
  --live_blocks_;
  if (blocks_.size() > 2 * live_blocks_) std::erase_if(blocks_, [](const Block& b) { return !b.live; });
  return {};
}

}  // namespace lobit::detail
