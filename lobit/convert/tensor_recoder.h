// TensorRecoder: turns runs of one tensor's values, whatever its format and strides, into the bytes of
// another format. The one place where tensors are converted; everything above decides only which runs, when,
// by which thread and into which memory. Runs are independent of each other, so any number of threads may
// call.
//
// Borrows source and target. Needs nothing besides: tiles of values lie on the stack.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lobit/base/result.h"
#include "lobit/convert/overflow_rule.h"
#include "lobit/convert/recode.h"
#include "lobit/dtype/value_format.h"
#include "lobit/memory/memory_resource.h"
#include "lobit/quant/quantize_method.h"
#include "lobit/tensor/tensor.h"

namespace lobit {

struct TensorRecoderOptions {
  QuantizeMethod method = QuantizeMethod::kDirect;
  OverflowRule overflow = OverflowRule::kRefuse;
  // The target lies where the source does and never behind it: everything goes through the tile, and what a
  // run reads it reads before it writes.
  bool in_place = false;
  // Where scratch comes from for groups that must be in memory whole.
  MemoryResource* memory = nullptr;
};

class TensorRecoder {
 public:
  // The source is contiguous when it is in place or of BitNet158. `layout` is that of `to`.
  TensorRecoder(const Tensor& source, ValueFormat to, const FormatLayout& layout,
                const TensorRecoderOptions& options);

  // Before measure() and run(): `codes` has room for everything but the planar scales, `scales` for those,
  // `stand_ins` is of stand_in_bytes().
  void set_target(std::byte* codes, float* scales, float* stand_ins) {
    codes_ = codes;
    scales_ = scales;
    stand_ins_ = stand_ins;
  }

  const Tensor& source() const { return *source_; }

  // Runs begin at multiples of this, and their length is one, or reaches to the end.
  uint64_t granule() const { return granule_; }
  uint64_t elements() const { return elements_; }

  // Groups whose scale is found by measure() before run() is called; 0 when run() finds all scales itself.
  uint64_t measured_groups() const { return measured_groups_; }
  Status measure(uint64_t group, RecodeCounts& counts) const;

  // Adds to `counts`. kDataLoss and kCorrupt name the tensor and the place.
  Status run(uint64_t first, uint64_t count, RecodeCounts& counts) const;

  // What run() would say, without a target: nothing is written.
  Status check(uint64_t first, uint64_t count) const;

  // kDataLoss, naming the first value that would not come back as it is, if there is one: whatever the
  // format, values are encoded as run() would do it, decoded and compared. Of planar targets the scales are
  // written, and those of long groups have been by measure().
  Status check_exact(uint64_t first, uint64_t count) const;

  // The most scratch that one measure() asks of the memory resource.
  uint64_t scratch_bytes() const;
  // What measure() writes for run() beside the scales: of groups whose values may be saturated, the magnitude
  // that an Inf becomes, or 0 where it is known that there is none. A scale that was searched for does not
  // tell it.
  uint64_t stand_in_bytes() const;

 private:
  Status run_direct(uint64_t first, uint64_t count, RecodeCounts& counts) const;
  Status run_blocks(uint64_t first, uint64_t count, RecodeCounts& counts) const;
  Status run_rows(uint64_t first, uint64_t count, RecodeCounts& counts) const;
  Status encode_row(uint64_t row, uint64_t column, float* values, uint64_t count, std::byte* codes,
                    RecodeCounts& counts) const;
  Status check_exact_rows(uint64_t first, uint64_t count) const;
  Status check_exact_blocks(uint64_t first, uint64_t count) const;
  Status lost(uint64_t index, float value) const;
  Status find_scale(uint64_t first, float* values, uint64_t count, float& scale, RecodeCounts& counts) const;
  Status measure_directly(uint64_t group, RecodeCounts& counts) const;
  Status measure_whole(uint64_t group, RecodeCounts& counts) const;
  // Where a piece of a row has its planar scales: one for all of it, or one for each group.
  float* scales_at(uint64_t row, uint64_t column) const;
  bool has_one_scale() const { return to_.scales == ScaleGroup::kTensor || measured_groups_ > 0; }
  // Of a single group that is short, so that its codes end with a byte.
  uint64_t whole_bytes_group() const { return (group_ + 7) / 8 * 8; }
  uint64_t tile_elements(uint64_t at, uint64_t end) const;
  Status check_source(uint64_t first, uint64_t count) const;
  Status refuse(uint64_t first, const float* values, uint64_t count) const;
  void decode(uint64_t first, uint64_t count, float* values) const {
    source_->decode_run(first, count, values);
  }
  std::string_view name() const;

  const Tensor* source_;
  ValueFormat from_;
  ValueFormat to_;
  FormatLayout layout_;
  std::byte* codes_ = nullptr;
  float* scales_ = nullptr;
  float* stand_ins_ = nullptr;  // one for each measured group
  TensorRecoderOptions options_;
  uint64_t columns_;
  uint64_t elements_;
  uint64_t granule_ = 1;
  uint64_t group_ = 0;  // values that share a planar scale at most
  uint64_t measured_groups_ = 0;
  const std::byte* bytes_ = nullptr;  // the source's, when it is contiguous
  bool direct_ = false;               // a kernel may read them where they lie
};

}  // namespace lobit
