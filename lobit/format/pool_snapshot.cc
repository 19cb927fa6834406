#include "lobit/format/pool_snapshot.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <xxhash.h>

#include "lobit/base/bytes.h"
#include "lobit/base/json_reader.h"
#include "lobit/base/utf8.h"
#include "lobit/device/capabilities.h"
#include "lobit/format/tensor_file.h"

namespace lobit {
namespace {

constexpr std::string_view kStateKey = "lobit.pool";
constexpr std::string_view kChecksumKey = "lobit.pool.xxh3";
constexpr uint64_t kVersion = 1;

// All that is said of a pool, as the numbers of the file.
enum class Field : uint8_t {
  kVersionNumber,
  kTensors,
  // "options"
  kSmallInitial,
  kSmallMax,
  kLargeInitial,
  kLargeMax,
  kThreshold,
  kLimit,
  kHugePages,
  kIdleTrim,
  // "usage"
  kAllocated,
  kUsed,
  kCommitted,
  kPeakAllocated,
  kPeakCommitted,
  kAllocations,
  kDeallocations,
};

struct FieldRow {
  std::string_view group;  // "" at the top
  std::string_view name;
};

constexpr std::array<FieldRow, 17> kFields{{{"", "version"},
                                            {"", "tensors"},
                                            {"options", "small_initial"},
                                            {"options", "small_max"},
                                            {"options", "large_initial"},
                                            {"options", "large_max"},
                                            {"options", "small_block_threshold"},
                                            {"options", "limit"},
                                            {"options", "huge_pages"},
                                            {"options", "idle_trim_ms"},
                                            {"usage", "allocated"},
                                            {"usage", "used"},
                                            {"usage", "committed"},
                                            {"usage", "peak_allocated"},
                                            {"usage", "peak_committed"},
                                            {"usage", "allocations"},
                                            {"usage", "deallocations"}}};

class PoolState {
 public:
  uint64_t& operator[](Field field) { return numbers_[static_cast<size_t>(field)]; }
  uint64_t operator[](Field field) const { return numbers_[static_cast<size_t>(field)]; }

  std::string text() const {
    std::string text = "{";
    std::string_view group;
    for (size_t i = 0; i < kFields.size(); ++i) {
      const FieldRow& row = kFields[i];
      if (row.group != group) {
        if (!group.empty()) text += '}';
        text += fmt::format(",\"{}\":{{", row.group);
        group = row.group;
      } else if (i > 0) {
        text += ',';
      }
      text += fmt::format("\"{}\":{}", row.name, numbers_[i]);
    }
    return text += "}}";
  }

 private:
  std::array<uint64_t, kFields.size()> numbers_{};
};

// Every field once and no other.
class StateHandler final : public JsonHandler {
 public:
  PoolState state;

  Status on_object_start() override {
    if (depth_++ > 0) {
      if (depth_ > 2 || (key_ != "options" && key_ != "usage")) return unexpected("an object");
      group_ = std::exchange(key_, {});
    }
    return {};
  }
  Status on_object_end() override {
    if (--depth_ == 1) group_.clear();
    return {};
  }
  Status on_key(std::string&& key) override {
    key_ = std::move(key);
    return {};
  }
  Status on_unsigned(uint64_t value) override {
    for (size_t i = 0; i < kFields.size(); ++i) {
      if (kFields[i].group != group_ || kFields[i].name != key_) continue;
      if ((seen_ >> i & 1) != 0) return unexpected("a number for the second time");
      seen_ |= 1U << i;
      state[static_cast<Field>(i)] = value;
      if (static_cast<Field>(i) == Field::kVersionNumber && value > kVersion) {
        return fail(ErrorCode::kUnsupported,
                    fmt::format("{}: expected version {}, found {}", kStateKey, kVersion, value));
      }
      return {};
    }
    return unexpected("a number that nothing is known of");
  }
  bool is_complete() const { return seen_ == (1U << kFields.size()) - 1; }

 private:
  int depth_ = 0;
  std::string group_;
  std::string key_;
  uint32_t seen_ = 0;
};

PoolState state_of(const HybridMemoryPool& pool, size_t tensors) {
  using enum Field;
  const MemoryPoolOptions& options = pool.options();
  const MemoryUsage usage = pool.usage();
  PoolState state;
  state[kVersionNumber] = kVersion;
  state[kTensors] = tensors;
  state[kSmallInitial] = options.small.initial;
  state[kSmallMax] = options.small.max;
  state[kLargeInitial] = options.large.initial;
  state[kLargeMax] = options.large.max;
  state[kThreshold] = options.small_block_threshold;
  state[kLimit] = options.limit;
  state[kHugePages] = options.huge_pages == HugePages::kWhereTheyFit ? 1 : 0;
  state[kIdleTrim] = static_cast<uint64_t>(options.idle_trim.count());
  state[kAllocated] = usage.allocated;
  state[kUsed] = usage.used;
  state[kCommitted] = usage.committed;
  state[kPeakAllocated] = usage.peak_allocated;
  state[kPeakCommitted] = usage.peak_committed;
  state[kAllocations] = usage.allocations;
  state[kDeallocations] = usage.deallocations;
  return state;
}

MemoryPoolOptions options_of(const PoolState& state) {
  using enum Field;
  MemoryPoolOptions options;
  options.small = {.initial = state[kSmallInitial], .max = state[kSmallMax]};
  options.large = {.initial = state[kLargeInitial], .max = state[kLargeMax]};
  options.small_block_threshold = state[kThreshold];
  options.limit = state[kLimit];
  options.huge_pages = state[kHugePages] != 0 ? HugePages::kWhereTheyFit : HugePages::kNever;
  options.idle_trim = std::chrono::milliseconds(static_cast<int64_t>(state[kIdleTrim]));
  return options;
}

MemoryUsage usage_of(const PoolState& state) {
  using enum Field;
  MemoryUsage usage;
  usage.allocated = state[kAllocated];
  usage.used = state[kUsed];
  usage.committed = state[kCommitted];
  usage.peak_allocated = state[kPeakAllocated];
  usage.peak_committed = state[kPeakCommitted];
  usage.allocations = state[kAllocations];
  usage.deallocations = state[kDeallocations];
  return usage;
}

std::string checksum_text(std::string_view text) {
  return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size()));
}

tl::unexpected<Error> corrupt(const std::string& file, std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("{}: {}", file, what));
}

std::optional<std::string_view> text_under(const Metadata& metadata, std::string_view key) {
  const MetadataValue* value = metadata.find(key);
  return value == nullptr ? std::nullopt : value->as_string();
}

Result<PoolState> read_state(const std::string& file, const TensorDirectory& directory) {
  const auto text = text_under(directory.metadata, kStateKey);
  const auto checksum = text_under(directory.metadata, kChecksumKey);
  if (!text || !checksum) {
    return corrupt(file, fmt::format("expected a pool's state under {}, found none", kStateKey));
  }
  if (*checksum != checksum_text(*text)) {
    return corrupt(file, fmt::format("{}: expected what was saved, found that it has changed", kStateKey));
  }
  StateHandler handler;
  LOBIT_RETURN_IF_ERROR(parse_json(*text, handler, file));
  const uint64_t version = handler.state[Field::kVersionNumber];
  if (!handler.is_complete() || version != kVersion) {
    return corrupt(file, fmt::format("{}: expected all fields of version {}", kStateKey, kVersion));
  }
  const uint64_t tensors = handler.state[Field::kTensors];
  if (tensors != directory.tensors.size()) {
    return corrupt(file, fmt::format("expected {} tensors, found {}", tensors, directory.tensors.size()));
  }
  return handler.state;
}

// What a pool takes from the start is touched at once, and the file may come from anybody.
Status check_initial(const std::string& file, const MemoryPoolOptions& options) {
  LOBIT_TRY(const DeviceCapabilities machine, DeviceCapabilities::for_device({}, Bandwidth::kSkip));
  const uint64_t room = machine.available_bytes;
  if (options.small.initial <= room && options.large.initial <= room - options.small.initial) return {};
  return fail(
      ErrorCode::kLimit,
      fmt::format("{}: {}: expected a pool that begins with at most the {} available, found {} and {}", file,
                  kStateKey, format_bytes(room), format_bytes(options.small.initial),
                  format_bytes(options.large.initial)),
      {.required = std::max(options.small.initial, options.large.initial), .available = room});
}

}  // namespace

Status save_pool(const std::filesystem::path& target, const HybridMemoryPool& pool,
                 std::span<const Tensor> tensors, Durability durability) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].resource() == &pool) continue;
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("save pool: tensor {}: expected one of this pool, found one of another resource",
                            lobit::quoted(tensors[i].name())),
                {.index = i});
  }
  const std::string state = state_of(pool, tensors.size()).text();
  SaveTensorsOptions options{
      .format = TensorFileFormat::kSafetensors, .durability = durability, .checksums = TensorChecksums::kOn};
  options.metadata.set(kStateKey, MetadataValue::string(state));
  options.metadata.set(kChecksumKey, MetadataValue::string(checksum_text(state)));
  return save_tensors(target, tensors, options);
}

Result<RestoredPool> restore_pool(const std::filesystem::path& path) {
  LOBIT_TRY(const File file, File::open(path));
  LOBIT_TRY(const TensorDirectory directory, read_tensor_directory(file, TensorFileFormat::kSafetensors));
  LOBIT_TRY(const PoolState state, read_state(file.name(), directory));
  LOBIT_RETURN_IF_ERROR(check_initial(file.name(), options_of(state)));
  RestoredPool restored;
  restored.usage_when_saved = usage_of(state);
  LOBIT_TRY(restored.pool, HybridMemoryPool::create(options_of(state)));
  restored.tensors.reserve(directory.tensors.size());
  for (const StoredTensor& stored : directory.tensors) {
    if (!stored.checksum) {
      return corrupt(file.name(), fmt::format("tensor {}: expected a checksum", lobit::quoted(stored.name)));
    }
    LOBIT_TRY(Tensor tensor, read_tensor(file, stored, *restored.pool));
    restored.tensors.push_back(std::move(tensor));
  }
  return restored;
}

}  // namespace lobit
