// What a pipeline remembers. Not installed. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>

#include "lobit/convert/memory_account.h"
#include "lobit/tensor/tensor.h"

namespace lobit::detail {

class StageCache {
 public:
  static constexpr size_t kMaxResults = 100;
  static constexpr uint64_t kMaxBytes = uint64_t{500} << 20;

  // The result of a stage for a tensor of this content.
  std::optional<Tensor> find(const ContentKey& key, size_t stage);
  // Remembers a result when the account has room beside it after the longest unused ones are forgotten.
  void insert(const ContentKey& key, size_t stage, const Tensor& result, MemoryAccount& account);
  void clear();

  size_t size() const;
  uint64_t bytes() const;

 private:
  struct Entry {
    ContentKey key;
    size_t stage = 0;
    Tensor result;
    MemoryAccount::Hold hold;
  };
  void drop_last();

  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // the last used first; few enough to be searched
  uint64_t bytes_ = 0;
};

}  // namespace lobit::detail
