// Which thread has which cache of which pool. A thread finds its cache of a pool in a small thread-local
// table, by a serial number that no two pools share, so an entry of a pool that is gone is never followed.
// When a thread ends, its caches go back to the pools that still live.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace lobit::detail {

struct ThreadCache;

inline constexpr size_t kLocalSlots = 64;

struct LocalEntry {
  uint64_t serial;     // 0: none
  ThreadCache* cache;  // of the pool with that serial, never nullptr
};

class CacheOwner {
 public:
  // Takes a slot and a serial, and hears of ending threads from now on.
  CacheOwner();
  CacheOwner(const CacheOwner&) = delete;
  CacheOwner& operator=(const CacheOwner&) = delete;
  virtual ~CacheOwner() = default;

  // Where the calling thread's cache stands, if it is this pool's entry.
  const LocalEntry& local_entry() const;
  bool is_own(const LocalEntry& entry) const { return entry.serial == serial_; }
  // The calling thread's cache, or nullptr when the table has none (any more).
  ThreadCache* local() const {
    const LocalEntry& entry = local_entry();
    return is_own(entry) ? entry.cache : nullptr;
  }

 protected:
  // Remembers the calling thread's cache. False when it cannot: the thread is ending, or memory is short.
  bool adopt(ThreadCache* cache);
  // A cache of this pool that the calling thread has though the table lost it, or nullptr.
  ThreadCache* find_own() const;
  // Ends hearing of threads; a call of retire() that is under way is waited for.
  void leave_registry();

 private:
  friend struct ThreadExit;
  // The cache's thread is ending.
  virtual void retire(ThreadCache* cache) = 0;

  uint64_t serial_;
  size_t slot_offset_;  // of the entry in the table, in bytes
};

extern constinit thread_local std::array<LocalEntry, kLocalSlots> local_entries
    __attribute__((tls_model("initial-exec")));

inline const LocalEntry& CacheOwner::local_entry() const {
  return *reinterpret_cast<const LocalEntry*>(reinterpret_cast<const std::byte*>(local_entries.data()) +
                                              slot_offset_);
}

}  // namespace lobit::detail
