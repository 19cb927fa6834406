#include "lobit/convert/compare.h"

#include <algorithm>
#include <optional>
#include <unordered_map>

#include <xxhash.h>

#include "lobit/convert/budget.h"
#include "lobit/convert/buffer.h"
#include "lobit/convert/recode.h"

namespace lobit {
namespace {

// Elements whose bytes are hashed and whose errors are summed as one; fixed, so that the results do not
// depend on threads or limits.
constexpr uint64_t kRun = 262'144;
// The most bytes of a run: 8-byte numbers.
constexpr uint64_t kRunBytes = kRun * 8;

struct RunResult {
  kernels::ErrorSums error;
  uint64_t hash_a = 0;
  uint64_t hash_b = 0;
  bool same_bytes = false;
};

bool decodable(const TensorEntry& t) {
  return traits(t.encoding).can_decode;
}

uint64_t runs_of(uint64_t elements) {
  return elements / kRun + (elements % kRun != 0 ? 1 : 0);
}

Status read_run(const Model& model, const TensorEntry& tensor, const Chunk& chunk,
                std::span<std::byte>& bytes) {
  bytes = bytes.first(bytes_before(tensor.encoding, chunk.count));
  return model.parts[tensor.part].file.read_at(tensor.offset + bytes_before(tensor.encoding, chunk.first),
                                               bytes);
}

class Comparison {
 public:
  Comparison(const Model& a, const Model& b, const CompareOptions& options)
      : a_(a), b_(b), options_(options) {}

  Result<std::vector<TensorComparison>> run() {
    pair_tensors();
    std::vector<ChunkedItem> items;
    uint64_t runs = 0;
    for (const TensorComparison& c : comparisons_) {
      const bool both = c.a != nullptr && c.b != nullptr && c.status == ComparisonStatus::kMeasured;
      const uint64_t elements = both ? c.a->shape.elements() : 0;
      items.push_back({c.name, elements, kRun, both ? c.a->bytes + c.b->bytes : 0});
      first_run_.push_back(runs);
      runs += runs_of(elements);
    }
    const uint64_t held = held_bytes(a_) + held_bytes(b_) + runs * sizeof(RunResult) +
                          comparisons_.size() * sizeof(TensorComparison);
    LOBIT_RETURN_IF_ERROR(make_buffers(held));
    results_.resize(runs);
    LOBIT_RETURN_IF_ERROR(
        for_each_chunk(*pool_, items, options_.control,
                       [&](size_t worker, const Chunk& chunk) { return compare_run(worker, chunk); }));
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

  Status make_buffers(uint64_t held) {
    // Two tiles and the bytes of a run from each side.
    constexpr uint64_t kWorkerBytes = 2 * Recoder::kTileBytes + 2 * kRunBytes;
    const size_t wanted = options_.threads == 0 ? ThreadPool::default_threads() : options_.threads;
    LOBIT_TRY(const WorkerBudget budget,
              worker_budget(held, options_.memory_limit, wanted, kWorkerBytes, kWorkerBytes));
    LOBIT_TRY(ThreadPool pool, ThreadPool::create(budget.threads));
    pool_.emplace(std::move(pool));
    for (size_t i = 0; i < budget.threads; ++i) {
      LOBIT_TRY(ScratchBuffer buffer, ScratchBuffer::create(kWorkerBytes));
      buffers_.push_back(std::move(buffer));
    }
    return {};
  }

  Status compare_run(size_t worker, const Chunk& chunk) {
    const TensorComparison& c = comparisons_[chunk.item];
    RunResult& result = results_[first_run_[chunk.item] + chunk.first / kRun];
    const std::span<std::byte> buffer = buffers_[worker].bytes();
    std::span<std::byte> a = buffer.subspan(2 * Recoder::kTileBytes, kRunBytes);
    std::span<std::byte> b = buffer.last(kRunBytes);
    LOBIT_RETURN_IF_ERROR(read_run(a_, *c.a, chunk, a));
    LOBIT_RETURN_IF_ERROR(read_run(b_, *c.b, chunk, b));
    result.hash_a = XXH3_64bits(a.data(), a.size());
    result.hash_b = XXH3_64bits(b.data(), b.size());
    result.same_bytes = c.a->encoding == c.b->encoding && std::ranges::equal(a, b);
    if (!decodable(*c.a) || !decodable(*c.b)) return {};
    auto* const tile_a = reinterpret_cast<float*>(buffer.data());
    auto* const tile_b = tile_a + Recoder::kTileElements;
    const EncodingTraits& tb = traits(c.b->encoding);
    for_each_tile(c.a->encoding, a.data(), chunk.count, tile_a,
                  [&](const float* original, size_t first, size_t n) {
                    const std::byte* at = b.data() + first / tb.block_elements * tb.block_bytes;
                    for_each_tile(c.b->encoding, at, n, tile_b, [&](const float* decoded, size_t, size_t) {
                      kernels::accumulate_error(original, decoded, n, result.error);
                    });
                  });
    return {};
  }

  void summarise(size_t i) {
    TensorComparison& c = comparisons_[i];
    const uint64_t runs = runs_of(c.a->shape.elements());
    const std::span<const RunResult> results(results_.data() + first_run_[i], runs);
    bool same = c.a->encoding == c.b->encoding;
    std::vector<uint64_t> hashes_a;
    std::vector<uint64_t> hashes_b;
    for (size_t r = 0; r < results.size(); ++r) {
      c.error.merge(results[r].error, r * kRun);
      same = same && results[r].same_bytes;
      hashes_a.push_back(results[r].hash_a);
      hashes_b.push_back(results[r].hash_b);
    }
    c.hash_a = combine(hashes_a);
    c.hash_b = combine(hashes_b);
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
  std::vector<uint64_t> first_run_;  // of each comparison, into results_
  std::vector<RunResult> results_;
  std::optional<ThreadPool> pool_;
  std::vector<ScratchBuffer> buffers_;
};

}  // namespace

Result<std::vector<TensorComparison>> compare_models(const Model& a, const Model& b,
                                                     const CompareOptions& options) {
  return Comparison(a, b, options).run();
}

}  // namespace lobit
