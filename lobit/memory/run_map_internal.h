// RunMap: which runs of an arena's units are free. Knows numbers of units, never touches the arena, so the
// arena may lie on any device. Free runs hang in lists by length (two-level segregated lists), and neighbours
// that are free are always one run. Freeing takes constant time, and so does allocating, except when no list
// of longer runs has any: then the list of runs of about that length is walked. Not thread-safe.
//
// One cell of 8 bytes for every unit, of which only those at the borders of runs hold something:
//   live run:          first {kLive | units, tag}
//   free run, 2 units+: first {kFree | units, next}, last {kFree | units, previous}
//   free run of 1:      {kSingle | next, previous}
// Every other cell is kInside, so an address in the middle of a run is never mistaken for a run.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>

#include "lobit/base/result.h"

namespace lobit::detail {

class RunMap {
 public:
  static constexpr uint32_t kMaxUnits = (uint32_t{1} << 30) - 1;

  // All of 1..kMaxUnits units are one free run. kOutOfMemory when the system has no room for the cells; no
  // later call allocates.
  static Result<RunMap> create(uint32_t units);

  // The first of `units` >= 1 free units, which are then live; nothing when no free run is that long. Takes
  // from the first run of its own list, whose lengths differ by less than 1/16, if that is long enough, and
  // otherwise from the first of the next list that has one.
  std::optional<uint32_t> allocate(uint32_t units);
  // Frees what lies before `first` and behind `first` + `units` of the live run at `start`.
  void cut(uint32_t start, uint32_t first, uint32_t units);
  void free(uint32_t start);

  bool is_live(uint32_t unit) const { return kind(unit) == kLive; }
  uint32_t live_units(uint32_t start) const { return cells_[start].a & kValueMask; }
  // What the owner remembers about a live run.
  uint32_t tag(uint32_t start) const { return cells_[start].b; }
  void set_tag(uint32_t start, uint32_t tag) { cells_[start].b = tag; }

  uint32_t largest_free() const;

 private:
  struct Cell {
    uint32_t a;
    uint32_t b;
  };
  struct FreeCells {
    void operator()(Cell* cells) const { std::free(cells); }
  };
  enum Kind : uint32_t { kInside = 0, kLive = 1U << 30, kFree = 2U << 30, kSingle = 3U << 30 };
  static constexpr uint32_t kValueMask = kMaxUnits;
  static constexpr uint32_t kNone = kMaxUnits;
  // 16 lists for each doubling of the length; lengths under 32 have a list each.
  static constexpr uint32_t kSubBits = 4;
  static constexpr uint32_t kLists = (30 - kSubBits + 1) << kSubBits;
  static constexpr uint32_t kWords = (kLists + 63) / 64;

  RunMap(Cell* cells, uint32_t units) : cells_(cells), units_(units) { heads_.fill(kNone); }

  Kind kind(uint32_t unit) const { return Kind{cells_[unit].a & ~kValueMask}; }
  uint32_t free_units(uint32_t start) const {
    return kind(start) == kSingle ? 1 : cells_[start].a & kValueMask;
  }
  uint32_t next(uint32_t start) const {
    return kind(start) == kSingle ? cells_[start].a & kValueMask : cells_[start].b;
  }
  uint32_t previous(uint32_t start) const {
    return kind(start) == kSingle ? cells_[start].b : cells_[start + free_units(start) - 1].b;
  }
  void set_next(uint32_t start, uint32_t next);
  void set_previous(uint32_t start, uint32_t previous);

  static uint32_t list_of(uint32_t units);
  uint32_t find(uint32_t units) const;
  uint32_t first_list_from(uint32_t list) const;
  void insert_free(uint32_t start, uint32_t units);
  void remove_free(uint32_t start);
  void insert_merged(uint32_t start, uint32_t units);

  std::unique_ptr<Cell[], FreeCells> cells_;
  uint32_t units_;
  std::array<uint32_t, kLists> heads_;
  std::array<uint64_t, kWords> filled_{};  // a bit for each list that is not empty
};

}  // namespace lobit::detail
