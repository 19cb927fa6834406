#include "lobit/convert/absmean.h"

#include <cmath>

#include <fmt/format.h>

#include "lobit/convert/budget.h"
#include "lobit/convert/recode.h"

namespace lobit {
namespace {

// Elements of a run: one tile, so that even the smallest buffer holds a run in every encoding.
constexpr uint64_t kRun = Recoder::kTileElements;

struct RunSum {
  double sum = 0;
  uint64_t finite = 0;
};

uint64_t run_sums(uint64_t elements) {
  return elements / kRun + (elements % kRun != 0 ? 1 : 0);
}

}  // namespace

uint64_t absmean_bytes(uint64_t elements) {
  return run_sums(elements) * sizeof(RunSum);
}

Result<std::vector<float>> absmean(Workers& workers, std::span<const AbsMeanJob> jobs,
                                   const RunControl& control, bool skip_non_finite) {
  std::vector<ChunkedItem> items;
  std::vector<std::span<RunSum>> runs;  // of each job
  items.reserve(jobs.size());
  runs.reserve(jobs.size());
  std::span<std::byte> table = workers.table.bytes();
  const uint64_t room = workers.buffers[0].size() - Recoder::kTileBytes;
  for (const AbsMeanJob& job : jobs) {
    const TensorEntry& tensor = *job.tensor;
    const uint64_t elements = tensor.shape.elements();
    const uint64_t runs_in_chunk = room / bytes_before(tensor.encoding, kRun);
    items.push_back({tensor.name, elements, runs_in_chunk * kRun, tensor.bytes});
    runs.push_back(take_values<RunSum>(table, run_sums(elements)));
  }
  LOBIT_RETURN_IF_ERROR(
      for_each_chunk(workers.threads, items, control, [&](size_t worker, const Chunk& chunk) -> Status {
        const TensorEntry& tensor = *jobs[chunk.item].tensor;
        const std::span<std::byte> buffer = workers.buffers[worker].bytes();
        const auto in = buffer.subspan(Recoder::kTileBytes, bytes_before(tensor.encoding, chunk.count));
        LOBIT_RETURN_IF_ERROR(
            jobs[chunk.item].file->read_at(tensor.offset + bytes_before(tensor.encoding, chunk.first), in));
        std::optional<uint64_t> bad;
        for_each_tile(tensor.encoding, in.data(), chunk.count, reinterpret_cast<float*>(buffer.data()),
                      [&](const float* values, size_t first, size_t n) {
                        RunSum& run = runs[chunk.item][(chunk.first + first) / kRun];
                        for (size_t i = 0; i < n; ++i) {
                          if (std::isfinite(values[i])) {
                            run.sum += std::fabs(values[i]);
                            ++run.finite;
                          } else if (!bad) {
                            bad = first + i;
                          }
                        }
                      });
        if (!bad || skip_non_finite) return {};
        const uint64_t index = chunk.first + *bad;
        return fail(
            ErrorCode::kDataLoss,
            fmt::format(
                "tensor '{}': element {}: is not finite, so the tensor has no mean (--saturate leaves "
                "it out)",
                tensor.name, index),
            {.index = index});
      }));

  std::vector<float> gammas;
  for (const std::span<const RunSum> tensor : runs) {
    RunSum total;
    for (const RunSum& run : tensor) {
      total.sum += run.sum;
      total.finite += run.finite;
    }
    gammas.push_back(total.finite == 0 ? 0.0f
                                       : static_cast<float>(total.sum / static_cast<double>(total.finite)));
  }
  return gammas;
}

}  // namespace lobit
