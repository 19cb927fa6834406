#include "lobit/ops/op_profiler.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/fast_clock.h"

namespace lobit {
namespace {

std::string formats_text(const OpRecord& call) {
  std::string out;
  for (size_t i = 0; i < call.input_count; ++i) {
    out += fmt::format("{}{}", i == 0 ? "" : ", ", to_string(call.inputs[i].format));
  }
  return fmt::format("{} -> {}", out, to_string(call.output.format));
}

// An axis of stride 0 repeats what was read once.
uint64_t stored_bytes(const Tensor& tensor) {
  uint64_t repeats = 1;
  for (size_t axis = 0; axis < tensor.shape().rank(); ++axis) {
    if (tensor.strides()[axis] == 0 && tensor.shape()[axis] > 1) {
      repeats *= static_cast<uint64_t>(tensor.shape()[axis]);
    }
  }
  return tensor.size_bytes() / repeats;
}

}  // namespace

OpProfiler::OpProfiler(size_t max_calls) : max_calls_(max_calls), start_(FastClock().nanoseconds()) {}

uint64_t OpProfiler::now() const {
  const uint64_t time = FastClock().nanoseconds();
  const std::lock_guard lock(mutex_);
  return time > start_ ? time - start_ : 0;
}

OpTotals& OpProfiler::totals_of(const OpRecord& call) {
  std::string formats = formats_text(call);
  const auto found = std::ranges::find_if(
      totals_, [&](const OpTotals& totals) { return totals.op == call.op && totals.formats == formats; });
  if (found != totals_.end()) return *found;
  OpTotals& made = totals_.emplace_back();
  made.op = call.op;
  made.formats = std::move(formats);
  return made;
}

void OpProfiler::record(const OpRecord& call) {
  const std::lock_guard lock(mutex_);
  OpTotals& totals = totals_of(call);
  ++totals.calls;
  totals.bytes_read += call.bytes_read;
  totals.bytes_written += call.bytes_written;
  totals.arithmetic += call.arithmetic;
  totals.duration_ns += call.duration_ns;
  totals.longest_ns = std::max(totals.longest_ns, call.duration_ns);
  totals.threads = std::max(totals.threads, call.threads);
  ++count_;
  if (calls_.size() < max_calls_) calls_.push_back(call);
}

OpProfile OpProfiler::profile() const {
  OpProfile profile;
  {
    const std::lock_guard lock(mutex_);
    profile.totals = totals_;
    profile.calls = calls_;
    profile.calls_left_out = count_ - calls_.size();
  }
  std::ranges::sort(profile.totals, [](const OpTotals& a, const OpTotals& b) {
    return std::tie(b.duration_ns, a.op, a.formats) < std::tie(a.duration_ns, b.op, b.formats);
  });
  return profile;
}

void OpProfiler::clear() {
  const uint64_t time = FastClock().nanoseconds();
  const std::lock_guard lock(mutex_);
  start_ = time;
  calls_.clear();
  totals_.clear();
  count_ = 0;
}

void OpScope::start(std::string_view op, size_t threads) {
  record_.emplace();
  record_->op = op;
  record_->threads = threads;
  record_->start_ns = profiler_->now();
}

void OpScope::finish() {
  // clear() may have come in between.
  const uint64_t end = profiler_->now();
  record_->duration_ns = end - std::min(record_->start_ns, end);
  profiler_->record(*record_);
}

void OpScope::add_input(const Tensor& tensor) {
  record_->bytes_read += stored_bytes(tensor);
  if (record_->input_count == OpRecord::kMaxInputs) return;
  record_->inputs[record_->input_count++] = {tensor.shape(), tensor.format()};
}

void OpScope::set_output(const Shape& shape, ValueFormat format) {
  record_->output = {shape, format};
  if (const auto layout = format_layout(format, shape.rows(), shape.row_elements())) {
    record_->bytes_written = layout->bytes;
  }
}

}  // namespace lobit
