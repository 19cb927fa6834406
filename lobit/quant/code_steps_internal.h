// The steps that codes take as the inverse scale grows, packed and sorted: what the solvers of
// QuantizeMethod::kExact sweep over. Pure functions on memory of the caller. Not installed.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace lobit::detail {

// A step of the code of value `index`, below 2^24, to `code`, ordered by the inverse scale at which it
// happens.
inline uint64_t step_at(float inverse, size_t index, int code) {
  return uint64_t{std::bit_cast<uint32_t>(inverse)} << 32 | index << 8 | static_cast<unsigned>(code);
}
inline float inverse_of(uint64_t step) {
  return std::bit_cast<float>(static_cast<uint32_t>(step >> 32));
}
inline size_t index_of(uint64_t step) {
  return step >> 8 & 0xFFFFFF;
}
inline int code_of(uint64_t step) {
  return static_cast<int>(step & 0xFF);
}

// Sorts the first `count` steps, with as much room again behind them, and returns where the sorted ones are.
std::span<const uint64_t> sort_steps(std::span<uint64_t> workspace, size_t count);

}  // namespace lobit::detail
