#include "lobit/convert/compare.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include <xxhash.h>

#include "lobit/base/fp_env.h"
#include "lobit/convert/budget.h"
#include "lobit/convert/recode.h"
#include "lobit/convert/runs.h"
#include "lobit/convert/workers.h"

namespace lobit {
namespace {

// Two tiles and the bytes of a run from each side.
constexpr uint64_t kWorkerBytes = 2 * Recoder::kTileBytes + 2 * kRunBytes;

struct RunResult {
  kernels::ErrorSums error;
  uint64_t unequal_non_finite = 0;
  bool same_bytes = false;
};
// What a run takes in the table: its result and a hash of each side.
constexpr uint64_t kRunTableBytes = sizeof(RunResult) + 2 * sizeof(uint64_t);
// A tensor's rows in the lists: its comparison, its item and its first run.
constexpr uint64_t kTensorBytes = sizeof(TensorComparison) + kItemBytes + sizeof(uint64_t);

// `held` counts the models.
WorkersSpec workers_spec(uint64_t held, uint64_t tensors, uint64_t runs) {
  return {.held = held + tensors * kTensorBytes,
          .table_bytes = runs * kRunTableBytes,
          .usual_bytes = kWorkerBytes,
          .least_bytes = kWorkerBytes};
}

// Pairs of which one is NaN or Inf, and that are not the same Inf or both NaN.
uint64_t count_unequal_non_finite(const float* a, const float* b, size_t n) {
  uint64_t count = 0;
  for (size_t i = 0; i < n; ++i) {
    if (std::isfinite(a[i]) && std::isfinite(b[i])) continue;
    const bool same = a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]));
    count += same ? 0 : 1;
  }
  return count;
}

bool decodable(const TensorEntry& t) {
  return traits(t.encoding).can_decode;
}

class Comparison {
 public:
  Comparison(const Model& a, const Model& b, const CompareOptions& options)
      : a_(a), b_(b), options_(options) {}

  Result<std::vector<TensorComparison>> run() {
    pair_tensors();
    std::vector<ChunkedItem> items;
    items.reserve(comparisons_.size());
    first_run_.reserve(comparisons_.size());
    uint64_t runs = 0;
    for (const TensorComparison& c : comparisons_) {
      const bool both = c.a != nullptr && c.b != nullptr && c.status == ComparisonStatus::kMeasured;
      const uint64_t elements = both ? c.a->shape.elements() : 0;
      items.push_back({c.name, elements, kRunElements, both ? c.a->bytes + c.b->bytes : 0});
      first_run_.push_back(runs);
      runs += run_count(elements);
    }
    WorkersSpec spec = workers_spec(held_bytes(a_) + held_bytes(b_), comparisons_.size(), runs);
    spec.memory_limit = options_.memory_limit;
    spec.threads = options_.threads;
    spec.memory = options_.memory;
    LOBIT_TRY(Workers workers, Workers::create(spec));
    std::span<std::byte> table = workers.table.bytes();
    results_ = take_values<RunResult>(table, runs);
    hashes_a_ = take_values<uint64_t>(table, runs);
    hashes_b_ = take_values<uint64_t>(table, runs);
    LOBIT_RETURN_IF_ERROR(
        for_each_chunk(workers.threads, items, options_.control, [&](size_t worker, const Chunk& chunk) {
          return compare_run(workers.buffers[worker].bytes(), chunk);
        }));
    for (size_t i = 0; i < comparisons_.size(); ++i) {
      if (comparisons_[i].status == ComparisonStatus::kMeasured) summarise(i);
    }
    return std::move(comparisons_);
  }

 private:
  void pair_tensors() {
    std::unordered_map<std::string_view, const TensorEntry*> in_b;
    for (const TensorEntry& tensor : b_.tensors) in_b.emplace(tensor.name, &tensor);
    for (const TensorEntry& tensor : a_.tensors) {
      TensorComparison c;
      c.name = tensor.name;
      c.a = &tensor;
      if (const auto found = in_b.find(tensor.name); found != in_b.end()) {
        c.b = found->second;
        in_b.erase(found);
        if (c.a->shape != c.b->shape) c.status = ComparisonStatus::kShapeDiffers;
      } else {
        c.status = ComparisonStatus::kOnlyInA;
      }
      comparisons_.push_back(std::move(c));
    }
    for (const TensorEntry& tensor : b_.tensors) {
      if (!in_b.contains(tensor.name)) continue;
      TensorComparison c;
      c.name = tensor.name;
      c.b = &tensor;
      c.status = ComparisonStatus::kOnlyInB;
      comparisons_.push_back(std::move(c));
    }
  }

  Status compare_run(std::span<std::byte> buffer, const Chunk& chunk) {
    const TensorComparison& c = comparisons_[chunk.item];
    const uint64_t run = first_run_[chunk.item] + chunk.first / kRunElements;
    RunResult& result = results_[run];
    std::span<std::byte> a = buffer.subspan(2 * Recoder::kTileBytes, kRunBytes);
    std::span<std::byte> b = buffer.last(kRunBytes);
    LOBIT_RETURN_IF_ERROR(read_run(a_, *c.a, chunk, a));
    LOBIT_RETURN_IF_ERROR(read_run(b_, *c.b, chunk, b));
    hashes_a_[run] = XXH3_64bits(a.data(), a.size());
    hashes_b_[run] = XXH3_64bits(b.data(), b.size());
    result.same_bytes = c.a->encoding == c.b->encoding && std::ranges::equal(a, b);
    if (!decodable(*c.a) || !decodable(*c.b)) return {};
    auto* const tile_a = reinterpret_cast<float*>(buffer.data());
    auto* const tile_b = tile_a + Recoder::kTileElements;
    const EncodingTraits& tb = traits(c.b->encoding);
    for_each_tile(c.a->encoding, a.data(), chunk.count, tile_a,
                  [&](const float* original, size_t first, size_t n) {
                    const std::byte* at = b.data() + first / tb.block_elements * tb.block_bytes;
                    for_each_tile(c.b->encoding, at, n, tile_b, [&](const float* decoded, size_t, size_t) {
                      const uint64_t before = result.error.non_finite;
                      kernels::accumulate_error(original, decoded, n, result.error);
                      if (result.error.non_finite == before) return;  // nearly always
                      result.unequal_non_finite += count_unequal_non_finite(original, decoded, n);
                    });
                  });
    return {};
  }

  void summarise(size_t i) {
    TensorComparison& c = comparisons_[i];
    const uint64_t runs = run_count(c.a->shape.elements());
    bool same = c.a->encoding == c.b->encoding;
    for (const RunResult& result : results_.subspan(first_run_[i], runs)) {
      c.error += result.error;
      c.unequal_non_finite += result.unequal_non_finite;
      same = same && result.same_bytes;
    }
    c.hash_a = combine(hashes_a_.subspan(first_run_[i], runs));
    c.hash_b = combine(hashes_b_.subspan(first_run_[i], runs));
    if (same) {
      c.status = ComparisonStatus::kIdentical;
    } else if (!decodable(*c.a) || !decodable(*c.b)) {
      c.status = ComparisonStatus::kNotComparable;
    }
  }

  static uint64_t combine(std::span<const uint64_t> hashes) {
    return hashes.size() == 1 ? hashes[0] : XXH3_64bits(hashes.data(), hashes.size_bytes());
  }

  const Model& a_;
  const Model& b_;
  const CompareOptions& options_;
  std::vector<TensorComparison> comparisons_;
  std::vector<uint64_t> first_run_;  // of each comparison
  // Of each run, in the workers' table.
  std::span<RunResult> results_;
  std::span<uint64_t> hashes_a_;
  std::span<uint64_t> hashes_b_;
};

}  // namespace

uint64_t least_comparison_limit(const Model& model) {
  // The other side has the same tensors and a few keys more.
  constexpr uint64_t kMoreKeys = 16 << 10;
  uint64_t runs = 0;
  for (const TensorEntry& tensor : model.tensors) runs += run_count(tensor.shape.elements());
  return Workers::least_limit(workers_spec(2 * held_bytes(model) + kMoreKeys, model.tensors.size(), runs));
}

Result<std::vector<TensorComparison>> compare_models(const Model& a, const Model& b,
                                                     const CompareOptions& options) {
  const ScopedFpEnv fp_env;
  return Comparison(a, b, options).run();
}

}  // namespace lobit
