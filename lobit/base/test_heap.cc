#include "lobit/base/test_heap.h"

#include <atomic>
#include <cstdlib>
#include <new>

#include <malloc.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LOBIT_SANITIZED_HEAP
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LOBIT_SANITIZED_HEAP
#endif

namespace lobit {
namespace {
std::atomic<ptrdiff_t> live{0};
std::atomic<ptrdiff_t> peak{0};
thread_local uint64_t until_failure = 0;  // 0: none comes
}  // namespace

HeapPeak::HeapPeak() : before_(live.load()) {
  peak = before_;
}

size_t HeapPeak::bytes() const {
  return static_cast<size_t>(peak.load() - before_);
}

FailingHeap::FailingHeap(uint64_t number) {
  until_failure = number;
}

FailingHeap::~FailingHeap() {
  until_failure = 0;
}

bool FailingHeap::failed() const {
  return until_failure == 0;
}

#ifdef LOBIT_SANITIZED_HEAP
bool heap_is_counted() {
  return false;
}
}  // namespace lobit
#else
bool heap_is_counted() {
  return true;
}
}  // namespace lobit

// The array and nothrow forms of the standard library end up in these.
void* operator new(size_t bytes) {
  if (lobit::until_failure != 0) {
    --lobit::until_failure;
    if (lobit::until_failure == 0) throw std::bad_alloc();
  }
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  const auto size = static_cast<ptrdiff_t>(malloc_usable_size(memory));
  const ptrdiff_t now = lobit::live.fetch_add(size) + size;
  ptrdiff_t seen = lobit::peak.load();
  while (seen < now && !lobit::peak.compare_exchange_weak(seen, now)) {
  }
  return memory;
}

void operator delete(void* memory) noexcept {
  if (memory == nullptr) return;
  lobit::live -= static_cast<ptrdiff_t>(malloc_usable_size(memory));
  std::free(memory);
}

void operator delete(void* memory, size_t) noexcept {
  operator delete(memory);
}
#endif
