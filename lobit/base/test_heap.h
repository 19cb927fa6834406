// For tests alone (not installed): how much memory a piece of code takes. A test program that uses it
// compiles test_heap.cc, which replaces operator new.
#pragma once

#include <cstddef>

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

// Whether operator new is counted: sanitizers bring their own.
bool heap_is_counted();

}  // namespace lobit
