// The parts of a matrix product: its operands as matrices, and the two ways to compute it. Not installed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lobit/base/result.h"
#include "lobit/ops/op_context.h"
#include "lobit/ops/op_internal.h"
#include "lobit/tensor/tensor.h"

namespace lobit::detail {

// An operand as one matrix after the other, each of rows() * columns() values; rows are counted through all
// matrices. The sums' depth runs along the columns, or along the rows.
class MatrixOperand {
 public:
  // `depth_last`: whether the tensor's last axis is the depth, or for one axis true. Where the numbers of the
  // axis before the last are the ones that lie together, the matrix is the transposed one.
  static Result<MatrixOperand> create(const Tensor& tensor, bool depth_last);

  bool depth_last() const { return depth_last_; }
  size_t rows() const { return rows_; }
  size_t columns() const { return columns_; }
  size_t items() const { return items_; }  // matrices
  ValueFormat format() const { return tensor_.format(); }

  // Makes one matrix of all of them, one below the other.
  void join_items();

  // `count` values of a row from column `first` on: where they lie, if that is in F32, else decoded to
  // `tile`. The run begins and ends as Tensor::decode_run() asks.
  const float* read(size_t row, size_t first, size_t count, float* tile) const;

  // The values of a row where they lie, as they are encoded; nullptr when they must be decoded.
  const std::byte* row_bytes(size_t row) const;
  // Bytes from a row to the next of the same matrix.
  size_t row_stride() const { return row_stride_; }
  // Copies the tensor where its blocks do not lie in one piece, so that row_bytes() has an answer.
  Status make_blocks_linear(MemoryResource& memory);

  // Values [first, first + count) of the outer extent of one matrix, and [k, k + depth) of the depth, to
  // panels (kernels::pack_panels). `scratch` has pack_scratch() floats.
  void pack(size_t item, size_t first, size_t count, size_t k, size_t depth, size_t tile, float* scratch,
            float* panels) const;
  static size_t pack_scratch(size_t count, size_t depth, size_t tile) { return count + depth * tile; }

 private:
  Status find_rows();
  size_t matrix_offset(size_t matrix) const;  // in bytes
  // F32 rows that lie equally far apart from row `first` on to the last of its matrix; else nullptr.
  const float* even_rows(size_t first) const;

  Tensor tensor_;  // a view of the operand
  bool depth_last_ = true;
  size_t rows_ = 1;
  size_t columns_ = 1;
  size_t items_ = 1;
  size_t matrix_rows_ = 1;            // rows of the tensor's own matrices
  const std::byte* first_ = nullptr;  // where the first row lies, unless it must be decoded
  size_t row_stride_ = 0;
  bool is_float_ = false;  // F32 at addresses that floats may have
  bool is_even_ = false;   // rows are row_stride_ apart, also from one matrix to the next
};

// A product whose shapes fit: out[items][rows][columns].
struct MatmulCall {
  Tensor activations;  // the first operand as it was given
  MatrixOperand a;     // and as matrices
  MatrixOperand b;
  // The result's leading axes and those of the operands. Item i of the result is made of items a_item(i) and
  // b_item(i).
  Shape batch;
  Shape a_batch;
  Shape b_batch;
  size_t items = 1;
  size_t rows = 1;
  size_t columns = 1;
  size_t depth = 0;

  size_t a_item(size_t item) const { return operand_item(item, a_batch); }
  size_t b_item(size_t item) const { return operand_item(item, b_batch); }
  // A product with one matrix b for all of a's is one with all their rows.
  void join_rows();

 private:
  size_t operand_item(size_t item, const Shape& operand_batch) const;
};

// Rows of activations up to which weights are multiplied row by row, as they lie.
inline constexpr size_t kFewRows = 4;

// Ways to fill `out`, with any F32 in it.
using MultiplyFn = Status (*)(const MatmulCall& call, float* out, const OpContext& context);

// Through panels of both operands.
Status multiply_panels(const MatmulCall& call, float* out, const OpContext& context);

// Through the rows of b, whose depth is last and whose rows all have row_bytes(), with activations in F32 or
// as 8-bit integers.
Status multiply_float_rows(const MatmulCall& call, float* out, const OpContext& context);
Status multiply_int8_rows(const MatmulCall& call, float* out, const OpContext& context);

}  // namespace lobit::detail
