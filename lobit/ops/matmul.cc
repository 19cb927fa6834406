#include "lobit/ops/matmul.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/checked.h"
#include "lobit/base/fp_env.h"
#include "lobit/kernels/codec.h"
#include "lobit/memory/buffer.h"
#include "lobit/ops/matmul_internal.h"

namespace lobit::ops {
namespace {

using detail::broadcast_shape;
using detail::check_context;
using detail::check_operand;
using detail::kFewRows;
using detail::kFloats;
using detail::kTileValues;
using detail::MatmulCall;
using detail::MatrixOperand;
using detail::multiply_float_rows;
using detail::multiply_int8_rows;
using detail::multiply_panels;
using detail::MultiplyFn;
using detail::Output;
using detail::result_format;
using enum Encoding;

constexpr std::string_view kOp = "matmul";

// The functions for weights of an encoding: for few rows of activations through the rows of b, where these
// lie along the depth and in one piece, and for all others.
struct MatmulEntry {
  Encoding weights;
  ActivationType activations;
  MultiplyFn rows;
  MultiplyFn panels;  // nullptr: through the rows alone
};

constexpr MatmulEntry float_entry(Encoding weights) {
  return {weights, ActivationType::kF32, multiply_float_rows, multiply_panels};
}
constexpr MatmulEntry int8_entry(Encoding weights) {
  return {weights, ActivationType::kInt8, multiply_int8_rows, nullptr};
}

constexpr std::array kEntries{
    float_entry(kF32),   float_entry(kF16),   float_entry(kBF16), float_entry(kQ8_0), float_entry(kQ4_0),
    float_entry(kQ4_1),  float_entry(kQ5_0),  float_entry(kQ5_1), float_entry(kQ2_0), float_entry(kQ1_0),
    float_entry(kTQ2_0), float_entry(kTQ1_0), float_entry(kQ2_K), float_entry(kQ3_K), float_entry(kQ4_K),
    float_entry(kQ5_K),  float_entry(kQ6_K),  float_entry(kQ8_K), int8_entry(kQ8_0),  int8_entry(kQ4_0),
    int8_entry(kQ2_0),   int8_entry(kQ1_0),   int8_entry(kTQ2_0), int8_entry(kTQ1_0),
};

std::string_view activation_name(ActivationType type) {
  return type == ActivationType::kF32 ? "f32" : "int8";
}

Result<MatmulEntry> find_entry(const Tensor& b, const MatmulOptions& options) {
  const ValueFormat format = b.format();
  const auto found = std::ranges::find_if(kEntries, [&](const MatmulEntry& entry) {
    return entry.weights == format.encoding && entry.activations == options.activations;
  });
  const bool rows_only = found != kEntries.end() && found->panels == nullptr;
  if (found != kEntries.end() && !(rows_only && format.is_planar())) {
    if (!rows_only || options.transpose_b == TransposeB::kYes || b.shape().rank() == 1) return *found;
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: tensor '{}' {}: expected weights [..., N, K] (TransposeB::kYes) for int8 "
                            "activations, found [..., K, N] in {}",
                            kOp, b.name(), b.shape().to_string(), to_string(format)));
  }
  return fail(
      ErrorCode::kUnsupported,
      fmt::format("{}: tensor '{}' {}: expected weights that there is a function for, found {} on the "
                  "cpu with {} activations",
                  kOp, b.name(), b.shape().to_string(), to_string(format),
                  activation_name(options.activations)),
      {.from = to_string(format), .to = std::string(activation_name(options.activations))});
}

std::string describe_shapes(const Tensor& a, const Tensor& b, TransposeB transpose_b) {
  return fmt::format("{} and {}{}", a.shape().to_string(), b.shape().to_string(),
                     transpose_b == TransposeB::kYes ? " (transposed)" : "");
}

// The axes before the matrix.
Result<Shape> leading_axes(const Tensor& tensor) {
  const size_t rank = tensor.shape().rank();
  return Shape::create(tensor.shape().extents().first(rank < 2 ? 0 : rank - 2));
}

struct MatmulShapes {
  Shape batch;
  Shape a_batch;
  Shape b_batch;
  Shape result;
  size_t rows = 1;
  size_t columns = 1;
  size_t depth = 0;
};

Result<Shape> result_shape(const Shape& batch, const Tensor& a, int64_t rows, const Tensor& b,
                           int64_t columns) {
  std::array<int64_t, Shape::kMaxRank + 2> extents{};
  size_t rank = batch.rank();
  std::ranges::copy(batch.extents(), extents.begin());
  if (a.shape().rank() > 1) extents[rank++] = rows;
  if (b.shape().rank() > 1) extents[rank++] = columns;
  return Shape::create({extents.data(), rank});
}

Result<MatmulShapes> match_shapes(const Tensor& a, const Tensor& b, TransposeB transpose_b) {
  const Shape& x = a.shape();
  const Shape& y = b.shape();
  if (x.rank() == 0 || y.rank() == 0) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: shapes: expected at least one axis each, found {}", kOp,
                            describe_shapes(a, b, transpose_b)));
  }
  const bool depth_last = transpose_b == TransposeB::kYes || y.rank() == 1;
  const int64_t depth = x[x.rank() - 1];
  const int64_t b_depth = y[y.rank() - (depth_last ? 1 : 2)];
  if (depth != b_depth) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: shapes: expected as many columns as b has rows, found {}", kOp,
                            describe_shapes(a, b, transpose_b)),
                {.required = static_cast<uint64_t>(depth), .available = static_cast<uint64_t>(b_depth)});
  }
  const int64_t rows = x.rank() == 1 ? 1 : x[x.rank() - 2];
  const int64_t columns = y.rank() == 1 ? 1 : y[y.rank() - (depth_last ? 2 : 1)];
  MatmulShapes shapes;
  shapes.rows = static_cast<size_t>(rows);
  shapes.columns = static_cast<size_t>(columns);
  shapes.depth = static_cast<size_t>(depth);
  LOBIT_TRY(shapes.a_batch, leading_axes(a));
  LOBIT_TRY(shapes.b_batch, leading_axes(b));
  const auto batch = broadcast_shape(kOp, shapes.a_batch, shapes.b_batch);
  if (!batch) {
    return fail(batch.error().code,
                fmt::format("{}: shapes: expected leading axes that broadcast, found {}", kOp,
                            describe_shapes(a, b, transpose_b)),
                batch.error().detail);
  }
  shapes.batch = *batch;
  LOBIT_TRY(shapes.result, result_shape(*batch, a, rows, b, columns));
  return shapes;
}

// Of shapes without an extent of 0.
Status multiply(const Tensor& a, const Tensor& b, const MatmulShapes& shapes, const MatmulEntry& entry,
                TransposeB transpose_b, float* out, const OpContext& context) {
  MatmulCall call;
  call.activations = a;
  call.batch = shapes.batch;
  call.a_batch = shapes.a_batch;
  call.b_batch = shapes.b_batch;
  call.items = static_cast<size_t>(shapes.batch.elements());
  call.rows = shapes.rows;
  call.columns = shapes.columns;
  call.depth = shapes.depth;
  LOBIT_TRY(call.a, MatrixOperand::create(a, true));
  LOBIT_TRY(call.b, MatrixOperand::create(b, transpose_b == TransposeB::kYes || b.shape().rank() == 1));
  call.join_rows();
  const bool through_rows = entry.panels == nullptr || (call.rows <= kFewRows && call.b.depth_last());
  if (through_rows) {
    LOBIT_RETURN_IF_ERROR(call.b.make_blocks_linear(*context.memory));
    if (call.b.row_bytes(0) != nullptr) return entry.rows(call, out, context);
  }
  return entry.panels(call, out, context);
}

// Fills a result of F32, F16 or BF16.
Status fill(const Tensor& a, const Tensor& b, const MatmulShapes& shapes, const MatmulEntry& entry,
            TransposeB transpose_b, const Output& output, const OpContext& context) {
  const EncodingTraits& to = traits(output.encoding());
  const uint64_t elements = shapes.result.elements();
  if (elements == 0) return {};
  if (shapes.depth == 0) {
    std::fill_n(output.bytes(), elements * to.block_bytes, std::byte{0});
    return {};
  }
  if (output.encoding() == kF32) {
    return multiply(a, b, shapes, entry, transpose_b, reinterpret_cast<float*>(output.bytes()), context);
  }
  const auto bytes = checked_mul<uint64_t>(elements, sizeof(float));
  if (!bytes)
    return fail(ErrorCode::kLimit, fmt::format("{}: scratch space: its bytes do not fit 64 bits", kOp));
  LOBIT_TRY(Buffer sums, Buffer::allocate(*context.memory, *bytes));
  auto* values = reinterpret_cast<float*>(sums.data());
  LOBIT_RETURN_IF_ERROR(multiply(a, b, shapes, entry, transpose_b, values, context));
  const kernels::EncodeFn encode = kernels::encoder(kF32, output.encoding());
  constexpr uint64_t kPiece = 16 * kTileValues;
  detail::for_each_range(context, elements, kPiece, [&](uint64_t first, uint64_t count) {
    encode(values + first, output.bytes() + first * to.block_bytes, count);
  });
  return {};
}

struct Prepared {
  MatmulShapes shapes;
  MatmulEntry entry;
};

Result<Prepared> prepare(const Tensor& a, const Tensor& b, const OpContext& context,
                         const MatmulOptions& options) {
  LOBIT_RETURN_IF_ERROR(check_context(kOp, context));
  LOBIT_RETURN_IF_ERROR(check_operand(kOp, a));
  LOBIT_RETURN_IF_ERROR(check_operand(kOp, b));
  LOBIT_TRY(const MatmulShapes shapes, match_shapes(a, b, options.transpose_b));
  LOBIT_TRY(const MatmulEntry entry, find_entry(b, options));
  return Prepared{shapes, entry};
}

Status run(const Prepared& prepared, const Tensor& a, const Tensor& b, Tensor& out, const OpContext& context,
           TransposeB transpose_b) {
  const ScopedFpEnv fp_env;
  const MatmulShapes& shapes = prepared.shapes;
  LOBIT_TRY(Output output, Output::create(kOp, out, shapes.result, kFloats, context));
  OpScope scope(context.profiler, kOp, detail::thread_count(context));
  scope.reads(a);
  scope.reads(b);
  scope.writes(shapes.result, out.format());
  scope.counts(2 * shapes.result.elements() * shapes.depth);
  Status filled = fill(a, b, shapes, prepared.entry, transpose_b, output, context);
  if (!filled) {
    scope.drop();
    return filled;
  }
  output.commit();
  return {};
}

}  // namespace

Result<Tensor> matmul(const Tensor& a, const Tensor& b, const OpContext& context,
                      const MatmulOptions& options) {
  LOBIT_TRY(const Prepared prepared, prepare(a, b, context, options));
  LOBIT_TRY(Tensor out, Tensor::empty(prepared.shapes.result, result_format({&a, &b}), *context.memory));
  LOBIT_RETURN_IF_ERROR(run(prepared, a, b, out, context, options.transpose_b));
  return out;
}

Status matmul(const Tensor& a, const Tensor& b, Tensor& out, const OpContext& context,
              const MatmulOptions& options) {
  // An operand that is `out` itself is read to the end: another share in its block makes a new one for `out`.
  std::optional<Tensor> share;
  if (&out == &a || &out == &b) share = out;
  LOBIT_TRY(const Prepared prepared, prepare(a, b, context, options));
  return run(prepared, a, b, out, context, options.transpose_b);
}

}  // namespace lobit::ops
