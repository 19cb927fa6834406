// Products through the rows of the weights, as they lie.
#include <algorithm>
#include <cstring>

#include "lobit/base/checked.h"
#include "lobit/kernels/matmul.h"
#include "lobit/memory/buffer.h"
#include "lobit/ops/matmul_internal.h"

namespace lobit::detail {
namespace {

constexpr size_t kFewestWeightRows = 16;    // of a task
constexpr size_t kMostActivationRows = 64;  // that stay in the second cache while the weights pass
constexpr size_t kRowsOfReader = 4;         // activations that a thread prepares at a time

// The activations of a call as the kernels take them.
struct PreparedRows {
  Buffer buffer;  // empty where the operand's own values will do
  const std::byte* first = nullptr;
  size_t stride = 0;  // bytes
};

// Fills rows of `stride` bytes: prepare(values, row) makes each from the row's values in F32.
template <typename Prepare>
Result<PreparedRows> prepare_rows(const MatmulCall& call, size_t stride, const OpContext& context,
                                  const Prepare& prepare) {
  const size_t rows = call.depth == 0 ? 0 : static_cast<size_t>(call.activations.elements()) / call.depth;
  const auto bytes = checked_mul(rows, stride);
  if (!bytes) return fail(ErrorCode::kLimit, "matmul: scratch space: its bytes do not fit 64 bits");
  PreparedRows prepared;
  prepared.stride = stride;
  LOBIT_TRY(prepared.buffer, Buffer::allocate(*context.memory, *bytes));
  LOBIT_TRY(Buffer tiles,
            Buffer::allocate(*context.memory, thread_count(context) * call.depth * sizeof(float)));
  const ValueReader reader(call.activations);
  const size_t tasks = (rows + kRowsOfReader - 1) / kRowsOfReader;
  for_each_task(context, tasks, [&](size_t task, size_t worker) {
    float* tile = reinterpret_cast<float*>(tiles.data()) + worker * call.depth;
    const size_t end = std::min(rows, (task + 1) * kRowsOfReader);
    for (size_t row = task * kRowsOfReader; row < end; ++row) {
      prepare(reader.read(row * call.depth, call.depth, tile), prepared.buffer.data() + row * stride);
    }
  });
  prepared.first = prepared.buffer.data();
  return prepared;
}

// Weights of a task: far streams want many rows, threads want several tasks.
size_t weight_rows_of_task(size_t rows, size_t items, size_t threads) {
  if (threads == 1 || items >= 4 * threads) return rows;
  const size_t even = (rows + 4 * threads - 1) / (4 * threads);
  return (even + kFewestWeightRows - 1) / kFewestWeightRows * kFewestWeightRows;
}

void multiply_rows(const MatmulCall& call, kernels::RowProductsFn multiply, const PreparedRows& activations,
                   float* out, const OpContext& context) {
  const size_t columns = weight_rows_of_task(call.columns, call.items, thread_count(context));
  const size_t column_tasks = (call.columns + columns - 1) / columns;
  const size_t row_tasks = (call.rows + kMostActivationRows - 1) / kMostActivationRows;
  for_each_task(context, call.items * row_tasks * column_tasks, [&](size_t task, size_t) {
    const size_t column = task % column_tasks * columns;
    const size_t row = task / column_tasks % row_tasks * kMostActivationRows;
    const size_t item = task / column_tasks / row_tasks;
    multiply({.encoding = call.b.format().encoding,
              .weights = call.b.row_bytes(call.b_item(item) * call.columns + column),
              .weight_stride = call.b.row_stride(),
              .weight_rows = std::min(columns, call.columns - column),
              .depth = call.depth,
              .activations = activations.first + (call.a_item(item) * call.rows + row) * activations.stride,
              .activation_stride = activations.stride,
              .activation_rows = std::min(kMostActivationRows, call.rows - row),
              .out = out + (item * call.rows + row) * call.columns + column,
              .out_stride = call.columns});
  });
}

}  // namespace

Status multiply_float_rows(const MatmulCall& call, float* out, const OpContext& context) {
  PreparedRows activations;
  activations.stride = call.depth * sizeof(float);
  if (const float* values = ValueReader(call.activations).values()) {
    activations.first = reinterpret_cast<const std::byte*>(values);
  } else {
    const auto keep = [&](const float* from, std::byte* to) {
      std::memcpy(to, from, call.depth * sizeof(float));
    };
    LOBIT_TRY(activations, prepare_rows(call, activations.stride, context, keep));
  }
  multiply_rows(call, kernels::row_products(call.b.format().encoding), activations, out, context);
  return {};
}

Status multiply_int8_rows(const MatmulCall& call, float* out, const OpContext& context) {
  const Encoding weights = call.b.format().encoding;
  const kernels::Int8ActivationsFn quantize = kernels::int8_activations(weights);
  LOBIT_TRY(const PreparedRows activations,
            prepare_rows(call, kernels::int8_activation_bytes(weights, call.depth), context,
                         [&](const float* from, std::byte* to) { quantize(from, call.depth, to); }));
  multiply_rows(call, kernels::int8_row_products(weights), activations, out, context);
  return {};
}

}  // namespace lobit::detail
