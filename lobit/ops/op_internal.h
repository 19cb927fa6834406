// What operations share: checks of operands, the place of a result, and the cut of work among threads. Not
// installed.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>

#include "lobit/base/result.h"
#include "lobit/ops/op_context.h"
#include "lobit/tensor/tensor.h"

namespace lobit::detail {

// Values that are worked on at a time where they have to be decoded: 8 KiB of F32 in the first cache, for
// each operand. A multiple of every block.
inline constexpr size_t kTileValues = 2048;

// kInvalidArgument without memory or with memory that is not the CPU's.
Status check_context(std::string_view op, const OpContext& context);

// Whether the values of `operand` can be read as F32: kInvalidArgument when it is not on the CPU,
// kUnsupported when lobit cannot decode its encoding.
Status check_operand(std::string_view op, const Tensor& operand);

// F16 when all operands are F16, BF16 when all are BF16, else F32.
ValueFormat result_format(std::initializer_list<const Tensor*> operands);

// The shape of a result whose operands have shapes `a` and `b`, as NumPy broadcasts them: axes are matched
// from the last on, and one of extent 1, or none, repeats. kInvalidArgument for others.
Result<Shape> broadcast_shape(std::string_view op, const Shape& a, const Shape& b);

// Where an operation writes its values: the block of the `out` that the caller gave when that tensor alone
// owns it and lies in one piece, else a block of a new tensor, so that nothing that shares the old one
// changes. `out` keeps its values until commit() where the block is new.
class Output {
 public:
  // kInvalidArgument when `out` has another shape or none of the formats `allowed`; the resource's errors.
  static Result<Output> create(std::string_view op, Tensor& out, const Shape& shape,
                               std::initializer_list<Encoding> allowed, const OpContext& context);

  // The values, undefined in a new block.
  std::byte* bytes() const { return bytes_; }
  Encoding encoding() const { return encoding_; }

  // Makes `out` the tensor that was written to.
  void commit();

 private:
  Output(Tensor& out, std::byte* bytes) : out_(&out), bytes_(bytes), encoding_(out.format().encoding) {}

  Tensor* out_;
  std::optional<Tensor> fresh_;
  std::byte* bytes_;
  Encoding encoding_;
};

// The formats that computed values are stored in.
inline constexpr std::initializer_list<Encoding> kFloats{Encoding::kF32, Encoding::kF16, Encoding::kBF16};

// A float that rounds to the same half as `value` does: inexact ones get an odd last bit.
float for_halves(double value);

// Gives values of an operand as F32, from where they lie when they are F32 in one piece.
class ValueReader {
 public:
  // Of an operand that passed check_operand(), which it does not outlive.
  explicit ValueReader(const Tensor& operand);

  // `count` values from `first` on, in `tile` (of as many) or in the operand itself. The run begins and ends
  // as Tensor::decode_run() asks.
  const float* read(uint64_t first, uint64_t count, float* tile) const {
    if (values_ != nullptr) return values_ + first;
    operand_->decode_run(first, count, tile);
    return tile;
  }

  // All values where they lie; nullptr when they must be decoded.
  const float* values() const { return values_; }

 private:
  const Tensor* operand_;
  const float* values_ = nullptr;
};

// All values as F32 in one piece, in the context's memory.
Result<Tensor> decoded(const Tensor& x, const OpContext& context);

inline size_t thread_count(const OpContext& context) {
  return context.threads == nullptr ? 1 : context.threads->size();
}

// Calls work(index, worker) for every index < count, on the context's threads; worker < thread_count().
template <typename Work>
void for_each_task(const OpContext& context, size_t count, const Work& work) {
  if (thread_count(context) == 1 || count <= 1) {
    for (size_t index = 0; index < count; ++index) work(index, size_t{0});
    return;
  }
  std::atomic<size_t> next{0};
  context.threads->run([&](size_t worker) {
    for (size_t index; (index = next.fetch_add(1, std::memory_order_relaxed)) < count;) work(index, worker);
  });
}

// Calls work(first, count) for pieces of `grain` that make up [0, items), the last maybe short. The cut is
// the same for any number of threads. `work` does not fail and does not throw.
template <typename Work>
void for_each_range(const OpContext& context, uint64_t items, uint64_t grain, const Work& work) {
  if (items == 0) return;
  for_each_task(context, (items - 1) / grain + 1, [&](uint64_t piece, size_t) {
    const uint64_t first = piece * grain;
    work(first, std::min(grain, items - first));
  });
}

}  // namespace lobit::detail
