// The caches of a SmallBlockPool as a whole: who has one, and how one thread reaches into all of them.
#include <algorithm>

#include "lobit/memory/small_block_pool.h"

namespace lobit::detail {

SmallBlockPool::Entry::Entry(SmallBlockPool& pool) : pool_(pool), cache_(pool.local()) {
  if (cache_ != nullptr && cache_->enter()) return;
  if (cache_ == nullptr) {
    cache_ = pool.find_own();
    if (cache_ == nullptr) cache_ = pool.new_cache();
    if (cache_ == nullptr) return;
    borrowed_ = !pool.adopt(cache_);
  }
  while (!cache_->enter_slowly()) {
    cache_->leave();
    // Whoever paused it holds the lock until it is done.
    const std::lock_guard wait(pool.caches_mutex_);
    pool.rouse(cache_);
  }
}

SmallBlockPool::Entry::~Entry() {
  if (cache_ == nullptr) return;
  cache_->leave();
  if (borrowed_) pool_.retire(cache_);
}

ThreadCache* SmallBlockPool::new_cache() {
  const std::lock_guard lock(caches_mutex_);
  ThreadCache* cache = idle_;
  if (cache != nullptr) {
    idle_ = cache->next_idle;
  } else {
    if (used_caches_ == most_caches_ || !caches_.ensure(used_caches_ + 1)) return nullptr;
    cache = &caches_[used_caches_++];
    cache->prepare();
  }
  cache->set_resting();  // its first use counts as one after a rest
  return cache;
}

// The next thread that comes takes over what the cache still owns.
void SmallBlockPool::retire(ThreadCache* cache) {
  const std::lock_guard lock(caches_mutex_);
  drain_cache(cache);
  cache->next_idle = idle_;
  idle_ = cache;
}

void SmallBlockPool::publish(ThreadCache* cache) {
  counts_.add(cache->change);
  cache->change = {};
}

// From time to time, so that the peak of several threads is off by little.
void SmallBlockPool::publish_much(ThreadCache* cache) {
  constexpr int64_t kMuch = int64_t{1} << 20;
  const BlockChange& change = cache->change;
  if (change.most_bytes >= kMuch || change.bytes <= -kMuch) publish(cache);
}

template <typename Visit>
void SmallBlockPool::for_each_paused(const Visit& visit) {
  const std::lock_guard lock(caches_mutex_);
  for (size_t i = 0; i < used_caches_; ++i) {
    caches_[i].pause();
    visit(&caches_[i]);
    caches_[i].resume();
  }
}

void SmallBlockPool::drain_cache(ThreadCache* cache) {
  publish(cache);
  pass_on(cache);
  collect(cache);
  for (ClassBin& bin : cache->classes) {
    put_back(bin, 0);
    release_empty(bin);
  }
  if (cache->cached_run_pages != 0) give_cached_runs(heap_.lock(), cache);
}

uint64_t SmallBlockPool::drain() {
  const uint64_t before = held_bytes();
  // Twice: what the first round passes on to caches that it had visited comes in with the second.
  for (int round = 0; round < 2; ++round) {
    for_each_paused([&](ThreadCache* cache) { drain_cache(cache); });
  }
  const uint64_t after = held_bytes();
  return before > after ? before - after : 0;
}

void SmallBlockPool::publish_own() {
  const Entry entry(*this);
  if (entry.cache() != nullptr && entry.cache()->change.any()) publish(entry.cache());
}

// The thread is back: what it keeps will be looked at again.
void SmallBlockPool::rouse(ThreadCache* cache) {
  if (!cache->is_resting()) return;
  cache->rouse();
  if (watcher_ != nullptr) watcher_->stir();
}

// Two looks at a cache that finds it resting mean that its thread did nothing in between. What other threads
// return to it later is taken in too.
bool SmallBlockPool::drain_resting() {
  const std::lock_guard lock(caches_mutex_);
  bool again = false;
  for (size_t i = 0; i < used_caches_; ++i) {
    ThreadCache& cache = caches_[i];
    const bool is_empty = cache.is_drained() && cache.returned.load(std::memory_order_relaxed) == 0;
    if (is_empty) continue;
    again = true;
    if (!cache.is_resting()) {
      cache.set_resting();
      continue;
    }
    cache.pause();
    drain_cache(&cache);
    cache.resume();
    cache.set_drained();
  }
  return again;
}

void SmallBlockPool::watch(MaintenanceTask* watcher) {
  const std::lock_guard lock(caches_mutex_);
  watcher_ = watcher;
}

void SmallBlockPool::give_own_runs() {
  const Entry entry(*this);
  ThreadCache* cache = entry.cache();
  if (cache != nullptr && cache->cached_run_pages != 0) give_cached_runs(heap_.lock(), cache);
}

// Live blocks of a cache's slabs, as far as they were not freed by others. Runs are counted by held_bytes().
int64_t SmallBlockPool::used_bytes(const ThreadCache& cache) const {
  int64_t bytes = cache.moved_bytes - int64_t{cache.cached_run_pages} * int64_t{kPageBytes};
  for (size_t c = 0; c < kClasses; ++c) {
    bytes += static_cast<int64_t>(cache.classes[c].out - cache.classes[c].count()) * kSizeClasses[c].bytes;
  }
  return bytes;
}

uint64_t SmallBlockPool::publish_all() {
  int64_t used = 0;
  for_each_paused([&](ThreadCache* cache) {
    publish(cache);
    used += used_bytes(*cache);
  });
  used += static_cast<int64_t>(heap_.held_bytes(RunKind::kSmall) + heap_.held_bytes(RunKind::kLarge));
  // What one thread freed for another may be seen before it is seen allocated.
  return static_cast<uint64_t>(std::max<int64_t>(used, 0));
}

}  // namespace lobit::detail
