#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "lobit/base/check.h"
#include "lobit/memory/run_map_internal.h"

namespace lobit::detail {

Result<RunMap> RunMap::create(uint32_t units) {
  LOBIT_CHECK(units >= 1 && units <= kMaxUnits);
  // calloc, because the system gives large zeroed memory page by page as it is touched, and a map of few long
  // runs touches little.
  auto* cells = static_cast<Cell*>(std::calloc(units, sizeof(Cell)));
  if (cells == nullptr) {
    return fail(ErrorCode::kOutOfMemory,
                fmt::format("arena: the system refused {} bytes for its map", units * sizeof(Cell)),
                {.required = units * sizeof(Cell)});
  }
  RunMap map(cells, units);
  map.insert_free(0, units);
  return map;
}

std::optional<uint32_t> RunMap::allocate(uint32_t units) {
  if (units > units_) return std::nullopt;
  const uint32_t start = find(units);
  if (start == kNone) return std::nullopt;
  const uint32_t found = free_units(start);
  remove_free(start);
  if (found > units) insert_free(start + units, found - units);
  cells_[start] = {kLive | units, 0};
  return start;
}

void RunMap::cut(uint32_t start, uint32_t first, uint32_t units) {
  const uint32_t end = start + live_units(start);
  cells_[start].a = kInside;
  cells_[first] = {kLive | units, 0};
  if (first > start) insert_merged(start, first - start);
  if (end > first + units) insert_merged(first + units, end - first - units);
}

void RunMap::free(uint32_t start) {
  const uint32_t units = live_units(start);
  cells_[start].a = kInside;
  insert_merged(start, units);
}

uint32_t RunMap::largest_free() const {
  for (uint32_t word = kWords; word-- > 0;) {
    if (filled_[word] == 0) continue;
    const uint32_t list = word * 64 + 63 - static_cast<uint32_t>(std::countl_zero(filled_[word]));
    if (list < (2U << kSubBits)) return free_units(heads_[list]);  // one length in all of the list
    uint32_t largest = 0;
    for (uint32_t run = heads_[list]; run != kNone; run = next(run)) {
      largest = std::max(largest, free_units(run));
    }
    return largest;
  }
  return 0;
}

void RunMap::set_next(uint32_t start, uint32_t next) {
  if (kind(start) == kSingle) {
    cells_[start].a = kSingle | next;
  } else {
    cells_[start].b = next;
  }
}

void RunMap::set_previous(uint32_t start, uint32_t previous) {
  cells_[kind(start) == kSingle ? start : start + free_units(start) - 1].b = previous;
}

uint32_t RunMap::list_of(uint32_t units) {
  if (units < (1U << kSubBits)) return units;
  const uint32_t shift = static_cast<uint32_t>(std::bit_width(units)) - 1 - kSubBits;
  return (shift << kSubBits) + (units >> shift);
}

uint32_t RunMap::find(uint32_t units) const {
  // The list that also holds shorter runs fits best, if its first run is long enough.
  const uint32_t own = list_of(units);
  const uint32_t first = heads_[own];
  if (first == kNone || free_units(first) < units) {
    // Every run of the lists behind it is long enough.
    const uint32_t list = first_list_from(own + 1);
    if (list < kLists) return heads_[list];
  }
  // Walked to its end before the arena counts as exhausted.
  for (uint32_t run = first; run != kNone; run = next(run)) {
    if (free_units(run) >= units) return run;
  }
  return kNone;
}

uint32_t RunMap::first_list_from(uint32_t list) const {
  for (uint32_t word = list / 64; word < kWords; ++word) {
    uint64_t bits = filled_[word];
    if (word == list / 64) bits &= ~uint64_t{0} << (list % 64);
    if (bits != 0) return word * 64 + static_cast<uint32_t>(std::countr_zero(bits));
  }
  return kLists;
}

void RunMap::insert_free(uint32_t start, uint32_t units) {
  const uint32_t list = list_of(units);
  const uint32_t head = heads_[list];
  if (units == 1) {
    cells_[start] = {kSingle | head, kNone};
  } else {
    cells_[start] = {kFree | units, head};
    cells_[start + units - 1] = {kFree | units, kNone};
  }
  if (head != kNone) set_previous(head, start);
  heads_[list] = start;
  filled_[list / 64] |= uint64_t{1} << (list % 64);
}

void RunMap::remove_free(uint32_t start) {
  const uint32_t units = free_units(start);
  const uint32_t before = previous(start);
  const uint32_t behind = next(start);
  if (behind != kNone) set_previous(behind, before);
  if (before != kNone) {
    set_next(before, behind);
  } else {
    const uint32_t list = list_of(units);
    heads_[list] = behind;
    if (behind == kNone) filled_[list / 64] &= ~(uint64_t{1} << (list % 64));
  }
  cells_[start].a = kInside;
  cells_[start + units - 1].a = kInside;
}

void RunMap::insert_merged(uint32_t start, uint32_t units) {
  const uint32_t end = start + units;
  if (end < units_ && kind(end) >= kFree) {
    units += free_units(end);
    remove_free(end);
  }
  // The cell before is the last of its run: it holds the length too, when it is free.
  if (start > 0 && kind(start - 1) >= kFree) {
    const uint32_t before = kind(start - 1) == kSingle ? 1 : cells_[start - 1].a & kValueMask;
    start -= before;
    units += before;
    remove_free(start);
  }
  insert_free(start, units);
}

}  // namespace lobit::detail
