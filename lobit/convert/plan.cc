#include "lobit/convert/plan.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "lobit/convert/target_metadata.h"
#include "lobit/format/gguf.h"
#include "lobit/format/safetensors.h"
#include "lobit/format/split.h"

namespace lobit {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr std::string_view kSingleName = "model.safetensors";

// A run of tensors that share one output file.
struct Part {
  size_t first = 0;
  size_t count = 0;
};

struct Target {
  FileFormat format = FileFormat::kGguf;
  bool folder = false;
};

Result<Target> target_of(const OutputOptions& output) {
  const std::string suffix = output.path.extension().string();
  std::error_code ignored;
  const bool ends_as_folder = !output.path.has_filename() && output.path.has_parent_path();
  if (ends_as_folder || fs::is_directory(output.path, ignored)) return Target{FileFormat::kSafetensors, true};
  if (suffix == ".gguf") return Target{FileFormat::kGguf, false};
  if (suffix == ".safetensors") {
    if (output.split_max_size > 0) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("{}: a single .safetensors file cannot be split; name a folder", output.path.native()));
    }
    return Target{FileFormat::kSafetensors, false};
  }
  if (suffix.empty() && !output.path.empty()) return Target{FileFormat::kSafetensors, true};
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format(
          "{}: expected a name that ends in .gguf or .safetensors, or a folder ('{}/' names one), found '{}'",
          output.path.native(), output.path.filename().native(), suffix));
}

// A folder cannot replace itself: its parts go one by one, and a failure would leave neither model. Nor can
// one of its files alone, whose conversion would take the place of all.
Status check_not_itself(const Model& model, const Target& target, const OutputOptions& output) {
  if (!target.folder || model.format != FileFormat::kSafetensors) return {};
  const fs::path parent = model.path.has_parent_path() ? model.path.parent_path() : fs::path(".");
  std::error_code ignored;
  if (!fs::equivalent(model.is_folder ? model.path : parent, output.path, ignored)) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: the output folder is the input's; name another", output.path.native()));
}

Status check_names(const Model& model, const Target& target, const OutputOptions& output) {
  if (target.format != FileFormat::kGguf || model.format == FileFormat::kGguf) return {};
  if (output.names == NamePolicy::kRaw || carries_gguf_metadata(model.metadata)) return {};
  return fail(
      ErrorCode::kUnsupported,
      fmt::format("{}: a GGUF file that runs needs its tensors' names, the order of rotary dimensions and "
                  "the tokenizer translated, which lobit cannot do; --raw-names writes the names as they "
                  "are, for programs that expect them so",
                  model.path.native()));
}

std::vector<Part> split_parts(std::span<const TensorSpec> specs, uint64_t max_bytes) {
  std::vector<Part> parts{{}};
  uint64_t bytes = 0;
  for (size_t i = 0; i < specs.size(); ++i) {
    const uint64_t size = encoded_bytes(specs[i].encoding, specs[i].shape.elements()).value_or(0);
    if (max_bytes > 0 && parts.back().count > 0 && (size > max_bytes || bytes > max_bytes - size)) {
      parts.push_back({i, 0});
      bytes = 0;
    }
    ++parts.back().count;
    bytes += size;
  }
  return parts;
}

fs::path part_path(const Target& target, const fs::path& output, size_t part, size_t parts) {
  const auto number = static_cast<uint32_t>(part + 1);
  const auto count = static_cast<uint32_t>(parts);
  if (target.folder) {
    if (parts == 1) return output / kSingleName;
    return output / fs::path(split_part_name("model", number, count)).replace_extension(".safetensors");
  }
  if (parts == 1) return output;
  return output.parent_path() / split_part_name(output.stem().native(), number, count);
}

Result<FileLayout> layout(const Target& target, const Metadata& metadata, std::span<const TensorSpec> specs,
                          uint32_t alignment) {
  return target.format == FileFormat::kGguf ? layout_gguf(metadata, specs, alignment)
                                            : layout_safetensors(metadata, specs);
}

// The metadata of part `part` of a split file: all of it in the first, the split's own keys in each. Other
// shards of safetensors repeat what says how to read them, but not what came from GGUF, a vocabulary for one.
Metadata part_metadata(const Target& target, const Metadata& all, size_t part, size_t parts, size_t tensors) {
  Metadata metadata = part == 0 ? all : Metadata{};
  if (target.format == FileFormat::kSafetensors) {
    if (part == 0) return metadata;
    for (const MetadataEntry& entry : all.entries()) {
      if (!is_gguf_key(entry.key)) metadata.append(entry);
    }
    return metadata;
  }
  metadata.set(kSplitNumberKey, MetadataValue::u16(static_cast<uint16_t>(part)));
  metadata.set(kSplitCountKey, MetadataValue::u16(static_cast<uint16_t>(parts)));
  metadata.set(kSplitTensorsKey, MetadataValue::i32(static_cast<int32_t>(tensors)));
  return metadata;
}

// Files of a Hugging Face folder that are not weights: configuration, tokenizer, licence, ...; also those of
// its folders (1_Pooling/config.json), one level down.
Result<std::vector<fs::path>> companion_files(const fs::path& folder) {
  static const std::set<std::string> kWeights{".safetensors", ".bin", ".pt",   ".pth",
                                              ".gguf",        ".h5",  ".onnx", ".msgpack"};
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    const fs::path& path = it->path();
    const std::string name = path.filename().native();
    if (it->is_directory(ignored) && (it.depth() > 0 || name.starts_with('.')))
      it.disable_recursion_pending();
    if (!it->is_regular_file(ignored) || name.starts_with('.') || name.ends_with(".index.json")) continue;
    if (!kWeights.contains(path.extension().native())) files.push_back(path.lexically_relative(folder));
  }
  if (error) {
    return fail(ErrorCode::kIo,
                fmt::format("{}: cannot list the folder: {}", folder.native(), error.message()));
  }
  std::ranges::sort(files);
  return files;
}

// Whether a folder's file has a name that lobit gives to weights: model.safetensors, or a part of that name.
bool is_model_file(const fs::path& name) {
  if (name == kSingleName) return true;
  const auto part = parse_split_part_name(fs::path(name).replace_extension(".gguf").native());
  return part && part->stem == "model";
}

bool is_visible_safetensors(const fs::path& name) {
  return name.extension() == ".safetensors" && !name.native().starts_with('.');
}

// What an earlier conversion left in the output folder and no new file replaces: readers would take it for
// the model, or for a part of it. The index goes last, so that a folder without some parts is never one
// without an index.
Status find_obsolete(ConversionPlan& plan) {
  std::set<fs::path> written;
  for (const PlannedFile& file : plan.files) written.insert(file.target.filename());
  for (const PlannedCopy& copy : plan.copies) written.insert(copy.target.filename());
  std::error_code error;
  fs::directory_iterator it(plan.output, error);
  if (error) return {};  // not there yet; if it cannot be listed, writing says why
  for (const fs::directory_iterator end; !error && it != end; it.increment(error)) {
    const fs::path name = it->path().filename();
    if (!is_visible_safetensors(name) || written.contains(name)) continue;
    if (is_model_file(name)) {
      plan.obsolete.push_back(plan.output / name);
    } else if (!written.contains(kIndexName)) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format(
              "{}: is another model's; readers would take it for a part of this one. Name another folder",
              (plan.output / name).native()));
    }
  }
  if (error) {
    return fail(ErrorCode::kIo,
                fmt::format("{}: cannot list the folder: {}", plan.output.native(), error.message()));
  }
  std::ranges::sort(plan.obsolete);
  if (!written.contains(kIndexName)) plan.obsolete.push_back(plan.output / kIndexName);
  return {};
}

Status plan_folder(const Model& model, std::span<const TensorSpec> specs, std::span<const Part> parts,
                   ConversionPlan& plan) {
  if (model.is_folder) {
    LOBIT_TRY(const std::vector<fs::path> companions, companion_files(model.path));
    for (const fs::path& path : companions)
      plan.copies.push_back({model.path / path, plan.output / path, {}});
  }
  if (parts.size() == 1) return find_obsolete(plan);
  SafetensorsIndex index;
  for (size_t part = 0; part < parts.size(); ++part) {
    for (size_t i = 0; i < parts[part].count; ++i) {
      index.weight_map[specs[parts[part].first + i].name] = plan.files[part].target.filename().native();
    }
  }
  plan.copies.push_back({{}, plan.output / kIndexName, write_safetensors_index(index, plan.target_bytes)});
  return find_obsolete(plan);
}

// The encoding that the file is named after: what was asked for, or what most matrix elements get.
Encoding main_encoding(const Model& model, const EncodingPolicy& policy, const EncodingChoices& choices) {
  if (policy.to) return *policy.to;
  std::vector<uint64_t> elements(kEncodingCount);
  for (size_t i = 0; i < model.tensors.size(); ++i) {
    if (model.tensors[i].shape.rank() < 2) continue;
    elements[static_cast<size_t>(choices.tensors[i].encoding)] += model.tensors[i].shape.elements();
  }
  return static_cast<Encoding>(std::ranges::max_element(elements) - elements.begin());
}

// The method by which that encoding is made: of `to`, or else of the first tensor that becomes it.
QuantizeMethod main_method(Encoding main, const EncodingPolicy& policy, const EncodingChoices& choices) {
  if (policy.to) return has_scale_search(main) ? policy.method : QuantizeMethod::kDirect;
  const auto made = std::ranges::find_if(choices.tensors, [&](const EncodingChoice& choice) {
    return choice.encoding == main && choice.reason == ChoiceReason::kRule;
  });
  return made == choices.tensors.end() ? QuantizeMethod::kDirect : made->method;
}

// The source's; a GGUF file that went through safetensors still says its own.
uint32_t output_alignment(const Model& model, const Metadata& metadata) {
  if (model.format == FileFormat::kGguf) return model.alignment;
  const MetadataValue* own = metadata.find("general.alignment");
  const uint64_t alignment = own == nullptr ? 0 : own->as_unsigned().value_or(0);
  return alignment > 0 && std::in_range<uint32_t>(alignment) ? static_cast<uint32_t>(alignment)
                                                             : kGgufDefaultAlignment;
}

// Tensors in the source's order, except that safetensors, which has no padding, gets the widest numbers first
// and blocks last: readers that map the file need each at a multiple of its width.
std::vector<size_t> writing_order(const Target& target, const EncodingChoices& choices) {
  std::vector<size_t> order(choices.tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (target.format == FileFormat::kGguf) return order;
  const auto width = [&](size_t i) {
    const EncodingTraits& t = traits(choices.tensors[i].encoding);
    return t.block_elements == 1 ? t.block_bytes : 0;
  };
  std::ranges::sort(order,
                    [&](size_t a, size_t b) { return width(a) != width(b) ? width(a) > width(b) : a < b; });
  return order;
}

// Parts that take the place of parts one by one: a failure between two would leave neither model.
Status check_parts_not_themselves(const Model& model, const ConversionPlan& plan) {
  if (plan.files.size() == 1) return {};
  for (const PlannedFile& file : plan.files) {
    for (const ModelPart& part : model.parts) {
      if (!part.file.same_file(file.target)) continue;
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("{}: would replace a part of the input; name another output", file.target.native()));
    }
  }
  return {};
}

Status plan_files(const Model& model, const Target& target, const Metadata& metadata,
                  std::span<const TensorSpec> specs, uint64_t split_max_size, ConversionPlan& plan) {
  const std::vector<Part> parts = split_parts(specs, split_max_size);
  if (parts.size() > kMaxSplitParts) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("split: expected at most {} files, found {}", kMaxSplitParts, parts.size()),
                {.required = parts.size(), .available = kMaxSplitParts});
  }
  const uint32_t alignment = output_alignment(model, metadata);
  for (size_t p = 0; p < parts.size(); ++p) {
    const Part& part = parts[p];
    // A copy only where it differs: metadata can be most of the memory that a limit leaves.
    std::optional<Metadata> own;
    if (parts.size() > 1) own = part_metadata(target, metadata, p, parts.size(), specs.size());
    LOBIT_TRY(FileLayout file,
              layout(target, own ? *own : metadata, specs.subspan(part.first, part.count), alignment));
    for (size_t i = 0; i < part.count; ++i) {
      plan.tensors[part.first + i].file = static_cast<uint32_t>(p);
      plan.tensors[part.first + i].offset = file.offsets[i];
    }
    plan.output_bytes += file.file_bytes;
    plan.files.push_back(
        {part_path(target, plan.output, p, parts.size()), std::move(file.header), file.file_bytes});
  }
  if (target.folder) return plan_folder(model, specs, parts, plan);
  return {};
}

}  // namespace

std::vector<fs::path> ConversionPlan::existing_targets() const {
  std::vector<fs::path> existing;
  std::error_code ignored;
  const auto add = [&](const fs::path& path) {
    if (fs::exists(fs::symlink_status(path, ignored))) existing.push_back(path);
  };
  for (const PlannedFile& file : files) add(file.target);
  for (const PlannedCopy& copy : copies) add(copy.target);
  for (const fs::path& path : obsolete) add(path);
  return existing;
}

bool gets_absmean(const ConversionPlan& plan, const PlannedTensor& tensor, Encoding from) {
  const Encoding to = tensor.choice.encoding;
  return plan.ternary == TernaryRule::kAbsMean && from != to &&
         (to == Encoding::kTQ1_0 || to == Encoding::kTQ2_0);
}

std::string_view scale_rule_name(const ConversionPlan& plan, const PlannedTensor& tensor, Encoding from) {
  if (tensor.choice.encoding == from || !traits(tensor.choice.encoding).is_block()) return "";
  return gets_absmean(plan, tensor, from) ? "absmean" : quantize_method_name(tensor.choice.method);
}

Result<ConversionPlan> plan_conversion(const Model& model, const EncodingPolicy& policy,
                                       const OutputOptions& output) {
  LOBIT_TRY(const Target target, target_of(output));
  LOBIT_RETURN_IF_ERROR(check_not_itself(model, target, output));
  LOBIT_RETURN_IF_ERROR(check_names(model, target, output));
  LOBIT_TRY(EncodingChoices choices, choose_encodings(model.tensors, policy));

  ConversionPlan plan;
  plan.format = target.format;
  plan.output = output.path.has_filename() ? output.path : output.path.parent_path();
  plan.to_folder = target.folder;
  plan.policy = policy;
  plan.ternary = output.ternary;
  plan.rule_matches = std::move(choices.rule_matches);

  std::vector<TensorSpec> specs;
  specs.reserve(model.tensors.size());
  plan.tensors.reserve(model.tensors.size());
  for (const size_t i : writing_order(target, choices)) {
    const TensorEntry& tensor = model.tensors[i];
    const EncodingChoice& choice = choices.tensors[i];
    const uint64_t bytes = encoded_bytes(choice.encoding, tensor.shape.elements()).value_or(0);
    specs.push_back({tensor.name, tensor.shape, choice.encoding});
    plan.tensors.push_back({i, choice, 0, 0, bytes});
    plan.elements += tensor.shape.elements();
    plan.source_bytes += tensor.bytes;
    plan.target_bytes += bytes;
  }
  const Encoding main = main_encoding(model, policy, choices);
  const Provenance provenance{main, output.ternary, main_method(main, policy, choices)};
  LOBIT_TRY(const Metadata metadata, target_metadata(model, target.format, provenance, specs));
  LOBIT_RETURN_IF_ERROR(plan_files(model, target, metadata, specs, output.split_max_size, plan));
  LOBIT_RETURN_IF_ERROR(check_parts_not_themselves(model, plan));
  return plan;
}

}  // namespace lobit
