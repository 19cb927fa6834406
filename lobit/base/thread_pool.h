// ThreadPool: a fixed set of worker threads with small stacks (256 KiB), so that a memory limit is not eaten
// by stacks. Handed in through options, never global. The pool owns its threads and joins them in its
// destructor; run() may be called from one thread at a time.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "lobit/base/export.h"
#include "lobit/base/result.h"

namespace lobit {

class LOBIT_API ThreadPool {
 public:
  // `threads` >= 1 workers in all; the thread that calls run() is one of them, so 1 starts no thread.
  // kOutOfMemory when the system refuses a thread.
  static Result<ThreadPool> create(size_t threads);

  // The number of processors that this process may use (affinity and cgroup quota included), at least 1.
  static size_t default_threads();

  ThreadPool(ThreadPool&&) noexcept;
  ThreadPool& operator=(ThreadPool&&) noexcept;
  ~ThreadPool();

  size_t size() const;

  // Calls work(worker) once for every worker in [0, size()), all at the same time, and returns when all are
  // done. Each worker runs under ScopedFpEnv. The first exception a worker throws is rethrown here.
  void run(const std::function<void(size_t worker)>& work);

 private:
  struct State;
  explicit ThreadPool(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace lobit
