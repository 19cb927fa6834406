// ThreadStates: what a thread keeps for an object, such as its cache of a pool. A thread finds its state in a
// small thread-local table, by a serial number that no two objects share, so an entry of an object that is
// gone is never followed. When a thread ends, its states go back to the objects that still live.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace lobit::detail {

inline constexpr size_t kLocalSlots = 64;

struct LocalEntry {
  uint64_t serial;  // 0: none
  void* state;      // of the object with that serial, never nullptr
};

class ThreadStatesBase {
 public:
  // Takes a slot and a serial, and hears of ending threads from now on.
  ThreadStatesBase();
  ThreadStatesBase(const ThreadStatesBase&) = delete;
  ThreadStatesBase& operator=(const ThreadStatesBase&) = delete;
  virtual ~ThreadStatesBase() = default;

  // Where the calling thread's state stands, if it is this object's entry.
  const LocalEntry& local_entry() const;
  bool is_own(const LocalEntry& entry) const { return entry.serial == serial_; }

 protected:
  bool adopt_state(void* state);
  void* find_own_state() const;
  // Ends hearing of threads; a call of retire() that is under way is waited for.
  void leave_registry();

 private:
  friend struct ThreadExit;
  virtual void retire_state(void* state) = 0;

  uint64_t serial_;
  size_t slot_offset_;  // of the entry in the table, in bytes
};

// Of an object that keeps a State for each thread.
template <typename State>
class ThreadStates : public ThreadStatesBase {
 public:
  static State* state_of(const LocalEntry& entry) { return static_cast<State*>(entry.state); }
  // The calling thread's state, or nullptr when the table has none (any more).
  State* local() const {
    const LocalEntry& entry = local_entry();
    return is_own(entry) ? state_of(entry) : nullptr;
  }

 protected:
  // Remembers the calling thread's state. False when it cannot: the thread is ending, or memory is short.
  bool adopt(State* state) { return adopt_state(state); }
  // A state of this object that the calling thread has though the table lost it, or nullptr.
  State* find_own() const { return static_cast<State*>(find_own_state()); }

 private:
  void retire_state(void* state) final { retire(static_cast<State*>(state)); }
  // The state's thread is ending.
  virtual void retire(State* state) = 0;
};

extern constinit thread_local std::array<LocalEntry, kLocalSlots> local_entries
    __attribute__((tls_model("initial-exec")));

inline const LocalEntry& ThreadStatesBase::local_entry() const {
  return *reinterpret_cast<const LocalEntry*>(reinterpret_cast<const std::byte*>(local_entries.data()) +
                                              slot_offset_);
}

}  // namespace lobit::detail
