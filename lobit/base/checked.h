// Arithmetic on sizes that come from files and users: the result, or nothing when it does not fit.
#pragma once

#include <concepts>
#include <optional>

namespace lobit {

template <std::integral T>
[[nodiscard]] constexpr std::optional<T> checked_add(T a, T b) {
  T sum{};
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

template <std::integral T>
[[nodiscard]] constexpr std::optional<T> checked_mul(T a, T b) {
  T product{};
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// `value` rounded up to a multiple of `unit` (> 0).
template <std::unsigned_integral T>
[[nodiscard]] constexpr std::optional<T> checked_round_up(T value, T unit) {
  const T rest = value % unit;
  return rest == 0 ? std::optional<T>(value) : checked_add<T>(value, unit - rest);
}

}  // namespace lobit
