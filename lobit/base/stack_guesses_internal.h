// StackGuesses: which layouts a stack may have, by what is known of it without a walk. Whoever asks verifies
// them, so they may be wrong, or lost when others push them out. Any thread may call; nothing locks.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace lobit::detail {

class StackGuesses {
 public:
  // The first layout that was added with this key and for which `is_it` holds; 0: none. A thread that finds a
  // number sees what was written before it was added.
  template <typename Predicate>
  uint32_t find(uint64_t key, Predicate is_it) const {
    for (const auto& place : sets_[key >> (64 - kSetBits)]) {
      const uint64_t word = place.load(std::memory_order_acquire);
      if (word >> 32 == (key & kTagMask) && is_it(static_cast<uint32_t>(word)))
        return static_cast<uint32_t>(word);
    }
    return 0;
  }

  void add(uint64_t key, uint32_t layout) {
    auto& set = sets_[key >> (64 - kSetBits)];
    const uint64_t word = (key & kTagMask) << 32 | layout;
    for (auto& place : set) {
      const uint64_t old = place.load(std::memory_order_relaxed);
      if (old == word) return;
      if (old != 0) continue;
      place.store(word, std::memory_order_release);
      return;
    }
    // Any but in turn: of stacks that take turns, one more than there are places, each would push out the
    // next.
    set[next_.fetch_add(1, std::memory_order_relaxed) * 0x9e3779b9u >> (32 - kWayBits)].store(
        word, std::memory_order_release);
  }

 private:
  static constexpr uint32_t kSetBits = 11;
  static constexpr uint32_t kWayBits = 2;
  static constexpr uint64_t kTagMask = UINT32_MAX;

  alignas(64) std::array<std::array<std::atomic<uint64_t>, 1u << kWayBits>, 1u << kSetBits> sets_{};
  alignas(64) std::atomic<uint32_t> next_{0};
};

}  // namespace lobit::detail
