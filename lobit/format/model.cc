#include "lobit/format/model.h"

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/utf8.h"
#include "lobit/format/gguf_internal.h"
#include "lobit/format/model_internal.h"
#include "lobit/format/safetensors.h"

namespace lobit {
namespace model {
namespace {

struct KnownStart {
  std::string_view bytes;
  std::string_view what;
};
// What people hold in their hands when it is no model that lobit reads.
constexpr KnownStart kKnownStarts[] = {
    {"PK\x03\x04", "a zip archive, as PyTorch's .bin and .pt files are"},
    {"\x80\x02", "a Python pickle, as PyTorch's old .bin and .pt files are"},
    {"lmgg", "a ggml file from before GGUF"},
    {"fmgg", "a ggml file from before GGUF"},
    {"tjgg", "a ggml file from before GGUF"},
    {"\x89HDF", "an HDF5 file"},
    {"version https://git-lfs", "a Git LFS pointer: the file itself was not downloaded"},
};

std::string describe(std::string_view start, uint64_t size) {
  if (size == 0) return "an empty file";
  for (const KnownStart& known : kKnownStarts) {
    if (start.starts_with(known.bytes)) return std::string(known.what);
  }
  return lobit::quoted(start.substr(0, 8));
}

// A safetensors file: the header's size, then the start of an object or the white space that may precede it.
bool starts_as_safetensors(std::string_view start) {
  return start.size() > 8 && std::string_view("{ \t\r\n").find(start[8]) != std::string_view::npos;
}

Result<Model> open_gguf(const std::filesystem::path& path, File file) {
  LOBIT_TRY(GgufHeader header, read_gguf(file));
  Model opened;
  opened.format = FileFormat::kGguf;
  opened.path = path;
  opened.version = header.version;
  opened.alignment = header.alignment;
  opened.metadata = std::move(header.metadata);
  add_part(opened, path, std::move(file), header.data_offset, std::move(header.tensors));
  LOBIT_RETURN_IF_ERROR(open_other_parts(opened));
  return opened;
}

Result<Model> open_safetensors(const std::filesystem::path& path, File file) {
  LOBIT_TRY(SafetensorsHeader header, read_safetensors(file));
  Model opened;
  opened.format = FileFormat::kSafetensors;
  opened.path = path;
  opened.metadata = std::move(header.metadata);
  add_part(opened, path, std::move(file), header.data_offset, std::move(header.tensors));
  return opened;
}

}  // namespace

Result<FileFormat> format_of(const File& file) {
  std::array<char, 24> buffer{};
  const auto bytes = static_cast<size_t>(std::min<uint64_t>(file.size(), buffer.size()));
  LOBIT_RETURN_IF_ERROR(file.read_at(0, std::as_writable_bytes(std::span(buffer).first(bytes))));
  const std::string_view start(buffer.data(), bytes);
  if (start.starts_with(gguf::kMagic)) return FileFormat::kGguf;
  if (starts_as_safetensors(start)) return FileFormat::kSafetensors;
  return fail(
      ErrorCode::kUnsupported,
      fmt::format("{}: neither GGUF nor safetensors: expected the magic 'GGUF' or a size and '{{', found {}",
                  file.name(), describe(start, file.size())),
      {.offset = 0});
}

void add_part(Model& model, std::filesystem::path path, File file, uint64_t data_offset,
              std::vector<TensorEntry> tensors) {
  const auto part = static_cast<uint32_t>(model.parts.size());
  for (TensorEntry& tensor : tensors) tensor.part = part;
  if (model.tensors.empty()) {
    model.tensors = std::move(tensors);
  } else {
    std::ranges::move(tensors, std::back_inserter(model.tensors));
  }
  model.parts.push_back({std::move(path), std::move(file), data_offset});
}

Status check_names_differ(const Model& model) {
  const std::vector<TensorEntry>& tensors = model.tensors;
  const auto repeated =
      gguf::first_repeated(tensors.size(), [&](size_t i) { return std::string_view(tensors[i].name); });
  if (!repeated) return {};
  const TensorEntry& second = tensors[*repeated];
  const TensorEntry* const first = model.find(second.name);
  return fail(ErrorCode::kCorrupt,
              fmt::format("{}: tensor {}: is in {} too", model.parts[second.part].path.native(),
                          lobit::quoted(second.name), model.parts[first->part].path.native()),
              {.index = *repeated});
}

}  // namespace model

std::string_view file_format_name(FileFormat format) {
  return format == FileFormat::kGguf ? "GGUF" : "safetensors";
}

uint64_t Model::tensor_bytes() const {
  uint64_t total = 0;
  for (const TensorEntry& tensor : tensors) total += tensor.bytes;
  return total;
}

uint64_t Model::elements() const {
  uint64_t total = 0;
  for (const TensorEntry& tensor : tensors) total += tensor.shape.elements();
  return total;
}

const TensorEntry* Model::find(std::string_view name) const {
  const auto it = std::ranges::find(tensors, name, &TensorEntry::name);
  return it == tensors.end() ? nullptr : &*it;
}

Result<Model> open_model(const std::filesystem::path& path) {
  std::error_code failed;  // a path that cannot be looked at is left to File::open, whose message is better
  if (std::filesystem::is_directory(path, failed)) return model::open_folder(path);
  LOBIT_TRY(File file, File::open(path));
  LOBIT_TRY(const FileFormat format, model::format_of(file));
  return format == FileFormat::kGguf ? model::open_gguf(path, std::move(file))
                                     : model::open_safetensors(path, std::move(file));
}

}  // namespace lobit
