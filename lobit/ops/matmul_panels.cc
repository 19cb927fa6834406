// Products through packed panels: every thread makes blocks of the result on its own, with panels of its own.
#include <algorithm>

#include "lobit/kernels/matmul.h"
#include "lobit/memory/buffer.h"
#include "lobit/ops/matmul_internal.h"

namespace lobit::detail {
namespace {

// Sums are made in pieces of this depth, so that the panels of B that are multiplied with one panel of A stay
// in the second cache. A multiple of every border of a format, like kMostColumns.
constexpr size_t kPieceDepth = 512;
constexpr size_t kPanelsOfA = 16;  // that are packed together: half of a second cache
constexpr size_t kMostRows = 2048;
constexpr size_t kMostColumns = 1024;
constexpr size_t kFewestColumns = 256;
constexpr size_t kFewestPanels = 4;  // of rows

size_t round_up(size_t value, size_t unit) {
  return (value + unit - 1) / unit * unit;
}

// How the result is cut into tasks, each of which packs its part of B once and of A as often as there are
// tasks beside it.
class PanelPlan {
 public:
  PanelPlan(const MatmulCall& call, size_t threads) : call_(&call), tile_(kernels::gemm_tile()) {
    rows_ = std::min(round_up(call.rows, tile_.rows), kMostRows / tile_.rows * tile_.rows);
    columns_ = std::min(round_up(call.columns, kFewestColumns), kMostColumns);
    while (threads > 1 && tasks() < 2 * threads) {
      if (columns_ > kFewestColumns) {
        columns_ = round_up(columns_ / 2, kFewestColumns);
      } else if (rows_ > kFewestPanels * tile_.rows) {
        rows_ = round_up(rows_ / 2, tile_.rows);
      } else {
        break;
      }
    }
    columns_ = std::min(columns_, round_up(call.columns, tile_.columns));
    rows_together_ = std::min(rows_, kPanelsOfA * tile_.rows);
    depth_ = std::min(call.depth, kPieceDepth);
  }

  size_t tasks() const { return call_->items * row_tasks() * column_tasks(); }

  // Of one thread: panels of A, panels of B, decoded values.
  size_t scratch_floats() const { return a_floats() + b_floats() + decoded_floats(); }

  void run(size_t task, float* scratch, float* out) const {
    const size_t first_column = task % column_tasks() * columns_;
    const size_t first_row = task / column_tasks() % row_tasks() * rows_;
    const size_t item = task / column_tasks() / row_tasks();
    const size_t columns = std::min(columns_, call_->columns - first_column);
    const size_t end = std::min(first_row + rows_, call_->rows);
    const size_t a_item = call_->a_item(item);
    const size_t b_item = call_->b_item(item);
    float* a = scratch;
    float* b = a + a_floats();
    float* decoded = b + b_floats();
    out += item * call_->rows * call_->columns + first_column;
    for (size_t k = 0; k < call_->depth; k += depth_) {
      const size_t depth = std::min(depth_, call_->depth - k);
      call_->b.pack(b_item, first_column, columns, k, depth, tile_.columns, decoded, b);
      for (size_t row = first_row; row < end; row += rows_together_) {
        const size_t rows = std::min(rows_together_, end - row);
        call_->a.pack(a_item, row, rows, k, depth, tile_.rows, decoded, a);
        kernels::gemm({a, b, rows, columns, depth, out + row * call_->columns, call_->columns, k > 0});
      }
    }
  }

 private:
  size_t row_tasks() const { return (call_->rows + rows_ - 1) / rows_; }
  size_t column_tasks() const { return (call_->columns + columns_ - 1) / columns_; }
  size_t a_floats() const { return kernels::panel_floats(tile_.rows, rows_together_, depth_); }
  size_t b_floats() const {
    return round_up(kernels::panel_floats(tile_.columns, columns_, depth_), tile_.columns);
  }
  size_t decoded_floats() const {
    return MatrixOperand::pack_scratch(std::max(rows_together_, columns_), depth_,
                                       std::max(tile_.rows, tile_.columns));
  }

  const MatmulCall* call_;
  kernels::GemmTile tile_;
  size_t rows_;           // of a task
  size_t columns_;        // of a task
  size_t rows_together_;  // that are packed at a time
  size_t depth_;
};

}  // namespace

Status multiply_panels(const MatmulCall& call, float* out, const OpContext& context) {
  const PanelPlan plan(call, thread_count(context));
  constexpr size_t kLineFloats = 16;  // threads share no line of memory
  const size_t own = round_up(plan.scratch_floats(), kLineFloats);
  LOBIT_TRY(Buffer buffer, Buffer::allocate(*context.memory, thread_count(context) * own * sizeof(float)));
  auto* scratch = reinterpret_cast<float*>(buffer.data());
  for_each_task(context, plan.tasks(),
                [&](size_t task, size_t worker) { plan.run(task, scratch + worker * own, out); });
  return {};
}

}  // namespace lobit::detail
