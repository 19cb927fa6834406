// Workers: a thread pool with a scratch buffer for each of its threads, cut to a memory limit.
#pragma once

#include <vector>

#include "lobit/base/result.h"
#include "lobit/base/thread_pool.h"
#include "lobit/convert/buffer.h"

namespace lobit {

// What to make, and what bounds it.
struct WorkersSpec {
  uint64_t held = 0;          // bytes that the operation holds besides
  uint64_t memory_limit = 0;  // of everything together; 0: none
  size_t threads = 0;         // wanted; 0: one for each processor
  uint64_t usual_bytes = 0;   // of a worker's buffer when there is room
  uint64_t least_bytes = 0;   // of a worker's buffer at least
};

struct Workers {
  ThreadPool pool;
  std::vector<ScratchBuffer> buffers;  // one for each of pool.size() threads, all of one size

  // Buffers shrink to the least before threads go. kLimit, naming the least limit that works, when not even
  // one worker fits.
  static Result<Workers> create(const WorkersSpec& spec);

  // The error for a limit under `least`.
  static tl::unexpected<Error> too_small(uint64_t least, uint64_t limit);

  // The least limit that create() accepts.
  static uint64_t least_limit(const WorkersSpec& spec);

  uint64_t buffer_bytes() { return buffers.size() * buffers[0].bytes().size(); }
};

}  // namespace lobit
