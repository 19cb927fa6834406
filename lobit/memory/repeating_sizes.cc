#include <algorithm>
#include <iterator>
#include <tuple>

#include "lobit/memory/repeating_sizes_internal.h"

namespace lobit::detail {
namespace {

// SplitMix64's: every bit of the key decides.
uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

}  // namespace

// Sizes that a stranger chose to collide cost a walk over all kCandidates, and no more.
size_t SizeKeyHash::operator()(const SizeKey& key) const {
  return static_cast<size_t>(mixed(mixed(key.bytes) + (uint64_t{key.tag} << 32) + key.stack));
}

void FrequentSizes::allocated(const SizeKey& key) {
  if (const auto found = counts_.find(key); found != counts_.end()) {
    ++found->second;
  } else if (counts_.size() < kCandidates) {
    counts_.emplace(key, 1);
  } else {
    // (Predicates of std::erase_if may not count.)
    for (auto count = counts_.begin(); count != counts_.end();) {
      count = --count->second == 0 ? counts_.erase(count) : std::next(count);
    }
  }
}

std::vector<SizeKey> FrequentSizes::candidates() const {
  std::vector<SizeKey> keys;
  keys.reserve(counts_.size());
  for (const auto& [key, count] : counts_) keys.push_back(key);
  return keys;
}

RepeatingSizes::RepeatingSizes(const std::vector<SizeKey>& candidates) {
  for (const SizeKey& key : candidates) {
    places_.emplace(key, static_cast<uint32_t>(sizes_.size()));
    sizes_.push_back({.key = key});
  }
}

uint32_t RepeatingSizes::allocated(const SizeKey& key) {
  const auto found = places_.find(key);
  if (found == places_.end()) return kNone;
  RepeatingSize& size = sizes_[found->second];
  ++size.allocations;
  size.most_live = std::max(size.most_live, ++size.live);
  return found->second;
}

std::vector<RepeatingSize> RepeatingSizes::repeating() const {
  std::vector<RepeatingSize> found;
  std::ranges::copy_if(sizes_, std::back_inserter(found), [](const RepeatingSize& size) {
    return size.allocations >= kOften && size.most_live <= kFew;
  });
  const auto order = [](const RepeatingSize& size) {
    // As far as doubles are exact, and the same everywhere.
    const double all = static_cast<double>(size.key.bytes) * static_cast<double>(size.allocations);
    return std::tuple(-all, size.key.bytes, size.key.tag, size.key.stack);
  };
  std::ranges::sort(found, {}, order);
  return found;
}

}  // namespace lobit::detail
