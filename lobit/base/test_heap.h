// For tests alone (not installed): how much memory a piece of code takes, and what it does when
// there is none. A test program that uses it
// compiles test_heap.cc, which replaces operator new.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lobit {

// Counts from its construction to the end of its scope; one at a time. What was allocated before does not
// count.
class HeapPeak {
 public:
  HeapPeak();
  // The most bytes that were allocated at one time, as malloc rounds them.
  size_t bytes() const;

 private:
  ptrdiff_t before_;
};

// Makes the `number`th (from 1) operator new on this thread fail, once, unless its scope ends before. One at
// a time.
class FailingHeap {
 public:
  explicit FailingHeap(uint64_t number);
  ~FailingHeap();
  FailingHeap(const FailingHeap&) = delete;
  FailingHeap& operator=(const FailingHeap&) = delete;
  bool failed() const;
};

// Whether operator new is counted, and fails: sanitizers bring their own.
bool heap_is_counted();

}  // namespace lobit
