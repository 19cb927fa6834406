#include "lobit/memory/commit_map.h"

#include <algorithm>
#include <bit>

#include "lobit/base/check.h"

namespace lobit::detail {
namespace {

// Splitting a huge page costs more than a few pages are worth.
constexpr uint32_t kLeastSplitPages = 16;

// Calls visit(word, mask) for the 64-page words that pages [first, first + count) of a unit touch.
template <typename Visit>
void for_each_word(uint32_t first, uint32_t count, const Visit& visit) {
  while (count > 0) {
    const uint32_t bit = first % 64;
    const uint32_t taken = std::min(count, 64 - bit);
    const uint64_t mask = (taken == 64 ? ~uint64_t{0} : (uint64_t{1} << taken) - 1) << bit;
    visit(first / 64, mask);
    first += taken;
    count -= taken;
  }
}

}  // namespace

Status CommitMap::create(VirtualMemory& memory, std::byte* base, uint32_t pages) {
  LOBIT_CHECK(pages % kPagesPerUnit == 0);
  memory_ = &memory;
  base_ = base;
  return units_.reserve(memory, pages / kPagesPerUnit);
}

// visit(unit, part): the part of `range` in each unit, in order.
template <typename Visit>
void CommitMap::for_each_unit(PageRange range, const Visit& visit) {
  while (range.count > 0) {
    const uint32_t unit = range.first / kPagesPerUnit;
    const uint32_t taken = std::min(range.count, (unit + 1) * kPagesPerUnit - range.first);
    visit(unit, PageRange{range.first, taken});
    range.first += taken;
    range.count -= taken;
  }
}

uint64_t CommitMap::missing(PageRange range, bool huge) const {
  const PageRange all = range;
  range = known(range);
  // Units that the map does not know yet hold nothing.
  uint32_t unknown = all.end() - range.end();
  if (huge && unknown != 0) {
    const uint32_t first = range.count == 0 ? all.first : range.end();
    unknown = (all.end() + kPagesPerUnit - 1) / kPagesPerUnit * kPagesPerUnit -
              first / kPagesPerUnit * kPagesPerUnit;
  }
  uint64_t pages = unknown;
  for_each_unit(range, [&](uint32_t unit, PageRange part) {
    if (units_[unit].state == State::kHuge) return;
    if (units_[unit].state == State::kNone) {
      pages += huge ? kPagesPerUnit : part.count;
      return;
    }
    pages += part.count - present(part);
  });
  return pages * kPageBytes;
}

Status CommitMap::commit(PageRange range, bool huge) {
  const uint64_t growth = missing(range, huge);
  if (growth == 0) return {};
  LOBIT_RETURN_IF_ERROR(make_accessible(range));
  PageRange fresh;  // neighbouring units that were empty are advised in one call
  for_each_unit(range, [&](uint32_t number, PageRange part) {
    Unit& unit = units_[number];
    if (unit.state == State::kNone) {
      unit.state = huge ? State::kHuge : State::kPages;
      unit.bits = {};
      if (fresh.count == 0) fresh.first = number * kPagesPerUnit;
      fresh.count = (number + 1) * kPagesPerUnit - fresh.first;
    } else if (fresh.count != 0) {
      advise(fresh, huge);
      fresh = {};
    }
    if (unit.state == State::kPages) {
      for_each_word(part.first % kPagesPerUnit, part.count,
                    [&](uint32_t word, uint64_t mask) { unit.bits[word] |= mask; });
    }
  });
  if (fresh.count != 0) advise(fresh, huge);
  committed_ += growth;
  peak_ = std::max(peak_, committed_);
  return {};
}

Status CommitMap::make_accessible(PageRange range) {
  const uint32_t last = (range.end() - 1) / kPagesPerUnit;
  if (!units_.ensure(last + 1)) {
    return fail(ErrorCode::kOutOfMemory, "pool: the system refused memory for the map of pages");
  }
  uint32_t unit = range.first / kPagesPerUnit;
  while (unit <= last) {
    if (units_[unit].accessible) {
      ++unit;
      continue;
    }
    uint32_t end = unit;
    while (end <= last && !units_[end].accessible) ++end;
    LOBIT_RETURN_IF_ERROR(
        memory_->make_accessible(base_ + unit * kHugePageBytes, (end - unit) * kHugePageBytes));
    while (unit < end) units_[unit++].accessible = true;
  }
  return {};
}

void CommitMap::advise(PageRange range, bool huge) {
  memory_->prefer_huge_pages(base_ + range.first * kPageBytes, range.count * kPageBytes, huge);
}

void CommitMap::give_back(PageRange range, bool splits) {
  memory_->discard(base_ + range.first * kPageBytes, range.count * kPageBytes, splits);
}

uint64_t CommitMap::discard(PageRange range, uint64_t most) {
  range = known(range);
  const uint64_t most_pages = most / kPageBytes;
  uint64_t pages = 0;
  PageRange whole;  // neighbouring whole units go back in one call
  for_each_unit(range, [&](uint32_t number, PageRange part) {
    if (units_[number].state == State::kHuge && part.count == kPagesPerUnit &&
        most_pages - pages >= kPagesPerUnit) {
      units_[number].state = State::kNone;
      pages += kPagesPerUnit;
      if (whole.count == 0) whole.first = part.first;
      whole.count = part.end() - whole.first;
      return;
    }
    if (whole.count != 0) give_back(whole, false);
    whole = {};
    pages += discard_in_unit(number, part, most_pages - pages);
  });
  if (whole.count != 0) give_back(whole, false);
  committed_ -= pages * kPageBytes;
  return pages * kPageBytes;
}

// The part of one unit that is not a whole huge page.
uint64_t CommitMap::discard_in_unit(uint32_t number, PageRange part, uint64_t most_pages) {
  Unit& unit = units_[number];
  if (unit.state == State::kNone) return 0;
  const bool splits = unit.state == State::kHuge;
  if (splits) {
    if (part.count < kLeastSplitPages || part.count > most_pages) return 0;
    // Without the advice the system would make the unit one huge page again behind our back.
    advise({number * kPagesPerUnit, kPagesPerUnit}, false);
    unit.state = State::kPages;
    unit.bits.fill(~uint64_t{0});
  }
  const uint64_t pages = present(part);
  if (pages == 0 || pages > most_pages) return 0;
  for_each_word(part.first % kPagesPerUnit, part.count,
                [&](uint32_t word, uint64_t mask) { unit.bits[word] &= ~mask; });
  give_back(part, splits);
  if (std::ranges::all_of(unit.bits, [](uint64_t bits) { return bits == 0; })) unit.state = State::kNone;
  return pages;
}

// Committed pages of a part of a unit that counts single pages.
uint64_t CommitMap::present(PageRange part) const {
  const Unit& unit = units_[part.first / kPagesPerUnit];
  uint64_t pages = 0;
  for_each_word(part.first % kPagesPerUnit, part.count, [&](uint32_t word, uint64_t mask) {
    pages += static_cast<uint64_t>(std::popcount(unit.bits[word] & mask));
  });
  return pages;
}

uint32_t CommitMap::prefix(PageRange range) const {
  const PageRange all = known(range);
  uint32_t page = all.first;
  while (page < all.end()) {
    const Unit& unit = units_[page / kPagesPerUnit];
    if (unit.state == State::kNone) break;
    if (unit.state == State::kHuge) {
      page = (page / kPagesPerUnit + 1) * kPagesPerUnit;
      continue;
    }
    const uint32_t bit = page % 64;
    const auto present = static_cast<uint32_t>(std::countr_one(unit.bits[page % kPagesPerUnit / 64] >> bit));
    page += std::min(present, 64 - bit);
    if (present < 64 - bit) break;
  }
  return std::min(page, all.end()) - all.first;
}

// The part of `range` in units that the map has records of.
PageRange CommitMap::known(PageRange range) const {
  const auto end = static_cast<uint32_t>(std::min<size_t>(range.end(), units_.size() * kPagesPerUnit));
  range.count = end > range.first ? end - range.first : 0;
  return range;
}

}  // namespace lobit::detail
