#include <optional>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/utf8.h"
#include "lobit/format/model_internal.h"
#include "lobit/format/split.h"

namespace lobit::model {
namespace {

constexpr std::string_view kArchitectureKey = "general.architecture";

// What the split.* keys of one file say.
struct SplitKeys {
  uint64_t number = 0;  // from 0
  uint64_t count = 0;
  std::optional<uint64_t> tensors;
};

// The value of a key as a count; nothing when it is absent.
Result<std::optional<uint64_t>> count_of(const Metadata& metadata, std::string_view key,
                                         const std::string& file) {
  const MetadataValue* value = metadata.find(key);
  if (value == nullptr) return std::nullopt;
  const std::optional<uint64_t> number = value->as_unsigned();
  if (!number) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: key {}: expected an integer from 0, found {} {}", file, lobit::quoted(key),
                            metadata_type_name(value->type), value->to_string()));
  }
  return number;
}

// Nothing for a file that is not part of a split model.
Result<std::optional<SplitKeys>> split_keys(const Metadata& metadata, const std::string& file) {
  LOBIT_TRY(const std::optional<uint64_t> number, count_of(metadata, kSplitNumberKey, file));
  LOBIT_TRY(const std::optional<uint64_t> count, count_of(metadata, kSplitCountKey, file));
  LOBIT_TRY(const std::optional<uint64_t> tensors, count_of(metadata, kSplitTensorsKey, file));
  if (!number && !count && !tensors) return std::nullopt;
  if (!number || !count) {
    return fail(ErrorCode::kCorrupt, fmt::format("{}: expected the keys {} and {} together", file,
                                                 kSplitNumberKey, kSplitCountKey));
  }
  if (*count == 0 || *count > kMaxSplitParts || *number >= *count) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: expected {} below {} and at most {} parts, found {} and {}", file,
                            kSplitNumberKey, kSplitCountKey, kMaxSplitParts, *number, *count));
  }
  return SplitKeys{*number, *count, tensors};
}

std::string native_name(const std::filesystem::path& path) {
  return path.filename().native();
}

// The name that `path` bears as the first part, checked against its keys.
Result<SplitName> first_part_name(const std::filesystem::path& path, const SplitKeys& keys) {
  const auto name = parse_split_part_name(native_name(path));
  if (keys.number != 0) {
    const std::string first = name ? fmt::format(", {}", split_part_name(name->stem, 1, name->count)) : "";
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: is part {} of {} of a split model: open the first part{}", path.native(),
                            keys.number + 1, keys.count, first));
  }
  if (!name) {
    return fail(
        ErrorCode::kNotFound,
        fmt::format("{}: is part 1 of {} of a split model, whose other parts are found by name: expected "
                    "a name ending in {}, found {}",
                    path.native(), keys.count, split_part_name("", 1, static_cast<uint32_t>(keys.count)),
                    native_name(path)));
  }
  if (name->number != 1 || name->count != keys.count) {
    return fail(ErrorCode::kCorrupt, fmt::format("{}: its name says part {} of {}, its keys part 1 of {}",
                                                 path.native(), name->number, name->count, keys.count));
  }
  return *name;
}

Status check_same_model(const Metadata& first, const Metadata& other, const std::filesystem::path& path) {
  const MetadataValue* here = other.find(kArchitectureKey);
  const MetadataValue* there = first.find(kArchitectureKey);
  if (here == nullptr || (there != nullptr && *here == *there)) return {};
  return fail(
      ErrorCode::kCorrupt,
      fmt::format("{}: is part of another model: expected {} {}, found {}", path.native(), kArchitectureKey,
                  there == nullptr ? "nowhere" : there->to_string(), here->to_string()));
}

// Opens part `number`, from 1, whose keys must say the same.
Status open_part(Model& model, const SplitName& first, uint32_t number) {
  const std::filesystem::path path =
      model.path.parent_path() / split_part_name(first.stem, number, first.count);
  Result<File> file = File::open(path);
  if (!file) {
    Error error = std::move(file).error();
    error.message = fmt::format("part {} of {}: {}", number, first.count, error.message);
    error.detail.index = number - 1;
    return fail(std::move(error));
  }
  LOBIT_TRY(GgufHeader header, read_gguf(*file));
  LOBIT_TRY(const std::optional<SplitKeys> keys, split_keys(header.metadata, path.native()));
  if (!keys || keys->number + 1 != number || keys->count != first.count) {
    const std::string found = keys ? fmt::format("part {} of {}", keys->number + 1, keys->count) : "none";
    return fail(ErrorCode::kCorrupt, fmt::format("{}: expected the keys of part {} of {}, found {}",
                                                 path.native(), number, first.count, found));
  }
  LOBIT_RETURN_IF_ERROR(check_same_model(model.metadata, header.metadata, path));
  add_part(model, path, std::move(*file), header.data_offset, std::move(header.tensors));
  return {};
}

}  // namespace

Status open_other_parts(Model& model) {
  const std::filesystem::path& path = model.path;
  LOBIT_TRY(const std::optional<SplitKeys> keys, split_keys(model.metadata, path.native()));
  if (!keys) return {};
  if (keys->count > 1) {
    LOBIT_TRY(const SplitName first, first_part_name(path, *keys));
    for (uint32_t number = 2; number <= first.count; ++number) {
      LOBIT_RETURN_IF_ERROR(open_part(model, first, number));
    }
    LOBIT_RETURN_IF_ERROR(check_names_differ(model));
  }
  if (keys->tensors && *keys->tensors != model.tensors.size()) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: {}: expected {} tensors in all parts, found {}", path.native(),
                            kSplitTensorsKey, *keys->tensors, model.tensors.size()),
                {.required = *keys->tensors, .available = model.tensors.size()});
  }
  for (const std::string_view key : {kSplitNumberKey, kSplitCountKey, kSplitTensorsKey})
    model.metadata.erase(key);
  return {};
}

}  // namespace lobit::model
