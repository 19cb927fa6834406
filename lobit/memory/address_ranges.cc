#include <algorithm>
#include <functional>
#include <iterator>
#include <span>

#include "lobit/base/checked.h"
#include "lobit/memory/address_ranges_internal.h"

namespace lobit::detail {
namespace {

constexpr unsigned kLeastRowBits = 12;

// Addresses between a range and the next one.
uint64_t gap_after(const AddressRange& range, const AddressRange& next) {
  return next.first - range.last - 1;
}

// The gap that is the `count`th widest of those between the ranges; 0 when there are fewer.
uint64_t width_of_gap(std::span<const AddressRange> ranges, size_t count) {
  std::vector<uint64_t> gaps;
  for (size_t i = 1; i < ranges.size(); ++i) gaps.push_back(gap_after(ranges[i - 1], ranges[i]));
  if (gaps.size() < count) return 0;
  const auto place = gaps.begin() + static_cast<std::ptrdiff_t>(count) - 1;
  std::ranges::nth_element(gaps, place, std::greater<>());
  return *place;
}

// Calls visit(number of a row) for each row that a range touches, ascending.
template <typename Visit>
void for_rows(std::span<const AddressRange> ranges, unsigned row_bits, Visit visit) {
  uint64_t next = 0;
  for (const AddressRange& range : ranges) {
    const uint64_t last = range.last >> row_bits;
    for (uint64_t row = std::max(range.first >> row_bits, next); row <= last; ++row) {
      if (!visit(row)) return;
    }
    next = last + 1;
  }
}

bool fits(std::span<const AddressRange> ranges, unsigned row_bits) {
  size_t rows = 0;
  for_rows(ranges, row_bits, [&rows](uint64_t) { return ++rows <= kMostArenaRows; });
  return rows <= kMostArenaRows;
}

ArenaRows rows_of(std::span<const AddressRange> ranges) {
  ArenaRows rows{.row_bits = kLeastRowBits};
  while (!fits(ranges, rows.row_bits)) ++rows.row_bits;
  for_rows(ranges, rows.row_bits, [&rows](uint64_t row) {
    const uint64_t first = row << rows.row_bits;
    const uint64_t length = uint64_t{1} << rows.row_bits;
    if (!rows.first_of.empty() && first - rows.first_of.back() > length) {
      rows.gaps.push_back(
          {static_cast<uint32_t>(rows.first_of.size()), first - rows.first_of.back() - length});
    }
    rows.first_of.push_back(first);
    return true;
  });
  return rows;
}

}  // namespace

void AddressRanges::add(uint64_t address, uint64_t bytes) {
  const uint64_t last = checked_add(address, bytes - 1).value_or(UINT64_MAX);
  if (!last_of_.empty() && recent_.first <= address && last <= recent_.last) return;
  auto next = last_of_.upper_bound(address);
  uint64_t first = address;
  uint64_t end = last;
  if (next != last_of_.begin()) {
    const auto before = std::prev(next);
    if (before->second >= address || before->second + 1 == address) {
      first = before->first;
      end = std::max(end, before->second);
      next = last_of_.erase(before);
    }
  }
  while (next != last_of_.end() && (next->first <= end || next->first == end + 1)) {
    end = std::max(end, next->second);
    next = last_of_.erase(next);
  }
  last_of_.emplace_hint(next, first, end);
  recent_ = {first, end};
  // So seldom that closing costs nothing beside the allocations that made the ranges.
  if (last_of_.size() > 4 * kMost) close_gaps();
}

std::vector<AddressRange> AddressRanges::ranges() const {
  std::vector<AddressRange> all;
  for (const auto& [first, last] : last_of_) all.push_back({first, last});
  if (all.size() <= kMost) return all;
  // Of equally wide gaps the first ones stay.
  const uint64_t least = width_of_gap(all, kMost - 1);
  size_t open = 1;
  for (size_t i = 1; i < all.size(); ++i) {
    if (gap_after(all[i - 1], all[i]) > least) ++open;
  }
  std::vector<AddressRange> joined = {all.front()};
  for (size_t i = 1; i < all.size(); ++i) {
    const uint64_t gap = gap_after(joined.back(), all[i]);
    const bool stays = gap > least || (gap == least && open < kMost);
    if (gap == least && stays) ++open;
    if (stays) {
      joined.push_back(all[i]);
    } else {
      joined.back().last = all[i].last;
    }
  }
  return joined;
}

void AddressRanges::close_gaps() {
  const std::vector<AddressRange> joined = ranges();
  last_of_.clear();
  for (const AddressRange& range : joined) last_of_.emplace_hint(last_of_.end(), range.first, range.last);
  recent_ = joined.front();
}

std::vector<ArenaRows> arena_rows(const std::vector<AddressRange>& ranges) {
  const uint64_t least = std::max(width_of_gap(ranges, kMostArenas - 1), kArenaGap);
  std::vector<ArenaRows> arenas;
  size_t begin = 0;
  for (size_t i = 1; i <= ranges.size(); ++i) {
    const bool cut = i == ranges.size() ||
                     (gap_after(ranges[i - 1], ranges[i]) >= least && arenas.size() + 1 < kMostArenas);
    if (!cut) continue;
    arenas.push_back(rows_of(std::span(ranges).subspan(begin, i - begin)));
    begin = i;
  }
  return arenas;
}

}  // namespace lobit::detail
