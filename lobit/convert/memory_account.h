// MemoryAccount: how many bytes an engine holds at a time, and the most it may. Bytes count from before they
// are asked of the memory resource until they are freed or handed out, so the account needs no part in where
// they come from, and results may outlive it. Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "lobit/base/result.h"

namespace lobit {

class MemoryAccount {
 public:
  explicit MemoryAccount(uint64_t limit) : limit_(limit) {}

  // Bytes of the account, given back at the end of the scope.
  class Hold {
   public:
    Hold() = default;
    Hold(Hold&& other) noexcept
        : account_(std::exchange(other.account_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    Hold& operator=(Hold&& other) noexcept {
      Hold taken(std::move(other));
      std::swap(account_, taken.account_);
      std::swap(bytes_, taken.bytes_);
      return *this;
    }
    ~Hold() {
      if (account_ != nullptr) account_->held_.fetch_sub(bytes_, std::memory_order_relaxed);
    }
    uint64_t bytes() const { return bytes_; }

   private:
    friend class MemoryAccount;
    Hold(MemoryAccount* account, uint64_t bytes) : account_(account), bytes_(bytes) {}
    MemoryAccount* account_ = nullptr;
    uint64_t bytes_ = 0;
  };

  // kLimit, without effect, when the bytes do not fit beside those that are held.
  Result<Hold> hold(uint64_t bytes);

  uint64_t limit() const { return limit_; }
  uint64_t held() const { return held_.load(std::memory_order_relaxed); }
  uint64_t peak() const { return peak_.load(std::memory_order_relaxed); }
  // The peak begins anew at what is held now.
  void reset_peak() { peak_.store(held(), std::memory_order_relaxed); }

 private:
  const uint64_t limit_;
  std::atomic<uint64_t> held_ = 0;
  std::atomic<uint64_t> peak_ = 0;
};

}  // namespace lobit
