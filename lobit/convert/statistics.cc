#include "lobit/convert/statistics.h"

#include <cmath>
#include <limits>

#include "lobit/base/fp_env.h"
#include "lobit/convert/recode.h"
#include "lobit/convert/runs.h"
#include "lobit/convert/workers.h"
#include "lobit/kernels/measure.h"

namespace lobit {
namespace {

constexpr uint64_t kWorkerBytes = Recoder::kTileBytes + kRunBytes;
// A tensor's rows in the lists: its item, its first run and its summary.
constexpr uint64_t kTensorBytes = kItemBytes + sizeof(uint64_t) + sizeof(std::optional<ValueSummary>);

ValueSummary summary(const kernels::ValueStats& sums) {
  ValueSummary s;
  s.zeros = sums.zeros;
  s.nans = sums.nans;
  s.infinities = sums.infs;
  if (sums.finite() == 0) {
    s.min = s.max = s.mean = s.standard_deviation = std::numeric_limits<double>::quiet_NaN();
    return s;
  }
  const auto n = static_cast<double>(sums.finite());
  s.min = static_cast<double>(sums.min);
  s.max = static_cast<double>(sums.max);
  s.mean = sums.sum / n;
  s.standard_deviation = std::sqrt(std::max(0.0, sums.sum_squares / n - s.mean * s.mean));
  return s;
}

}  // namespace

Result<std::vector<std::optional<ValueSummary>>> model_statistics(const Model& model,
                                                                  const StatisticsOptions& options) {
  const ScopedFpEnv fp_env;
  std::vector<ChunkedItem> items;
  std::vector<uint64_t> first_run;
  items.reserve(model.tensors.size());
  first_run.reserve(model.tensors.size());
  uint64_t runs = 0;
  for (const TensorEntry& tensor : model.tensors) {
    const uint64_t elements = traits(tensor.encoding).can_decode ? tensor.shape.elements() : 0;
    items.push_back({tensor.name, elements, kRunElements, elements > 0 ? tensor.bytes : 0});
    first_run.push_back(runs);
    runs += run_count(elements);
  }
  LOBIT_TRY(Workers workers, Workers::create({.held = held_bytes(model) + model.tensors.size() * kTensorBytes,
                                              .memory_limit = options.memory_limit,
                                              .threads = options.threads,
                                              .table_bytes = runs * sizeof(kernels::ValueStats),
                                              .usual_bytes = kWorkerBytes,
                                              .least_bytes = kWorkerBytes,
                                              .memory = options.memory}));
  std::span<std::byte> table = workers.table.bytes();
  const std::span<kernels::ValueStats> sums = take_values<kernels::ValueStats>(table, runs);
  LOBIT_RETURN_IF_ERROR(for_each_chunk(
      workers.threads, items, options.control, [&](size_t worker, const Chunk& chunk) -> Status {
        const TensorEntry& tensor = model.tensors[chunk.item];
        const std::span<std::byte> buffer = workers.buffers[worker].bytes();
        std::span<std::byte> bytes = buffer.subspan(Recoder::kTileBytes);
        LOBIT_RETURN_IF_ERROR(read_run(model, tensor, chunk, bytes));
        kernels::ValueStats& run = sums[first_run[chunk.item] + chunk.first / kRunElements];
        for_each_tile(
            tensor.encoding, bytes.data(), chunk.count, reinterpret_cast<float*>(buffer.data()),
            [&](const float* values, size_t, size_t n) { kernels::accumulate_stats(values, n, run); });
        return {};
      }));

  std::vector<std::optional<ValueSummary>> summaries(model.tensors.size());
  for (size_t i = 0; i < summaries.size(); ++i) {
    if (!traits(model.tensors[i].encoding).can_decode) continue;
    kernels::ValueStats total;
    const uint64_t end = first_run[i] + run_count(items[i].elements);
    for (uint64_t run = first_run[i]; run < end; ++run) total += sums[run];
    summaries[i] = summary(total);
  }
  return summaries;
}

}  // namespace lobit
