#include "lobit/memory/maintenance_thread.h"

#include <algorithm>

#include <pthread.h>

namespace lobit::detail {
namespace {

constexpr size_t kStackBytes = 256 * 1024;

std::atomic<MaintenanceThread*> process_thread{nullptr};

}  // namespace

void MaintenanceTask::wake() {
  if (resting_.exchange(false, std::memory_order_acq_rel)) thread_->schedule(*this);
}

void SystemMaintenanceClock::wait(std::unique_lock<std::mutex>& lock, std::condition_variable& changed,
                                  std::optional<Time> until) {
  if (until) {
    changed.wait_until(lock, *until);
  } else {
    changed.wait(lock);
  }
}

struct MaintenanceThread::Worker {
  MaintenanceThread* owner;
  pthread_t thread;
  bool stopped;
};

MaintenanceThread::MaintenanceThread(MaintenanceClock& clock) : clock_(clock) {}
MaintenanceThread::~MaintenanceThread() = default;

// ---- The process's own.

MaintenanceThread& MaintenanceThread::of_process() {
  static SystemMaintenanceClock clock;
  static const bool kMade = [] {
    process_thread = new MaintenanceThread(clock);
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    return true;
  }();
  static_cast<void>(kMade);
  return *process_thread;
}

// Nobody is in the middle of a change when the child gets its copy.
void MaintenanceThread::before_fork() {
  process_thread.load()->mutex_.lock();
}

void MaintenanceThread::after_fork_in_parent() {
  process_thread.load()->mutex_.unlock();
}

// The thread is not there, and what others waited for never comes: the copy is left alone, with nothing in it
// that the destructors of the parent's pools would wait for.
void MaintenanceThread::after_fork_in_child() {
  MaintenanceThread* const copy = process_thread;
  process_thread = new MaintenanceThread(copy->clock_);
  copy->entries_.clear();
  copy->in_turn_ = nullptr;
  [[maybe_unused]] const Worker* const gone = copy->worker_.release();
  copy->mutex_.unlock();
}

// ---- Tasks.

Status MaintenanceThread::add(MaintenanceTask& task) {
  const std::lock_guard lock(mutex_);
  entries_.reserve(entries_.size() + 1);
  if (worker_ == nullptr) LOBIT_RETURN_IF_ERROR(start());
  entries_.push_back({&task, std::nullopt});
  task.thread_ = this;
  task.resting_.store(true, std::memory_order_release);
  return {};
}

void MaintenanceThread::remove(MaintenanceTask& task) {
  std::unique_ptr<Worker> ended;
  {
    std::unique_lock lock(mutex_);
    std::erase_if(entries_, [&](const Entry& entry) { return entry.task == &task; });
    turn_over_.wait(lock, [&] { return in_turn_ != &task; });
    // Where another task is in its turn, whoever removes that one ends the thread.
    if (entries_.empty() && in_turn_ == nullptr && worker_ != nullptr) {
      ended = std::move(worker_);
      ended->stopped = true;
      changed_.notify_all();
    }
  }
  if (ended != nullptr) pthread_join(ended->thread, nullptr);
}

// One that is due earlier stays so.
void MaintenanceThread::schedule(const MaintenanceTask& task) {
  const std::lock_guard lock(mutex_);
  Entry* const entry = entry_of(task);
  if (entry == nullptr) return;
  const Time due = clock_.now() + task.period_;
  if (entry->due && *entry->due <= due) return;
  entry->due = due;
  changed_.notify_all();
}

MaintenanceThread::Entry* MaintenanceThread::entry_of(const MaintenanceTask& task) {
  const auto found = std::ranges::find_if(entries_, [&](const Entry& entry) { return entry.task == &task; });
  return found != entries_.end() ? &*found : nullptr;
}

// The one whose turn is due first, or nullptr when none is.
MaintenanceThread::Entry* MaintenanceThread::next_entry() {
  Entry* next = nullptr;
  for (Entry& entry : entries_) {
    if (entry.due && (next == nullptr || *entry.due < *next->due)) next = &entry;
  }
  return next;
}

// ---- The thread.

Status MaintenanceThread::start() {
  auto worker = std::make_unique<Worker>(Worker{.owner = this, .thread = {}, .stopped = false});
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  const int failure = pthread_create(&worker->thread, &attributes, run_worker, worker.get());
  pthread_attr_destroy(&attributes);
  if (failure != 0) return fail(ErrorCode::kOutOfMemory, "pool: the system refused the maintenance thread");
  worker_ = std::move(worker);
  return {};
}

void* MaintenanceThread::run_worker(void* worker) {
  const auto* const self = static_cast<const Worker*>(worker);
  self->owner->work(*self);
  return nullptr;
}

void MaintenanceThread::work(const Worker& worker) {
  std::unique_lock lock(mutex_);
  while (!worker.stopped) {
    Entry* const next = next_entry();
    if (next == nullptr || *next->due > clock_.now()) {
      clock_.wait(lock, changed_, next != nullptr ? next->due : std::nullopt);
      continue;
    }
    next->due.reset();
    give_turn(*next->task, lock);
  }
}

void MaintenanceThread::give_turn(MaintenanceTask& task, std::unique_lock<std::mutex>& lock) {
  in_turn_ = &task;
  // Before the turn: what happens during it may be too late for it to see.
  task.resting_.store(true, std::memory_order_release);
  lock.unlock();
  const NextTurn next = task.take_turn();
  lock.lock();
  in_turn_ = nullptr;
  Entry* const entry = entry_of(task);
  if (entry != nullptr && next == NextTurn::kAfterPeriod && !entry->due) {
    entry->due = clock_.now() + task.period_;
  }
  turn_over_.notify_all();
}

}  // namespace lobit::detail
