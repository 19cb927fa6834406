// Relaxed<T>: a value that threads may read while its owner writes it, at the price of a plain one. What they
// read says nothing about other values; it is for records that are checked before they are believed.
#pragma once

#include <atomic>

namespace lobit::detail {

template <typename T>
class Relaxed {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): it stands where a T stood
  operator T() const { return value_.load(std::memory_order_relaxed); }
  // NOLINTNEXTLINE(misc-unconventional-assign-operator): as std::atomic's
  T operator=(T value) {
    value_.store(value, std::memory_order_relaxed);
    return value;
  }

 private:
  std::atomic<T> value_{};
};

}  // namespace lobit::detail
