#include <algorithm>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lobit/base/utf8.h"
#include "lobit/format/model_internal.h"
#include "lobit/format/safetensors.h"
#include "lobit/format/split.h"

namespace lobit::model {
namespace {

constexpr std::string_view kIndexName = "model.safetensors.index.json";

// Names of the folder's visible files that end in `suffix`, sorted: the order of a folder's listing is
// accidental.
Result<std::vector<std::string>> names_ending_in(const std::filesystem::path& folder,
                                                 std::string_view suffix) {
  std::vector<std::string> names;
  std::error_code failed;
  std::filesystem::directory_iterator entry(folder, failed);
  for (; !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed)) {
    std::string name = entry->path().filename().native();
    if (name.ends_with(suffix) && !name.starts_with('.')) names.push_back(std::move(name));
  }
  if (failed) {
    return fail(ErrorCode::kIo,
                fmt::format("{}: cannot list the folder: {}", folder.native(), failed.message()));
  }
  std::ranges::sort(names);
  return names;
}

tl::unexpected<Error> nothing_found(const std::filesystem::path& folder) {
  std::string others;
  for (const std::string_view suffix : {".gguf", ".bin", ".pt"}) {
    const auto names = names_ending_in(folder, suffix);
    if (!names || names->empty()) continue;
    others += fmt::format("{}{}", others.empty() ? "; there is " : ", ", fmt::join(*names, ", "));
  }
  return fail(ErrorCode::kNotFound,
              fmt::format("{}: no model in this folder: looked for {} and *.safetensors{}", folder.native(),
                          kIndexName, others));
}

// Opens one file of the folder; the first one's metadata is the model's.
Status add_file(Model& model, const std::string& name) {
  const std::filesystem::path path = model.path / name;
  LOBIT_TRY(File file, File::open(path));
  LOBIT_TRY(SafetensorsHeader header, read_safetensors(file));
  if (model.parts.empty()) model.metadata = std::move(header.metadata);
  add_part(model, path, std::move(file), header.data_offset, std::move(header.tensors));
  return {};
}

// Ticks the tensors from `first_tensor` on off `pending`, where the file of a ticked one is empty.
Status tick_off(const Model& model, size_t first_tensor, std::map<std::string, std::string>& pending) {
  for (size_t i = first_tensor; i < model.tensors.size(); ++i) {
    const TensorEntry& tensor = model.tensors[i];
    const std::filesystem::path& path = model.parts[tensor.part].path;
    const auto expected = pending.find(tensor.name);
    const bool is_known = expected != pending.end();
    if (!is_known || expected->second != path.filename().native()) {
      const std::string found = !is_known                  ? "does not name it"
                                : expected->second.empty() ? "has it in an earlier file"
                                                           : "has it in " + lobit::quoted(expected->second);
      return fail(
          ErrorCode::kCorrupt,
          fmt::format("{}: tensor {}: {} {}", path.native(), lobit::quoted(tensor.name), kIndexName, found),
          {.offset = tensor.offset, .index = i});
    }
    expected->second.clear();
  }
  return {};
}

Status add_indexed_files(Model& model) {
  const std::filesystem::path path = model.path / kIndexName;
  LOBIT_TRY(const std::string text, read_file(path, kSafetensorsMaxHeader));
  LOBIT_TRY(SafetensorsIndex index, read_safetensors_index(text, path.native()));
  std::set<std::string> files;
  for (const auto& [tensor, file] : index.weight_map) files.insert(file);
  for (const std::string& file : files) {
    const size_t first_tensor = model.tensors.size();
    if (Status added = add_file(model, file); !added) {
      Error error = std::move(added).error();
      if (error.code == ErrorCode::kNotFound) error.message += fmt::format("; {} names it", path.native());
      return fail(std::move(error));
    }
    LOBIT_RETURN_IF_ERROR(tick_off(model, first_tensor, index.weight_map));
  }
  const auto missing =
      std::ranges::find_if(index.weight_map, [](const auto& e) { return !e.second.empty(); });
  if (missing == index.weight_map.end()) return {};
  return fail(ErrorCode::kCorrupt,
              fmt::format("{}: tensor {}: expected it in {}, which does not have it", path.native(),
                          lobit::quoted(missing->first), lobit::quoted(missing->second)));
}

// Files named as parts ("model-00002-of-00005.safetensors") are a model only together: what an interrupted
// copy left must not be taken for one.
Status check_all_parts(const std::filesystem::path& folder, const std::vector<std::string>& names) {
  std::map<std::pair<std::string, uint32_t>, std::set<uint32_t>> sets;
  for (const std::string& name : names) {
    const auto part = parse_split_part_name(std::filesystem::path(name).replace_extension(".gguf").native());
    if (part) sets[{part->stem, part->count}].insert(part->number);
  }
  for (const auto& [set, numbers] : sets) {
    const auto& [stem, count] = set;
    uint32_t missing = 1;
    while (missing <= count && numbers.contains(missing)) ++missing;
    if (missing > count) continue;
    const std::filesystem::path name = split_part_name(stem, missing, count);
    return fail(ErrorCode::kNotFound,
                fmt::format("{}: {} is missing: expected {} files of that name, found {}", folder.native(),
                            std::filesystem::path(name).replace_extension(".safetensors").native(), count,
                            numbers.size()),
                {.required = count, .available = numbers.size()});
  }
  return {};
}

}  // namespace

Result<Model> open_folder(const std::filesystem::path& folder) {
  Model opened;
  opened.format = FileFormat::kSafetensors;
  opened.path = folder;
  opened.is_folder = true;
  // A link to nowhere is an index that cannot be read, not a folder without one.
  std::error_code failed;
  if (std::filesystem::exists(std::filesystem::symlink_status(folder / kIndexName, failed))) {
    LOBIT_RETURN_IF_ERROR(add_indexed_files(opened));
    return opened;
  }
  LOBIT_TRY(const std::vector<std::string> names, names_ending_in(folder, ".safetensors"));
  if (names.empty()) return nothing_found(folder);
  LOBIT_RETURN_IF_ERROR(check_all_parts(folder, names));
  for (const std::string& name : names) LOBIT_RETURN_IF_ERROR(add_file(opened, name));
  LOBIT_RETURN_IF_ERROR(check_names_differ(opened));
  return opened;
}

}  // namespace lobit::model
