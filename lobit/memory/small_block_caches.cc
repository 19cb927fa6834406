// The caches of a SmallBlockPool as a whole: who has one, and how one thread reaches into all of them.
#include <algorithm>

#include "lobit/memory/small_block_pool.h"

namespace lobit::detail {

// The calling thread's cache with `busy` set, however long another thread has it paused. nullptr when the
// system refuses memory for a new cache, or the thread is ending.
ThreadCache* SmallBlockPool::enter_slowly() {
  ThreadCache* cache = local();
  if (cache == nullptr) cache = find_own();
  if (cache == nullptr) cache = new_cache();
  if (cache == nullptr || !adopt(cache)) return nullptr;
  while (!cache->enter()) {
    cache->leave();
    // Whoever paused it holds the lock until it is done.
    const std::lock_guard wait(caches_mutex_);
  }
  return cache;
}

ThreadCache* SmallBlockPool::new_cache() {
  const std::lock_guard lock(caches_mutex_);
  ThreadCache* cache = idle_;
  if (cache != nullptr) {
    idle_ = cache->next_idle;
  } else {
    if (used_caches_ == kMaxCaches || !caches_.ensure(used_caches_ + 1)) return nullptr;
    cache = &caches_[used_caches_++];
  }
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
  for (ClassBin& bin : cache->classes) put_back(cache, bin, 0);
  give_cached_runs(cache);
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

void SmallBlockPool::publish_all() {
  for_each_paused([&](ThreadCache* cache) { publish(cache); });
}

}  // namespace lobit::detail
