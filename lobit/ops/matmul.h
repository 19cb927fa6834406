// Matrix products of tensors of any shape and format. The operands belong to the caller and are only read;
// results come from the context's memory. Any number of threads may call this at once, each with a context
// whose thread pool no other call uses at that time.
//
// Axes are NumPy's (numpy.matmul): the last two are the matrix, the ones before them broadcast; a first
// operand of one axis is a row and a second one a column, and the result lacks that axis. Results have the
// same bits for any number of threads.
#pragma once

#include <cstdint>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/ops/op_context.h"
#include "lobit/tensor/tensor.h"

namespace lobit::ops {

// How the second operand lies.
enum class TransposeB : uint8_t {
  kNo,   // [..., K, N]
  kYes,  // [..., N, K], as models store weights; with one axis [K] the same as kNo
};

// What the first operand is multiplied as.
enum class ActivationType : uint8_t {
  kF32,
  // 8-bit integers with a scale for each block of the weights, which are multiplied as integers too: an error
  // of up to 1/254 of a block's largest activation each, and several times the speed. For second operands
  // [..., N, K] in Q8_0, Q4_0, Q2_0, Q1_0, TQ2_0 and TQ1_0.
  kInt8,
};

struct MatmulOptions {
  TransposeB transpose_b = TransposeB::kNo;
  ActivationType activations = ActivationType::kF32;
};

// F16 if both operands are F16, BF16 if both are BF16, else F32. Values are multiplied and added in F32.
// kInvalidArgument for scalars and for shapes that do not fit, kUnsupported for operands that lobit cannot
// decode and for weights that kInt8 is not there for, kOutOfMemory and kLimit from the memory.
LOBIT_API Result<Tensor> matmul(const Tensor& a, const Tensor& b, const OpContext& context,
                                const MatmulOptions& options = {});

// Into `out`, which says shape and format of the result (F32, F16 or BF16): to where its values lie if it
// alone owns them in one piece and is neither operand, else `out` becomes a new tensor.
LOBIT_API Status matmul(const Tensor& a, const Tensor& b, Tensor& out, const OpContext& context,
                        const MatmulOptions& options = {});

}  // namespace lobit::ops
