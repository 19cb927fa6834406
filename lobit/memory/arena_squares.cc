#include <algorithm>
#include <utility>

#include "lobit/base/checked.h"
#include "lobit/memory/arena_squares_internal.h"

namespace lobit::detail {
namespace {

// What is less of a square is what rounding left of blocks that are gone.
constexpr double kLeastShare = 1e-9;

uint8_t square_of(double share) {
  if (share < kLeastShare) return 0;
  return static_cast<uint8_t>(std::clamp(share * 255 + 0.5, 1.0, 255.0));
}

}  // namespace

ArenaSquares::ArenaSquares(std::vector<ArenaRows> arenas, uint64_t duration_ns, size_t tags)
    : duration_ns_(duration_ns),
      column_ns_((duration_ns - 1) / kMostColumns + 1),
      columns_(static_cast<size_t>((duration_ns - 1) / column_ns_ + 1)) {
  for (ArenaRows& rows : arenas) arenas_.push_back({std::move(rows), std::vector<Steps>(tags)});
}

void ArenaSquares::lived(uint64_t address, uint64_t bytes, uint32_t tag, uint64_t from_ns,
                         uint64_t until_ns) {
  if (from_ns >= until_ns) return;
  const uint64_t last = checked_add(address, bytes - 1).value_or(UINT64_MAX);
  for (Arena& arena : arenas_) {
    const std::vector<uint64_t>& first_of = arena.rows.first_of;
    const uint64_t length = uint64_t{1} << arena.rows.row_bits;
    const auto after = std::ranges::upper_bound(first_of, address);
    auto row = static_cast<size_t>(after - first_of.begin());
    if (row > 0) --row;
    for (; row < first_of.size() && first_of[row] <= last; ++row) {
      const uint64_t begin = std::max(first_of[row], address);
      const uint64_t end = std::min(first_of[row] + (length - 1), last);
      if (begin > end) continue;
      Steps& steps = arena.steps_of_tag[tag];
      if (steps.empty()) steps.resize(first_of.size() * (columns_ + 2));
      const double inside = static_cast<double>(end - begin) + 1;
      add_row(steps.data() + row * (columns_ + 2), inside, from_ns, until_ns);
    }
  }
}

void ArenaSquares::add_row(double* steps, double bytes, uint64_t from_ns, uint64_t until_ns) const {
  const auto add = [steps, bytes](uint64_t column, uint64_t more_ns, uint64_t less_ns) {
    steps[column] += bytes * static_cast<double>(more_ns) - bytes * static_cast<double>(less_ns);
  };
  const uint64_t first = from_ns / column_ns_;
  const uint64_t last = until_ns / column_ns_;
  if (first == last) {
    add(first, until_ns - from_ns, 0);
    add(first + 1, 0, until_ns - from_ns);
    return;
  }
  const uint64_t head = column_ns_ - from_ns % column_ns_;
  const uint64_t tail = until_ns % column_ns_;
  add(first, head, 0);
  add(first + 1, column_ns_, head);
  add(last, tail, column_ns_);
  add(last + 1, 0, tail);
}

uint64_t ArenaSquares::length_of(size_t column) const {
  return column + 1 < columns_ ? column_ns_ : duration_ns_ - column_ns_ * (columns_ - 1);
}

ArenaMap ArenaSquares::map_of(const Arena& arena) const {
  const size_t rows = arena.rows.first_of.size();
  ArenaMap map{.first_address = arena.rows.first_of.front(),
               .row_bytes = uint64_t{1} << arena.rows.row_bits,
               .column_ns = column_ns_,
               .rows = static_cast<uint32_t>(rows),
               .columns = static_cast<uint32_t>(columns_),
               .live = std::vector<uint8_t>(rows * columns_),
               .tag = std::vector<uint8_t>(rows * columns_),
               .gaps = arena.rows.gaps};
  std::vector<double> most(rows * columns_);
  std::vector<double> all(rows * columns_);
  for (size_t tag = 0; tag < arena.steps_of_tag.size(); ++tag) {
    const Steps& steps = arena.steps_of_tag[tag];
    if (steps.empty()) continue;
    for (size_t row = 0; row < rows; ++row) {
      double sum = 0;
      for (size_t column = 0; column < columns_; ++column) {
        sum += steps[row * (columns_ + 2) + column];
        const size_t square = row * columns_ + column;
        all[square] += sum;
        if (sum <= most[square]) continue;
        most[square] = sum;
        map.tag[square] = static_cast<uint8_t>(tag);
      }
    }
  }
  for (size_t row = 0; row < rows; ++row) {
    for (size_t column = 0; column < columns_; ++column) {
      const size_t square = row * columns_ + column;
      const double full = static_cast<double>(map.row_bytes) * static_cast<double>(length_of(column));
      map.live[square] = square_of(all[square] / full);
      if (map.live[square] == 0) map.tag[square] = 0;
    }
  }
  return map;
}

std::vector<ArenaMap> ArenaSquares::maps() const {
  std::vector<ArenaMap> maps;
  for (const Arena& arena : arenas_) maps.push_back(map_of(arena));
  return maps;
}

}  // namespace lobit::detail
