// Model: everything the headers of a model say, whichever format and however many files it is in. Opening
// reads headers only. Owns the open files; read tensor data through part(i).file. Immutable after open, so
// any number of threads may read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/format/metadata.h"
#include "lobit/format/tensor_entry.h"
#include "lobit/io/file.h"

namespace lobit {

enum class FileFormat : uint8_t { kGguf, kSafetensors };
LOBIT_API std::string_view file_format_name(FileFormat format);  // "GGUF", "safetensors"

// One file of a model.
struct ModelPart {
  std::filesystem::path path;
  File file;
  uint64_t data_offset = 0;
};

struct LOBIT_API Model {
  FileFormat format = FileFormat::kGguf;
  std::filesystem::path path;        // as given to open_model
  bool is_folder = false;            // a Hugging Face folder
  uint32_t version = 0;              // GGUF's; 0 for safetensors
  uint32_t alignment = 1;            // of tensor data
  std::vector<ModelPart> parts;      // in order
  std::vector<TensorEntry> tensors;  // in file order, part by part
  Metadata metadata;                 // of the first part; without GGUF's split.* keys

  uint64_t tensor_bytes() const;
  uint64_t elements() const;
  const TensorEntry* find(std::string_view name) const;
};

// Opens
//   a .gguf file; the first part of a split one (NAME-00001-of-00003.gguf) opens all parts,
//   a .safetensors file,
//   a folder with model.safetensors.index.json, or with one or more .safetensors files.
// What a file is, is told by its first bytes, not its name. kNotFound when a part or the model is missing,
// kInvalidArgument for a part other than the first, kUnsupported for files of other formats, kCorrupt when
// the parts contradict each other; otherwise the readers' errors.
LOBIT_API Result<Model> open_model(const std::filesystem::path& path);

}  // namespace lobit
