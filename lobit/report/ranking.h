// The orders in which reports list things; ties never depend on the sort. Internal to report.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <utility>
#include <vector>

namespace lobit::detail {

// The entries of `sums` with the largest measure(value) first, equal ones in the order of their keys.
template <typename Key, typename Value, typename Measure>
std::vector<std::pair<Key, Value>> largest_first(const std::map<Key, Value>& sums, Measure measure) {
  std::vector<std::pair<Key, Value>> rows(sums.begin(), sums.end());
  std::sort(rows.begin(), rows.end(), [&measure](const auto& a, const auto& b) {
    const auto left = measure(a.second);
    const auto right = measure(b.second);
    return left != right ? left > right : a.first < b.first;
  });
  return rows;
}

// The tensors with the lowest measured SQNR, at most `count`, the worst first and equal ones in their order
// in `tensors`. Those without error (infinite) are left out.
template <typename Tensor>
std::vector<const Tensor*> lowest_sqnr(const std::vector<Tensor>& tensors, size_t count) {
  std::vector<const Tensor*> measured;
  for (const Tensor& tensor : tensors) {
    const bool has_error = tensor.sqnr_db && !std::isnan(*tensor.sqnr_db) && *tensor.sqnr_db != HUGE_VAL;
    if (has_error) measured.push_back(&tensor);
  }
  std::sort(measured.begin(), measured.end(), [](const Tensor* a, const Tensor* b) {
    return *a->sqnr_db != *b->sqnr_db ? *a->sqnr_db < *b->sqnr_db : a < b;
  });
  measured.resize(std::min(measured.size(), count));
  return measured;
}

}  // namespace lobit::detail
