#include <algorithm>
#include <new>

#include "lobit/base/check.h"
#include "lobit/memory/tensor_block_table_internal.h"

namespace lobit::detail {

uint32_t TensorBlockTable::find(size_t least, size_t most, Stream stream) const {
  // Whatever fits in one list is smaller than anything in the next.
  for (size_t list = eighth_of(least); list <= eighth_of(most); ++list) {
    const uint32_t best = best_of_list(list, least, most, stream);
    if (best != kNone) return best;
  }
  return kNone;
}

uint32_t TensorBlockTable::best_of_list(size_t list, size_t least, size_t most, Stream stream) const {
  uint32_t best = kNone;
  uint32_t slot = heads_[list];
  for (int i = 0; i < kSearched && slot != kNone; ++i, slot = records_[slot].retained.next) {
    const TensorRecord& record = records_[slot];
    if (record.capacity < least || record.capacity > most || record.stream != stream) continue;
    if (record.capacity == least) return slot;
    if (best == kNone || record.capacity < records_[best].capacity) best = slot;
  }
  return best;
}

uint64_t TensorBlockTable::count(size_t capacity, Stream stream, uint64_t enough) const {
  uint64_t found = 0;
  uint32_t slot = heads_[eighth_of(capacity)];
  for (; slot != kNone && found < enough; slot = records_[slot].retained.next) {
    if (records_[slot].capacity == capacity && records_[slot].stream == stream) ++found;
  }
  return found;
}

bool TensorBlockTable::reserve_one() {
  if (empty_ != kNone || records_.size() < records_.capacity()) return true;
  try {
    records_.reserve(std::max<size_t>(64, 2 * records_.size()));
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

uint32_t TensorBlockTable::add(void* data, size_t capacity, Stream stream) {
  uint32_t slot = empty_;
  if (slot == kNone) {
    LOBIT_CHECK(records_.size() < kNone);
    slot = static_cast<uint32_t>(records_.size());
    records_.emplace_back();
  } else {
    empty_ = records_[slot].retained.next;
  }
  records_[slot] = TensorRecord{.data = data,
                                .capacity = capacity,
                                .stream = stream,
                                .sequence = 0,
                                .live = {},
                                .temporary = false,
                                .fresh = true,
                                .prewarmed = false};
  return slot;
}

void TensorBlockTable::retain(uint32_t slot, uint64_t now) {
  TensorRecord& record = records_[slot];
  uint32_t& head = heads_[eighth_of(record.capacity)];
  record.sequence = 0;
  record.retained = {.since = now, .newer = kNone, .older = newest_, .next = head, .previous = kNone};
  if (head != kNone) records_[head].retained.previous = slot;
  head = slot;
  (newest_ == kNone ? oldest_ : records_[newest_].retained.newer) = slot;
  newest_ = slot;
  ++retained_blocks_;
  retained_bytes_ += record.capacity;
}

void TensorBlockTable::take(uint32_t slot) {
  const TensorRecord& record = records_[slot];
  const TensorRecord::Retained links = record.retained;
  (links.previous == kNone ? heads_[eighth_of(record.capacity)] : records_[links.previous].retained.next) =
      links.next;
  if (links.next != kNone) records_[links.next].retained.previous = links.previous;
  (links.newer == kNone ? newest_ : records_[links.newer].retained.older) = links.older;
  (links.older == kNone ? oldest_ : records_[links.older].retained.newer) = links.newer;
  --retained_blocks_;
  retained_bytes_ -= record.capacity;
}

void TensorBlockTable::remove(uint32_t slot) {
  records_[slot].data = nullptr;
  records_[slot].sequence = 0;
  records_[slot].retained = {.since = 0, .newer = kNone, .older = kNone, .next = empty_, .previous = kNone};
  empty_ = slot;
}

void TensorBlockTable::shrink() {
  while (!records_.empty() && records_.back().data == nullptr) records_.pop_back();
  records_.shrink_to_fit();
  empty_ = kNone;
  for (auto slot = static_cast<uint32_t>(records_.size()); slot-- > 0;) {
    if (records_[slot].data == nullptr) {
      records_[slot].retained.next = empty_;
      empty_ = slot;
    }
  }
}

}  // namespace lobit::detail
