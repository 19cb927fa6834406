// for_each_chunk: the one loop behind every operation that streams tensors. It cuts items into chunks, hands
// the chunks to a pool's workers in order, and takes care of progress, cancellation and the first error.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <string_view>

#include "lobit/base/export.h"
#include "lobit/base/progress.h"
#include "lobit/base/result.h"
#include "lobit/base/thread_pool.h"

namespace lobit {

// Something to be done from its first element to its last.
struct ChunkedItem {
  std::string_view name;        // for progress; outlives the loop
  uint64_t elements = 0;        // 0 makes no chunk
  uint64_t chunk_elements = 1;  // elements of every chunk but the last
  uint64_t bytes = 0;           // of the whole item, for progress
};

// What the loop holds for each item, the item included. It is a row of a list as long as the list of tensors,
// so it is counted with headers and plan, not taken from the pool of the buffers.
inline constexpr uint64_t kItemBytes = sizeof(ChunkedItem) + sizeof(uint64_t);

struct Chunk {
  size_t item = 0;
  uint64_t first = 0;  // element of the item
  uint64_t count = 0;  // > 0
};

// How a long operation is watched and stopped.
struct RunControl {
  ProgressFn progress = {};   // about ten times a second, and once at the end
  std::stop_token stop = {};  // ends the operation with kCancelled
};

// Calls work(worker, chunk) for every chunk of every item; worker < pool.size() tells which buffers to use.
// Chunks start in order. After an error no further chunk starts, and the error of the earliest failing chunk
// is returned, so that the same input gives the same error with any number of threads.
LOBIT_API Status for_each_chunk(ThreadPool& pool, std::span<const ChunkedItem> items,
                                const RunControl& control,
                                const std::function<Status(size_t worker, const Chunk& chunk)>& work);

// Who does the work: at most `count` of a pool's workers, or the calling thread alone without a pool.
struct ChunkWorkers {
  ThreadPool* pool = nullptr;
  size_t count = 1;
};

// The same; worker < max(1, workers.count).
LOBIT_API Status for_each_chunk(const ChunkWorkers& workers, std::span<const ChunkedItem> items,
                                const RunControl& control,
                                const std::function<Status(size_t worker, const Chunk& chunk)>& work);

}  // namespace lobit
