// TensorJob: one tensor on its way to another format, in new memory or where it lies. What every entry point
// of the engine, every converter, batch and pipeline carries out. The caller decides by which threads; the
// chunks of a phase are independent, so their order and number change no byte.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "lobit/base/result.h"
#include "lobit/convert/chunks.h"
#include "lobit/convert/memory_account.h"
#include "lobit/convert/tensor_recoder.h"
#include "lobit/memory/buffer.h"
#include "lobit/tensor/tensor.h"

namespace lobit {

struct TensorJobSpec {
  ValueFormat to = {};
  QuantizeMethod method = QuantizeMethod::kDirect;
  OverflowRule overflow = OverflowRule::kRefuse;
  // Source bytes of a chunk; 0: as many as fit the second-level cache together with the target's.
  uint64_t chunk_bytes = 0;
  MemoryResource* memory = nullptr;
  MemoryAccount* account = nullptr;
};

// What a job did, for its event.
struct TensorJobFacts {
  RecodeCounts counts;
  uint64_t allocated_bytes = 0;
  uint64_t peak_bytes = 0;
  uint64_t chunks = 0;
};

// How the tensor's values lie in the format, when they can become it at all: kUnsupported and kDevice name
// both sides, kInvalidArgument says that the rows do not fill the blocks.
Result<FormatLayout> check_convertible(const Tensor& source, ValueFormat to, Device device);

class TensorJob {
 public:
  // `layout` is what check_convertible() said. The source must stay where it is until the end.
  TensorJob(const Tensor& source, const FormatLayout& layout, const TensorJobSpec& spec);
  TensorJob(const TensorJob&) = delete;
  TensorJob& operator=(const TensorJob&) = delete;

  // First of all, once. kLimit before anything is allocated when the account has no room.
  Status take_memory();

  // First phase, of formats whose groups are too long for a tile; without elements when there is none.
  ChunkedItem measuring() const;
  Status measure(const Chunk& chunk);
  // Second phase.
  ChunkedItem encoding() const;
  Status encode(const Chunk& chunk);

  // Both phases. Cancellation leaves nothing behind.
  Status run(const ChunkWorkers& workers, const RunControl& control);

  // Whether it is so little that other threads would not help.
  bool is_small() const { return recoder_.elements() <= chunk_elements_; }

  // Whether measure() takes scratch, of which there is enough for one call at a time.
  bool has_scratch() const { return recoder_.scratch_bytes() > 0; }

  // The result, which is the account's no longer unless `hold` takes over. Once, after all chunks.
  Tensor take_result(MemoryAccount::Hold* hold = nullptr);
  TensorJobFacts facts() const;

 private:
  TensorRecoderOptions recoder_options() const;
  void add(const RecodeCounts& counts);

  const Tensor& source_;
  const FormatLayout layout_;
  const TensorJobSpec spec_;
  TensorRecoder recoder_;
  std::optional<Tensor> gathered_;  // the source in one piece, when it has to be
  Tensor result_;
  Buffer stand_ins_;  // see TensorRecoder
  MemoryAccount::Hold hold_;
  uint64_t chunk_elements_ = 1;
  uint64_t allocated_bytes_ = 0;
  std::atomic<uint64_t> flushed_ = 0;
  std::atomic<uint64_t> saturated_ = 0;
};

// Whether values in `from` can be overwritten by themselves in `to`, front to back: kInvalidArgument naming
// both sizes when the target needs more room. `capacity` is that of the storage.
Status check_in_place(ValueFormat from, ValueFormat to, const Shape& shape, uint64_t capacity);

// What is looked at before the first byte changes.
enum class InPlaceChecks : uint8_t {
  kNone,   // nothing: an error in the middle leaves the tensor with values of both formats
  kFits,   // every value, so that an error leaves the tensor as it was
  kExact,  // and that every value comes back as it was: kDataLoss otherwise
};

// Rewrites a tensor's storage. The tensor keeps its id, name and tags; storage that others share is copied
// first.
Result<TensorJobFacts> convert_in_place(Tensor& tensor, const TensorJobSpec& spec, InPlaceChecks checks,
                                        const ChunkWorkers& workers, const RunControl& control);

}  // namespace lobit
