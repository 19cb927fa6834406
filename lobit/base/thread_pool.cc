#include "lobit/base/thread_pool.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <exception>
#include <mutex>
#include <vector>

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>

#include "lobit/base/fp_env.h"

namespace lobit {
namespace {

constexpr size_t kStackBytes = 256 * 1024;

// The cgroup's processor quota in processors, 0 when there is none.
size_t cgroup_quota() {
  long long quota = 0;
  long long period = 0;
  if (FILE* f = std::fopen("/sys/fs/cgroup/cpu.max", "re")) {
    if (std::fscanf(f, "%lld %lld", &quota, &period) != 2) quota = 0;
    static_cast<void>(std::fclose(f));
  }
  return quota > 0 && period > 0 ? static_cast<size_t>((quota + period - 1) / period) : 0;
}

}  // namespace

struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable start;
  std::condition_variable done;
  const std::function<void(size_t)>* work = nullptr;
  uint64_t round = 0;
  size_t running = 0;
  bool stopping = false;
  std::exception_ptr failure;
  std::vector<pthread_t> threads;

  struct Argument {
    State* state;
    size_t worker;
  };
  std::vector<Argument> arguments;

  ~State() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    start.notify_all();
    for (const pthread_t thread : threads) pthread_join(thread, nullptr);
  }

  void call(size_t worker) {
    const ScopedFpEnv fp_env;
    try {
      (*work)(worker);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  }

  void loop(size_t worker) {
    uint64_t seen = 0;
    std::unique_lock lock(mutex);
    for (;;) {
      start.wait(lock, [&] { return stopping || round != seen; });
      if (stopping) return;
      seen = round;
      lock.unlock();
      call(worker);
      lock.lock();
      if (--running == 0) done.notify_one();
    }
  }

  static void* entry(void* argument) {
    const auto* a = static_cast<Argument*>(argument);
    a->state->loop(a->worker);
    return nullptr;
  }
};

Result<ThreadPool> ThreadPool::create(size_t threads) {
  if (threads == 0)
    return fail(ErrorCode::kInvalidArgument, "thread pool: expected at least 1 thread, found 0");
  auto state = std::make_unique<State>();
  state->arguments.resize(threads);
  state->threads.reserve(threads - 1);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  for (size_t worker = 1; worker < threads; ++worker) {
    state->arguments[worker] = {state.get(), worker};
    pthread_t thread{};
    if (pthread_create(&thread, &attributes, &State::entry, &state->arguments[worker]) != 0) {
      pthread_attr_destroy(&attributes);
      return fail(ErrorCode::kOutOfMemory,
                  fmt::format("thread pool: the system refused thread {} of {}", worker + 1, threads));
    }
    state->threads.push_back(thread);
  }
  pthread_attr_destroy(&attributes);
  return ThreadPool(std::move(state));
}

size_t ThreadPool::default_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  size_t count = 1;
  if (sched_getaffinity(0, sizeof set, &set) == 0) count = static_cast<size_t>(std::max(1, CPU_COUNT(&set)));
  const size_t quota = cgroup_quota();
  return quota > 0 ? std::min(count, quota) : count;
}

ThreadPool::ThreadPool(std::unique_ptr<State> state) : state_(std::move(state)) {}
ThreadPool::ThreadPool(ThreadPool&&) noexcept = default;
ThreadPool& ThreadPool::operator=(ThreadPool&&) noexcept = default;
ThreadPool::~ThreadPool() = default;

size_t ThreadPool::size() const {
  return state_->threads.size() + 1;
}

void ThreadPool::run(const std::function<void(size_t)>& work) {
  State& s = *state_;
  {
    const std::lock_guard lock(s.mutex);
    s.work = &work;
    s.running = s.threads.size();
    s.failure = nullptr;
    ++s.round;
  }
  s.start.notify_all();
  s.call(0);
  std::unique_lock lock(s.mutex);
  s.done.wait(lock, [&] { return s.running == 0; });
  if (s.failure) std::rethrow_exception(std::exchange(s.failure, nullptr));
}

}  // namespace lobit
