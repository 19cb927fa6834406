#include <utility>

#include "lobit/memory/pressure_callbacks_internal.h"

namespace lobit::detail {
namespace {

// How many callbacks, of any monitor, this thread is in.
thread_local int depth = 0;

}  // namespace

PressureCallbacks::Id PressureCallbacks::add(Callback callback) {
  auto shared = std::make_shared<const Callback>(std::move(callback));
  const Lock lock(mutex_);
  callbacks_.emplace(next_id_, std::move(shared));
  return next_id_++;
}

void PressureCallbacks::remove(Id id) {
  std::shared_ptr<const Callback> removed;  // destroyed without the lock
  Lock lock(mutex_);
  const auto found = callbacks_.find(id);
  if (found != callbacks_.end()) {
    removed = std::move(found->second);
    callbacks_.erase(found);
  }
  // Also when another thread has just removed it.
  if (teller_ != std::this_thread::get_id()) done_.wait(lock, [&] { return running_ != id; });
  lock.unlock();
}

void PressureCallbacks::post(PressureChange change) {
  const Lock lock(mutex_);
  posted_.push_back({std::move(change), next_id_});
  ++posted_count_;
}

void PressureCallbacks::deliver() {
  Lock lock(mutex_);
  deliver(lock);
}

void PressureCallbacks::deliver_and_wait() {
  Lock lock(mutex_);
  deliver(lock);
  if (depth != 0) return;
  const uint64_t wanted = posted_count_;
  done_.wait(lock, [&] { return told_count_ >= wanted; });
}

void PressureCallbacks::deliver(Lock& lock) {
  if (teller_ != std::thread::id()) return;
  teller_ = std::this_thread::get_id();
  while (!posted_.empty()) {
    const Posted next = std::move(posted_.front());
    posted_.pop_front();
    tell(next, lock);
    ++told_count_;
    done_.notify_all();
  }
  teller_ = std::thread::id();
  done_.notify_all();
}

// Callbacks come and go meanwhile: the next is the one after the last that was called.
void PressureCallbacks::tell(const Posted& posted, Lock& lock) {
  auto next = callbacks_.begin();
  while (next != callbacks_.end() && next->first < posted.before) {
    const Id id = running_ = next->first;
    std::shared_ptr<const Callback> callback = next->second;
    lock.unlock();
    ++depth;
    try {
      (*callback)(posted.change);
    } catch (...) {  // counts as done
      static_cast<void>(0);
    }
    callback.reset();  // whoever removed it destroys it, unless that was itself
    --depth;
    lock.lock();
    running_ = 0;
    done_.notify_all();
    next = callbacks_.upper_bound(id);
  }
}

void PressureCallbacks::close() {
  decltype(callbacks_) removed;
  Lock lock(mutex_);
  removed.swap(callbacks_);
  done_.wait(lock, [&] { return teller_ == std::thread::id(); });
  lock.unlock();
}

}  // namespace lobit::detail
