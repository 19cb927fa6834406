// OpProfiler: which operations ran, on what, and how fast they moved their bytes. Operations that are given
// one report to it; programs report their own with OpScope. It keeps totals of every kind of call, and the
// calls themselves up to a number that bounds its memory. Any number of threads may report to one and read
// it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/dtype/value_format.h"
#include "lobit/tensor/shape.h"
#include "lobit/tensor/tensor.h"

namespace lobit {

// A tensor that an operation read or made.
struct OpOperand {
  Shape shape;
  ValueFormat format;
};

// One call. Bytes are those that the operation must move once: its operands as they are stored (each value of
// a broadcast operand once) and its result.
struct OpRecord {
  static constexpr size_t kMaxInputs = 3;

  std::string_view op;  // "add", "matmul"; lives as long as the program
  std::array<OpOperand, kMaxInputs> inputs{};
  size_t input_count = 0;  // more than kMaxInputs count in the bytes alone
  OpOperand output;
  uint64_t bytes_read = 0;
  uint64_t bytes_written = 0;
  uint64_t arithmetic = 0;  // multiplications and additions, where the operation counts them (matmul)
  size_t threads = 1;
  uint64_t start_ns = 0;  // since the profiler was made or cleared
  uint64_t duration_ns = 0;
};

// All calls of one operation with the same formats.
struct OpTotals {
  std::string op;
  std::string formats;  // "f32, q8_0 -> f32"
  uint64_t calls = 0;
  uint64_t bytes_read = 0;
  uint64_t bytes_written = 0;
  uint64_t arithmetic = 0;
  uint64_t duration_ns = 0;
  uint64_t longest_ns = 0;
  size_t threads = 1;  // the most that a call had
};

// What a profiler knows at one moment.
struct OpProfile {
  std::vector<OpTotals> totals;  // longest first
  std::vector<OpRecord> calls;   // the first ones, in the order in which they ended
  uint64_t calls_left_out = 0;   // calls that only the totals tell of
};

class LOBIT_API OpProfiler {
 public:
  static constexpr size_t kDefaultCalls = 16'384;

  // Keeps the first `max_calls` calls.
  explicit OpProfiler(size_t max_calls = kDefaultCalls);

  void record(const OpRecord& call);
  OpProfile profile() const;
  // Forgets all, and starts time anew.
  void clear();

  // Nanoseconds since it was made or cleared.
  uint64_t now() const;

 private:
  OpTotals& totals_of(const OpRecord& call);

  const size_t max_calls_;
  mutable std::mutex mutex_;
  uint64_t start_;
  std::vector<OpRecord> calls_;
  std::vector<OpTotals> totals_;  // a program has some dozens of kinds
  uint64_t count_ = 0;
};

// From here to the end of the scope an operation runs, which `profiler` is told of; without one nothing
// happens. For one thread.
class LOBIT_API OpScope {
 public:
  // `op` lives as long as the program.
  OpScope(OpProfiler* profiler, std::string_view op, size_t threads = 1) : profiler_(profiler) {
    if (profiler_ != nullptr) start(op, threads);
  }
  OpScope(const OpScope&) = delete;
  OpScope& operator=(const OpScope&) = delete;
  ~OpScope() {
    if (profiler_ != nullptr) finish();
  }

  void reads(const Tensor& tensor) {
    if (profiler_ != nullptr) add_input(tensor);
  }
  void writes(const Shape& shape, ValueFormat format) {
    if (profiler_ != nullptr) set_output(shape, format);
  }
  void counts(uint64_t arithmetic) {
    if (profiler_ != nullptr) record_->arithmetic = arithmetic;
  }
  // Of a call that failed nothing is told.
  void drop() { profiler_ = nullptr; }

 private:
  void start(std::string_view op, size_t threads);
  void finish();
  void add_input(const Tensor& tensor);
  void set_output(const Shape& shape, ValueFormat format);

  OpProfiler* profiler_;
  std::optional<OpRecord> record_;  // with a profiler
};

}  // namespace lobit
