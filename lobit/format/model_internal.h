// What the parts of model.h share. Not installed.
#pragma once

#include <filesystem>
#include <string>

#include "lobit/base/result.h"
#include "lobit/format/gguf.h"
#include "lobit/format/model.h"
#include "lobit/io/file.h"

namespace lobit::model {

// Tells a file's format by its first bytes.
Result<FileFormat> format_of(const File& file);

// Appends an open file and the tensors of its header.
void add_part(Model& model, std::filesystem::path path, File file, uint64_t data_offset,
              std::vector<TensorEntry> tensors);

// kCorrupt when two parts have a tensor of one name.
Status check_names_differ(const Model& model);

// `model` holds the one file that was opened. When its metadata says that it is part of a split model, opens
// the other parts; takes the split.* keys away.
Status open_other_parts(Model& model);

Result<Model> open_folder(const std::filesystem::path& folder);

}  // namespace lobit::model
