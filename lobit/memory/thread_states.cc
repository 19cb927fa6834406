#include "lobit/memory/thread_states.h"

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
  std::unordered_map<uint64_t, ThreadStatesBase*> owners;
};

// Never destroyed: threads may end after static objects do.
Registry& registry() {
  static auto* const kRegistry = new Registry;
  return *kRegistry;
}

// Set once the thread's ThreadExit is gone; a trivial type outlives it.
constinit thread_local bool thread_ended = false;

}  // namespace

// Gives back the states of an ending thread.
struct ThreadExit {
  std::vector<LocalEntry> states;

  ~ThreadExit() {
    thread_ended = true;
    local_entries = {};
    for (const LocalEntry& entry : states) {
      // Held while the object takes its state back, so that it cannot go meanwhile.
      const std::lock_guard lock(registry().mutex);
      const auto found = registry().owners.find(entry.serial);
      if (found != registry().owners.end()) found->second->retire_state(entry.state);
    }
  }
};

namespace {

ThreadExit& thread_exit() {
  static thread_local ThreadExit exit;
  return exit;
}

}  // namespace

ThreadStatesBase::ThreadStatesBase() {
  const std::lock_guard lock(registry().mutex);
  serial_ = registry().next_serial++;
  slot_offset_ = serial_ % kLocalSlots * sizeof(LocalEntry);
  registry().owners.emplace(serial_, this);
}

void ThreadStatesBase::leave_registry() {
  const std::lock_guard lock(registry().mutex);
  registry().owners.erase(serial_);
}

bool ThreadStatesBase::adopt_state(void* state) {
  if (thread_ended) return false;
  const LocalEntry entry{serial_, state};
  if (find_own_state() == nullptr) {
    std::vector<LocalEntry>& states = thread_exit().states;
    if (states.size() >= kLocalSlots) {
      // A thread that sees many objects come and go does not remember those that went.
      const std::lock_guard lock(registry().mutex);
      std::erase_if(states, [](const LocalEntry& e) { return !registry().owners.contains(e.serial); });
    }
    try {
      states.push_back(entry);
    } catch (const std::bad_alloc&) {
      return false;
    }
  }
  local_entries[slot_offset_ / sizeof(LocalEntry)] = entry;
  return true;
}

void* ThreadStatesBase::find_own_state() const {
  if (thread_ended) return nullptr;
  for (const LocalEntry& entry : thread_exit().states) {
    if (entry.serial == serial_) return entry.state;
  }
  return nullptr;
}

}  // namespace lobit::detail
