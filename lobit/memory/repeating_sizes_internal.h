// Sizes that a program asks for again and again, found in bounded memory by going through its allocations
// twice: FrequentSizes names every size that is asked for often, and some others; RepeatingSizes counts those
// exactly. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace lobit::detail {

// Blocks of one size that share a tag and a stack.
struct SizeKey {
  uint64_t bytes = 0;
  uint32_t tag = 0;
  uint32_t stack = 0;

  friend bool operator==(const SizeKey&, const SizeKey&) = default;
};

struct SizeKeyHash {
  size_t operator()(const SizeKey& key) const;
};

class FrequentSizes {
 public:
  static constexpr size_t kCandidates = 512;

  void allocated(const SizeKey& key);

  // Every key that is more than one in kCandidates + 1 of all allocations is among them. By no order.
  std::vector<SizeKey> candidates() const;

 private:
  // The counts of Misra and Gries: a key without one takes one from all others when there is no room.
  std::unordered_map<SizeKey, uint64_t, SizeKeyHash> counts_;
};

struct RepeatingSize {
  SizeKey key;
  uint64_t allocations = 0;
  uint64_t live = 0;
  uint64_t most_live = 0;
};

class RepeatingSizes {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  explicit RepeatingSizes(const std::vector<SizeKey>& candidates);

  // The place of this size, or kNone; for freed().
  uint32_t allocated(const SizeKey& key);
  void freed(uint32_t place) {
    if (place != kNone) --sizes_[place].live;
  }

  // Those that were allocated at least kOften times, at most kFew of them live at a time: most bytes in all
  // allocations first.
  std::vector<RepeatingSize> repeating() const;

  static constexpr uint64_t kOften = 100;
  static constexpr uint64_t kFew = 4;

 private:
  std::unordered_map<SizeKey, uint32_t, SizeKeyHash> places_;
  std::vector<RepeatingSize> sizes_;
};

}  // namespace lobit::detail
