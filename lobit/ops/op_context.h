// OpContext: where operations on tensors take memory and threads from, handed to each of them. A plain value;
// what it points to outlives the calls, and the tensors that they make, and is used by one operation at a
// time where it says so itself (ThreadPool).
#pragma once

#include "lobit/base/thread_pool.h"
#include "lobit/memory/memory_resource.h"
#include "lobit/ops/op_profiler.h"

namespace lobit {

struct OpContext {
  MemoryResource* memory = nullptr;  // of results and scratch space, on the CPU; there must be one
  ThreadPool* threads = nullptr;     // none: the calling thread does all; results are the same
  OpProfiler* profiler = nullptr;    // told of every operation; none: nothing is measured
};

}  // namespace lobit
