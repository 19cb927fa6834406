#include "lobit/convert/execute.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>
#include <system_error>

#include <fmt/format.h>

#include "lobit/base/fp_env.h"
#include "lobit/convert/absmean.h"
#include "lobit/convert/budget.h"
#include "lobit/convert/file_chunk.h"
#include "lobit/convert/recode.h"
#include "lobit/convert/workers.h"
#include "lobit/dtype/half.h"

namespace lobit {
namespace {

namespace fs = std::filesystem;

// How far ahead of the chunk being converted the system is asked to read.
constexpr uint64_t kReadAhead = 32 << 20;
// A tensor's rows in the lists: its item, its gamma and its counts.
constexpr uint64_t kTensorBytes = kItemBytes + sizeof(std::optional<float>) + sizeof(TensorCounts);

// One conversion on its way. Created, run once, dropped; on the way out unfinished files remove themselves.
class Execution {
 public:
  Execution(const Model& model, const ConversionPlan& plan, const ExecuteOptions& options)
      : model_(model), plan_(plan), options_(options) {}

  // What can be refused before anything is written.
  Status check() const {
    LOBIT_RETURN_IF_ERROR(check_targets());
    return check_limit();
  }

  Result<ConversionResult> run() {
    const auto start = std::chrono::steady_clock::now();
    LOBIT_RETURN_IF_ERROR(check());
    LOBIT_RETURN_IF_ERROR(make_workers());
    LOBIT_RETURN_IF_ERROR(make_folder());
    Status status = write_all();
    if (!status) {
      files_.clear();
      if (made_folder_) {
        std::error_code ignored;  // goes only if it is empty
        fs::remove(plan_.output, ignored);
      }
      return fail(std::move(status).error());
    }
    result_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return std::move(result_);
  }

 private:
  Status check_targets() const {
    if (options_.existing == ExistingFiles::kReplace) return {};
    const std::vector<fs::path> existing = plan_.existing_targets();
    if (existing.empty()) return {};
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: exists and is not to be replaced (--overwrite allows it)", existing[0].native()));
  }

  WorkersSpec workers_spec() const {
    WorkersSpec spec;
    spec.held = held_bytes(model_) + held_bytes(plan_) + plan_.tensors.size() * kTensorBytes;
    spec.memory_limit = options_.memory_limit;
    spec.threads = options_.threads;
    spec.usual_bytes = Recoder::kTileBytes + kUsualChunkBytes;
    spec.least_bytes = Recoder::kTileBytes + kLeastChunkBytes;
    spec.memory = options_.memory;
    for (size_t i = 0; i < plan_.tensors.size(); ++i) {
      if (needs_gamma(i)) spec.table_bytes += absmean_bytes(source_of(i).shape.elements());
    }
    return spec;
  }

  Status check_limit() const {
    if (options_.memory_limit == 0) return {};
    // Large headers took more while they were made than they and the least buffers take now.
    const uint64_t least = std::max(planning_bytes(model_, plan_), Workers::least_limit(workers_spec()));
    return options_.memory_limit < least ? Workers::too_small(least, options_.memory_limit) : Status{};
  }

  Status make_workers() {
    LOBIT_TRY(Workers workers, Workers::create(workers_spec()));
    workers_.emplace(std::move(workers));
    result_.threads = workers_->threads.size();
    result_.buffer_bytes = workers_->buffer_bytes();
    result_.tensors.resize(plan_.tensors.size());
    return {};
  }

  Status make_folder() {
    if (!plan_.to_folder) return {};
    std::error_code error;
    made_folder_ = fs::create_directory(plan_.output, error);
    if (error) {
      return fail(ErrorCode::kIo,
                  fmt::format("{}: cannot create the folder: {}", plan_.output.native(), error.message()));
    }
    return {};
  }

  Status write_all() {
    for (const PlannedFile& planned : plan_.files) {
      LOBIT_TRY(OutputFile file, OutputFile::create(planned.target, planned.file_bytes));
      LOBIT_RETURN_IF_ERROR(file.write_at(0, std::as_bytes(std::span(planned.header))));
      files_.push_back(std::move(file));
    }
    if (plan_.ternary == TernaryRule::kAbsMean) LOBIT_RETURN_IF_ERROR(find_gammas());
    LOBIT_RETURN_IF_ERROR(convert_tensors());
    std::vector<OutputFile> copies;
    for (const PlannedCopy& copy : plan_.copies) {
      LOBIT_TRY(OutputFile file, write_copy(copy));
      copies.push_back(std::move(file));
    }
    return commit(std::move(copies));
  }

  bool needs_gamma(size_t planned) const {
    return gets_absmean(plan_, plan_.tensors[planned], source_of(planned).encoding);
  }

  Status find_gammas() {
    std::vector<AbsMeanJob> jobs;
    std::vector<size_t> owners;
    for (size_t i = 0; i < plan_.tensors.size(); ++i) {
      if (!needs_gamma(i)) continue;
      const TensorEntry& source = source_of(i);
      jobs.push_back({&source, &model_.parts[source.part].file});
      owners.push_back(i);
    }
    LOBIT_TRY(const std::vector<float> gammas,
              absmean(*workers_, jobs, options_.control, options_.overflow == OverflowRule::kSaturate));
    workers_->drop_table();
    gammas_.resize(plan_.tensors.size());
    for (size_t i = 0; i < owners.size(); ++i) {
      LOBIT_TRY(gammas_[owners[i]], storable_gamma(*jobs[i].tensor, gammas[i]));
    }
    return {};
  }

  // Gamma is each block's scale, so it must fit F16.
  Result<float> storable_gamma(const TensorEntry& tensor, float gamma) const {
    constexpr float kLargest = 65504.0f;
    if (f16_to_f32(f32_to_f16(gamma)) <= kLargest) return gamma;
    if (options_.overflow == OverflowRule::kSaturate) return kLargest;
    return fail(
        ErrorCode::kDataLoss,
        fmt::format("tensor '{}': its mean magnitude {} is too large for a scale (--saturate stores {})",
                    tensor.name, gamma, kLargest));
  }

  Status convert_tensors() {
    std::vector<ChunkedItem> items;
    items.reserve(plan_.tensors.size());
    const uint64_t chunk_bytes = workers_->buffers[0].size() - Recoder::kTileBytes;
    for (size_t i = 0; i < plan_.tensors.size(); ++i) {
      const TensorEntry& source = source_of(i);
      items.push_back({source.name, source.shape.elements(),
                       chunk_elements(source.encoding, plan_.tensors[i].choice.encoding, chunk_bytes),
                       source.bytes});
    }
    return for_each_chunk(workers_->threads, items, options_.control,
                          [&](size_t worker, const Chunk& chunk) { return convert_chunk(worker, chunk); });
  }

  Status convert_chunk(size_t worker, const Chunk& chunk) {
    const PlannedTensor& planned = plan_.tensors[chunk.item];
    const TensorEntry& source = model_.tensors[planned.source];
    const File& file = model_.parts[source.part].file;
    file.prefetch(source.offset + bytes_before(source.encoding, chunk.first) + kReadAhead,
                  bytes_before(source.encoding, chunk.count));
    const FileTensor tensor{.name = source.name,
                            .source = &file,
                            .source_offset = source.offset,
                            .target = &files_[planned.file],
                            .target_offset = planned.offset,
                            .spec = {.from = source.encoding,
                                     .to = planned.choice.encoding,
                                     .gamma = gammas_.empty() ? std::nullopt : gammas_[chunk.item],
                                     .saturate = options_.overflow == OverflowRule::kSaturate,
                                     .method = planned.choice.method},
                            .remedy = "--saturate stores the nearest value"};
    RecodeCounts counts;
    LOBIT_RETURN_IF_ERROR(convert_file_chunk(tensor, chunk, workers_->buffers[worker].bytes(), counts));
    if (counts.encode.flushed > 0 || counts.saturated > 0) {
      const std::lock_guard lock(counts_mutex_);
      result_.tensors[chunk.item].flushed += counts.encode.flushed;
      result_.tensors[chunk.item].saturated += counts.saturated;
    }
    return {};
  }

  // Writes a companion file under its temporary name, through the first worker's buffer.
  Result<OutputFile> write_copy(const PlannedCopy& copy) {
    if (copy.source.empty()) {
      LOBIT_TRY(OutputFile output, OutputFile::create(copy.target, copy.text.size()));
      LOBIT_RETURN_IF_ERROR(output.write_at(0, std::as_bytes(std::span(copy.text))));
      return output;
    }
    std::error_code error;
    fs::create_directories(copy.target.parent_path(), error);
    if (error) {
      return fail(ErrorCode::kIo, fmt::format("{}: cannot create the folder: {}",
                                              copy.target.parent_path().native(), error.message()));
    }
    LOBIT_TRY(const File file, File::open(copy.source));
    LOBIT_TRY(OutputFile output, OutputFile::create(copy.target, file.size()));
    const std::span<std::byte> buffer = workers_->buffers[0].bytes();
    for (uint64_t at = 0; at < file.size(); at += buffer.size()) {
      const auto piece =
          buffer.first(static_cast<size_t>(std::min<uint64_t>(buffer.size(), file.size() - at)));
      LOBIT_RETURN_IF_ERROR(file.read_at(at, piece));
      LOBIT_RETURN_IF_ERROR(output.write_at(at, piece));
    }
    return output;
  }

  // What a reader starts from goes last: the index of a folder, the first part of a split file.
  Status commit(std::vector<OutputFile> copies) {
    std::vector<OutputFile> all;
    for (size_t i = 1; i < files_.size(); ++i) all.push_back(std::move(files_[i]));
    const bool index_last = plan_.to_folder && plan_.files.size() > 1;
    if (index_last) all.push_back(std::move(files_[0]));
    for (OutputFile& copy : copies) all.push_back(std::move(copy));
    if (!index_last) all.push_back(std::move(files_[0]));
    LOBIT_RETURN_IF_ERROR(commit_all(all, options_.durability, plan_.obsolete));
    if (!made_folder_ || options_.durability == Durability::kNone) return {};
    return sync_folder(plan_.output.parent_path());
  }

  const TensorEntry& source_of(size_t planned) const { return model_.tensors[plan_.tensors[planned].source]; }

  const Model& model_;
  const ConversionPlan& plan_;
  const ExecuteOptions& options_;
  std::optional<Workers> workers_;
  bool made_folder_ = false;
  std::vector<OutputFile> files_;
  std::vector<std::optional<float>> gammas_;
  std::mutex counts_mutex_;
  ConversionResult result_;
};

}  // namespace

Status check_execution(const Model& model, const ConversionPlan& plan, const ExecuteOptions& options) {
  return Execution(model, plan, options).check();
}

Result<ConversionResult> execute(const Model& model, const ConversionPlan& plan,
                                 const ExecuteOptions& options) {
  const ScopedFpEnv fp_env;
  return Execution(model, plan, options).run();
}

}  // namespace lobit
