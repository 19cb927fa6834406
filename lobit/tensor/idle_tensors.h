// IdleTensors: keeps tensors that are needed now and then, and makes those smaller that nobody has used for a
// while (BlockCompressor: probe first, zero pages dropped, checksums). Who asks for one gets it as it was,
// id, name and tags included; where its values lie meanwhile does not show.
//
// A tensor is in use while a copy or view of it exists elsewhere. Only those that are not in use are
// compressed, and of these only where it frees memory: not borrowed or mapped ones, nor those for which it
// did not pay. A tensor's values always lie in its own resource, to which they come back: pools and limits
// hold for them as if they had never left. What they are compressed to, and workspace, comes from the store's
// resource. Compressing needs memory for the result while the original is still there, restoring needs it for
// the original: where either resource refuses, the tensor stays what it was and nothing is lost. (To make
// room in a pool that is full to its limit, the store stands on another resource than its tensors.) A
// WeakTensor to a tensor that is compressed has expired.
//
// Any thread may call anything. Compressing and restoring happen without a lock held, so that different
// tensors do not wait for each other and the resource may call compress_idle() when it runs short; the others
// wait for a tensor that is being worked on. Owns its tensors; its resource and theirs outlive it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/base/time_budget.h"
#include "lobit/memory/block_compressor.h"
#include "lobit/memory/memory_resource.h"
#include "lobit/tensor/tensor.h"

namespace lobit {

// What one compress_idle() did.
struct IdleCompression {
  size_t compressed = 0;     // tensors
  uint64_t bytes_freed = 0;  // by which their memory shrank
  size_t in_use = 0;         // idle by the clock, but a copy is somewhere, or the bytes are not theirs
  size_t incompressible = 0;
  size_t failed = 0;       // for lack of memory, say
  bool finished = true;    // false: the time was up before all were looked at
  std::string error = {};  // of the first that failed
};

// Now, and since the beginning. Exact when no other thread is inside.
struct IdleTensorStatistics {
  size_t tensors = 0;
  size_t compressed_tensors = 0;
  uint64_t original_bytes = 0;  // of the compressed ones, before
  uint64_t stored_bytes = 0;    // and now
  uint64_t failed_restores = 0;
  CompressionStatistics compression = {};
};

class LOBIT_API IdleTensors {
 public:
  using Key = uint64_t;

  // `clock` says how long a tensor was not used.
  explicit IdleTensors(MemoryResource& resource, const CompressionOptions& options = {},
                       TimeBudget::Clock clock = steady_nanoseconds)
      : resource_(resource), clock_(clock), compressor_(resource, options) {}
  IdleTensors(const IdleTensors&) = delete;
  IdleTensors& operator=(const IdleTensors&) = delete;

  // Takes a tensor and gives the key to it. One that is not contiguous is put in one piece, in its own
  // resource. kUnsupported for one that does not lie on the CPU; the errors of the resource.
  Result<Key> add(Tensor tensor);
  // A tensor that shares its values, restored where they were compressed. kNotFound; the errors of both
  // resources and kCorrupt, with the tensor still there.
  Result<Tensor> get(Key key);
  // The same, and it is no longer kept.
  Result<Tensor> take(Key key);
  // Forgets it without restoring. kNotFound.
  Status remove(Key key);

  // Compresses those that nobody has used for so long, the longest unused first, until the time is up: a
  // tensor that was begun is finished. Does nothing where the resource calls it from within.
  IdleCompression compress_idle(std::chrono::nanoseconds older_than,
                                std::chrono::nanoseconds budget = std::chrono::nanoseconds::max());
  // The same as a function for CleanupManager::add(), which must be removed before this object goes.
  auto cleanup_function(std::chrono::nanoseconds older_than) {
    return [this, older_than](std::chrono::nanoseconds budget) {
      return static_cast<size_t>(compress_idle(older_than, budget).bytes_freed);
    };
  }

  bool is_compressed(Key key) const;  // false of a key that is not there
  IdleTensorStatistics statistics() const;

 private:
  struct Entry {
    Tensor tensor;                              // without a block while it is compressed
    std::optional<CompressedBlock> compressed;  // then
    MemoryResource* home = nullptr;             // then: where the block was
    uint64_t last_use = 0;                      // of the clock
    bool incompressible = false;
    bool busy = false;  // a thread works on it without the lock
  };
  using Entries = std::map<Key, Entry>;
  using Lock = std::unique_lock<std::mutex>;
  class Busy;

  // The entry once nobody works on it; kNotFound.
  Result<Entries::iterator> wait_for(Key key, Lock& lock);
  Result<Tensor> restored(Entry& entry, Lock& lock);
  Result<Tensor> restore(const Entry& entry);
  std::vector<Key> idle_keys(std::chrono::nanoseconds older_than) const;
  void compress(Entry& entry, Lock& lock, IdleCompression& report);

  MemoryResource& resource_;
  const TimeBudget::Clock clock_;
  BlockCompressor compressor_;
  mutable std::mutex mutex_;
  std::condition_variable idle_;  // an entry is no longer busy
  Entries entries_;               // guarded by mutex_, but for the values of one that is busy
  Key last_key_ = 0;
  uint64_t failed_restores_ = 0;
};

}  // namespace lobit
