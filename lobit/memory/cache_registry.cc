#include "lobit/memory/cache_registry.h"

#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

namespace lobit::detail {

constinit thread_local std::array<LocalEntry, kLocalSlots> local_entries = {};

namespace {

struct Registry {
  std::mutex mutex;
  uint64_t next_serial = 1;
  std::unordered_map<uint64_t, CacheOwner*> owners;
};

// Never destroyed: threads may end after static objects do.
Registry& registry() {
  static auto* const kRegistry = new Registry;
  return *kRegistry;
}

// Set once the thread's ThreadExit is gone; a trivial type outlives it.
constinit thread_local bool thread_ended = false;

}  // namespace

// Gives back the caches of an ending thread.
struct ThreadExit {
  std::vector<LocalEntry> caches;

  ~ThreadExit() {
    thread_ended = true;
    local_entries = {};
    for (const LocalEntry& entry : caches) {
      // Held while the pool takes its cache back, so that the pool cannot go meanwhile.
      const std::lock_guard lock(registry().mutex);
      const auto found = registry().owners.find(entry.serial);
      if (found != registry().owners.end()) found->second->retire(entry.cache);
    }
  }
};

namespace {

ThreadExit& thread_exit() {
  static thread_local ThreadExit exit;
  return exit;
}

}  // namespace

CacheOwner::CacheOwner() {
  const std::lock_guard lock(registry().mutex);
  serial_ = registry().next_serial++;
  slot_offset_ = serial_ % kLocalSlots * sizeof(LocalEntry);
  registry().owners.emplace(serial_, this);
}

void CacheOwner::leave_registry() {
  const std::lock_guard lock(registry().mutex);
  registry().owners.erase(serial_);
}

bool CacheOwner::adopt(ThreadCache* cache) {
  if (thread_ended) return false;
  const LocalEntry entry{serial_, cache};
  if (find_own() == nullptr) {
    std::vector<LocalEntry>& caches = thread_exit().caches;
    if (caches.size() >= kLocalSlots) {
      // A thread that sees many pools come and go does not remember those that went.
      const std::lock_guard lock(registry().mutex);
      std::erase_if(caches, [](const LocalEntry& e) { return !registry().owners.contains(e.serial); });
    }
    try {
      caches.push_back(entry);
    } catch (const std::bad_alloc&) {
      return false;
    }
  }
  local_entries[slot_offset_ / sizeof(LocalEntry)] = entry;
  return true;
}

ThreadCache* CacheOwner::find_own() const {
  if (thread_ended) return nullptr;
  for (const LocalEntry& entry : thread_exit().caches) {
    if (entry.serial == serial_) return entry.cache;
  }
  return nullptr;
}

}  // namespace lobit::detail
