// Tensors put together, taken apart, and picked from: concat, stack, split, gather and take_rows.
//
// Where all parts have one format the bits are kept: of numbers of any kind, of blocks, and of planar formats
// where their groups allow it; the error names the nearest border where not. Parts of several formats are
// decoded, to F32. An `out` of F32, F16 or BF16 takes decoded values in its own format; one of another format
// must have that of all parts, and not be planar. Where `out` alone owns its block it is written there, else
// it becomes a new tensor; parts are never changed.
//
// Indices are raw_i64 or raw_i32 tensors of any shape; each is at least 0 and below the extent that it picks
// from. Errors: kInvalidArgument for shapes, axes, borders and indices that do not fit; kUnsupported for
// values that would have to be decoded and cannot be; those of OpContext::memory. Any number of threads may
// call with tensors of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/ops/op_context.h"
#include "lobit/tensor/tensor.h"

namespace lobit::ops {

// Parts, at least one, whose extents are equal but for `axis`, one behind the other.
LOBIT_API Result<Tensor> concat(std::span<const Tensor> parts, size_t axis, const OpContext& context);
LOBIT_API Status concat(std::span<const Tensor> parts, size_t axis, Tensor& out, const OpContext& context);

// Parts of one shape along a new axis, which comes before axis `axis` of theirs; the rank puts it last.
LOBIT_API Result<Tensor> stack(std::span<const Tensor> parts, size_t axis, const OpContext& context);
LOBIT_API Status stack(std::span<const Tensor> parts, size_t axis, Tensor& out, const OpContext& context);

// Views of `x` that follow each other along an axis; the extents add up to that of the axis. The errors of
// Tensor::slice.
LOBIT_API Result<std::vector<Tensor>> split(const Tensor& x, size_t axis, std::span<const int64_t> extents);

// The slices of an axis that the indices name: the axis gives way to those of `indices`. Values are decoded:
// to F16 or BF16 from these, else to F32.
LOBIT_API Result<Tensor> gather(const Tensor& x, size_t axis, const Tensor& indices,
                                const OpContext& context);
LOBIT_API Status gather(const Tensor& x, size_t axis, const Tensor& indices, Tensor& out,
                        const OpContext& context);

// gather() along the first axis with every bit and the format kept: rows of a quantized table.
LOBIT_API Result<Tensor> take_rows(const Tensor& x, const Tensor& indices, const OpContext& context);

}  // namespace lobit::ops
