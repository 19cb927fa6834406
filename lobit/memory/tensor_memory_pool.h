// TensorMemoryPool: memory for tensors that come and go in the same sizes. A freed block is kept and given to
// the next tensor of its size category that needs half of it or more, the best fit first. What is kept is
// bounded, and trim() gives all of it back.
//
// Programs that work in steps (a token, a batch) mark them: when the sizes of a step repeat, begin_step()
// takes ahead what the step will need and the pool does not have. create_prewarmed() does the same once, at
// the start.
//
// Thread-safe: a lock around each call, which is not held while the resource below is asked, so that the
// resource may call trim() when it runs short. The pool stands on one resource, serves its device only, and
// must not outlive it; a block is used again only for the stream on which it was freed (the CPU ignores
// streams). Blocks are as large as asked, rounded up to the alignment of their size category. The pool's end
// frees every tensor.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "lobit/memory/block_size_advice.h"
#include "lobit/memory/memory_resource.h"
#include "lobit/memory/tensor_pool_metrics.h"
#include "lobit/memory/tensor_size_category.h"

namespace lobit {

// The caller's number for a tensor: named in errors and in live_tensors(). The pool does not compare them.
using TensorId = uint64_t;

enum class TensorUse : uint8_t {
  kOrdinary,
  // Lives long: gets a block that is at most 1/16 too large, before rounding, not up to twice.
  kWeight,
  // Meant to be freed before end_step(), which counts those that are not.
  kTemporary,
};

// What allocate_tensor() gives and deallocate_tensor() takes. A plain value: copies mean the same tensor.
struct TensorHandle {
  TensorId id = 0;
  void* data = nullptr;
  size_t bytes = 0;       // as asked
  uint64_t sequence = 0;  // tells it from every other tensor of its pool, also of earlier times
  uint32_t slot = 0;      // where the pool remembers it
  uint32_t pool = 0;      // TensorMemoryPool::serial()

  friend bool operator==(const TensorHandle&, const TensorHandle&) = default;
};

enum class StepPrefetch : uint8_t { kOff, kOn };

struct TensorPoolOptions {
  // Freed blocks are kept up to this many bytes in all; the one that waits longest goes first. 0 keeps none.
  uint64_t max_retained_bytes = uint64_t{256} << 20;
  // A kept block goes back when this many tensors were allocated and none needed it. Counted in allocations
  // because a pool that nobody calls cannot look at a clock: when a program pauses, it calls trim().
  uint64_t stale_after = 100'000;
  // Whether begin_step() takes blocks ahead. Off: it only marks, and learnt_sizes() still learns.
  StepPrefetch prefetch = StepPrefetch::kOn;
  // Rising nanoseconds, to measure with; nullptr is the system's steady clock.
  uint64_t (*clock)() = nullptr;
};

// The powers of two from 64 KiB to 4 MiB, in 23.5 MiB: what a program of unknown sizes is served well by.
LOBIT_API std::vector<SizeCount> common_tensor_sizes();

struct PrewarmOptions {
  // Bytes of all blocks taken ahead, as they are rounded; never exceeded. At most max_retained_bytes. 0 takes
  // none.
  uint64_t budget = uint64_t{32} << 20;
  // How many blocks of each size; what one run's learnt_sizes() says is right for the next. One of each size
  // in turn, until the budget has no room for any.
  std::vector<SizeCount> sizes = common_tensor_sizes();
  // Whose tensors they are for; the CPU ignores streams.
  Stream stream = {};
};

struct StepSummary {
  uint64_t allocations = 0;
  uint64_t hits = 0;
  uint64_t temporaries_alive = 0;  // kTemporary tensors of this step that were not freed

  friend bool operator==(const StepSummary&, const StepSummary&) = default;
};

namespace detail {
struct TensorPoolState;
}

class LOBIT_API TensorMemoryPool {
 public:
  // Starts empty.
  static Result<std::unique_ptr<TensorMemoryPool>> create(MemoryResource& upstream,
                                                          const TensorPoolOptions& options = {});
  // Starts with blocks whose every page was touched, so that the first tensors are hits without page faults.
  // kInvalidArgument when the budget is above max_retained_bytes or a size is 0; the error of `upstream` when
  // it refuses a block.
  static Result<std::unique_ptr<TensorMemoryPool>> create_prewarmed(MemoryResource& upstream,
                                                                    const PrewarmOptions& prewarm = {},
                                                                    const TensorPoolOptions& options = {});
  ~TensorMemoryPool();
  TensorMemoryPool(const TensorMemoryPool&) = delete;
  TensorMemoryPool& operator=(const TensorMemoryPool&) = delete;

  // Memory aligned as its category says. kInvalidArgument for 0 bytes, or for a device that is not the
  // resource's; otherwise the error of the resource, which is asked again after trim() when it has no room.
  Result<TensorHandle> allocate_tensor(TensorId id, size_t bytes, Device device = {},
                                       TensorUse use = TensorUse::kOrdinary, Stream stream = {});
  // kInvalidArgument, without effect, when the tensor is not alive in this pool: freed before, or another
  // pool's. Its bytes then still belong to whoever has them now.
  Status deallocate_tensor(const TensorHandle& tensor, Stream stream = {});

  // Steps belong to the whole pool: one thread marks them, all threads' tensors count. kInvalidArgument when
  // a step is open already, or none is. What cannot be taken ahead (no memory, max_retained_bytes) is left
  // out.
  Status begin_step(Stream stream = {});
  Result<StepSummary> end_step();
  // How many tensors of each size, as their blocks were rounded, the last complete step had alive at one
  // time, by rising size.
  std::vector<SizeCount> learnt_sizes() const;

  // Gives every kept block back to the resource below and returns their bytes.
  uint64_t trim();

  // Alive now, in order of allocation: what is still here at the end was forgotten.
  std::vector<TensorHandle> live_tensors() const;
  TensorPoolMetrics performance_metrics() const;
  // TensorCategoryMetrics::recent_allocation_ns without the lock; 0 when nothing was measured.
  double recent_allocation_ns(TensorSizeCategory category) const {
    return recent_ns_[static_cast<size_t>(category)].load(std::memory_order_relaxed);
  }
  // Differs from every other pool's of this process (until 2^32 pools were made).
  uint32_t serial() const { return serial_; }
  Device device() const { return upstream_.device(); }

 private:
  // Who wants a block from below: a tensor, or the pool for tensors to come.
  enum class Purpose : uint8_t { kTensor, kAhead };

  TensorMemoryPool(MemoryResource& upstream, const TensorPoolOptions& options);
  Status prewarm(const PrewarmOptions& prewarm);
  Result<void*> allocate_upstream(size_t bytes, Purpose purpose, Stream stream);
  Result<uint32_t> take_upstream(size_t bytes, Purpose purpose, Stream stream,
                                 std::unique_lock<std::mutex>& lock);
  Result<uint32_t> keep_one_more(size_t bytes, Stream stream, std::unique_lock<std::mutex>& lock);
  void note_peak();
  TensorHandle hand_out(uint32_t slot, TensorId id, size_t bytes, TensorUse use, bool hit);
  void measure(TensorSizeCategory category, uint64_t ns, uint64_t weight);
  void prefetch(const SizeCount& size, Stream stream, std::unique_lock<std::mutex>& lock);
  bool must_release() const;
  void release_excess(std::unique_lock<std::mutex>& lock);
  void release_oldest(std::unique_lock<std::mutex>& lock);
  void release(uint32_t slot, std::unique_lock<std::mutex>& lock);

  // The CPU does everything at once, so any of its blocks may serve any stream.
  Stream own_stream(Stream stream) const { return device().kind == DeviceKind::kCpu ? Stream{} : stream; }

  MemoryResource& upstream_;
  const TensorPoolOptions options_;
  const uint32_t serial_;
  std::array<std::atomic<double>, kTensorSizeCategories> recent_ns_{};
  mutable std::mutex mutex_;
  const std::unique_ptr<detail::TensorPoolState> state_;  // guarded by mutex_
};

}  // namespace lobit
