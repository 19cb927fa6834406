// What joins and picks share: checks, and rows of planar tensors. Not installed.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "lobit/base/result.h"
#include "lobit/ops/op_context.h"
#include "lobit/tensor/tensor.h"

namespace lobit::detail {

// Of operands whose bytes are copied: kInvalidArgument when one is not on the CPU.
Status check_on_cpu(std::string_view op, const Tensor& operand);

// The result of an operation that writes to a tensor that it is given: `into` is called with an undefined
// one.
template <typename Into>
Result<Tensor> made_tensor(const Shape& shape, ValueFormat format, const OpContext& context,
                           const Into& into) {
  LOBIT_TRY(Tensor out, Tensor::empty(shape, format, *context.memory));
  LOBIT_RETURN_IF_ERROR(into(out));
  return out;
}

// Decodes a run of `x` that is made of whole rows to element `to` on of values in F32, F16 or BF16. For the
// last two, `x` has been through with_free_cuts().
void decode_to(const Tensor& x, uint64_t first, uint64_t count, Encoding encoding, std::byte* out,
               uint64_t to);

// The planes of a contiguous planar tensor.
template <typename Byte>
struct Planes {
  Byte* codes;
  Byte* scales;
  FormatLayout layout;
  uint64_t columns;

  // Copies `rows` rows of codes and their scales from row `first` of tensors of as many columns.
  template <typename From>
  void copy_rows(const Planes<From>& from, uint64_t first, uint64_t rows, uint64_t to) const {
    const uint64_t scale_bytes = layout.row_scales * sizeof(float);
    std::memcpy(codes + to * layout.row_bytes, from.codes + first * layout.row_bytes,
                rows * layout.row_bytes);
    std::memcpy(scales + to * scale_bytes, from.scales + first * scale_bytes, rows * scale_bytes);
  }
};

Result<Planes<const std::byte>> planes_of(const Tensor& x);
Result<Planes<std::byte>> mutable_planes_of(Tensor& x);

}  // namespace lobit::detail
