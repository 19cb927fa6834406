// Tensors in files: one in .npy, any number with names in .safetensors and .gguf. docs/formats/ describes the
// three layouts, and docs/formats/safetensors.md how tensors are kept there that the format has no dtype for.
//
//                                .npy           .safetensors          .gguf
//   tensors, names               one, none      any, any UTF-8        any, 1 to 63 bytes
//   plain numbers                those of       all                   those of ggml
//                                NumPy
//   blocks of GGUF               -              all                   all
//   planar formats               -              all                   -
//   dimensions                   0 to 8         0 to 8                0 to 4, each from 1
//   tags, checksums, metadata    -              yes (strings)         yes
//
// In .safetensors every tensor of a planar format, with tags or with a checksum takes a metadata key, and a
// file has 65,536 keys at most.
//
// Every tensor that is saved comes back bit for bit: values, shape and format, and what the table says.
// Views are put in one piece on the way, through a buffer of 1 MiB (or of a row, when that is longer), so
// that saving needs no second copy of anything. A file appears under its name when it is complete. Bytes are
// little endian on every machine.
//
// Functions without state; safe from any thread. Tensors that are saved are not written to meanwhile.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/dtype/value_format.h"
#include "lobit/format/metadata.h"
#include "lobit/io/file.h"
#include "lobit/io/source.h"
#include "lobit/memory/memory_resource.h"
#include "lobit/tensor/tensor.h"

namespace lobit {

enum class TensorFileFormat : uint8_t {
  kBySuffix,  // .npy, .safetensors, .gguf
  kNpy,
  kSafetensors,
  kGguf,
};

enum class TensorChecksums : uint8_t {
  kOff,
  // 64 bits over name, tags, shape, format and values of each tensor, which read_tensor() compares. Where the
  // note that holds them is itself destroyed, StoredTensor::checksum is missing.
  kOn,
};

struct SaveTensorsOptions {
  TensorFileFormat format = TensorFileFormat::kBySuffix;
  Durability durability = Durability::kNone;
  TensorChecksums checksums = TensorChecksums::kOff;
  // Of the file. Keys that start with "lobit.tensor." are taken. In .gguf general.alignment is obeyed.
  Metadata metadata = {};
};

// Writes a file whole; `target` is the old file or absent until it is complete. kUnsupported for what the
// format has no form for: a planar tensor, tags, checksums or metadata where the table has "-", values that
// do not lie on the CPU. kInvalidArgument for another number of tensors than one in .npy, for an unknown
// suffix, a general.alignment that is no u32, and for what layout_npy, layout_safetensors and layout_gguf
// refuse; kLimit for more keys in .safetensors than the table allows; the errors of OutputFile.
LOBIT_API Status save_tensors(const std::filesystem::path& target, std::span<const Tensor> tensors,
                              const SaveTensorsOptions& options = {});
// The same for one.
LOBIT_API Status save_tensor(const std::filesystem::path& target, const Tensor& tensor,
                             const SaveTensorsOptions& options = {});

// A tensor that lies in a file.
struct StoredTensor {
  std::string name = {};
  std::vector<std::string> tags = {};
  Shape shape = {};
  ValueFormat format = {};
  uint64_t offset = 0;  // of its first byte, from the start of the file
  uint64_t bytes = 0;
  std::optional<uint64_t> checksum = std::nullopt;
};

struct LOBIT_API TensorDirectory {
  Metadata metadata = {};                  // of the file, without what describes the tensors
  std::vector<StoredTensor> tensors = {};  // in the order in which they lie

  // kNotFound. The tensor of a .npy file is named "".
  Result<const StoredTensor*> find(std::string_view name) const;
};

// Reads and checks the header of a file, taking every byte as hostile; kBySuffix looks at the source's name.
// The errors of read_npy, read_safetensors and read_gguf; kCorrupt for descriptions of tensors that
// contradict the file.
LOBIT_API Result<TensorDirectory> read_tensor_directory(
    const ByteSource& source, TensorFileFormat format = TensorFileFormat::kBySuffix);

// Reads the values of one tensor of the source's directory into memory of the CPU. The errors of the resource
// and of the source; kCorrupt where the checksum says that something changed; kUnsupported for rows that do
// not fill the blocks of their format.
LOBIT_API Result<Tensor> read_tensor(const ByteSource& source, const StoredTensor& stored,
                                     MemoryResource& resource);

// A file's tensor of that name, or all of them in the order in which they lie: in .safetensors those with
// wider elements first.
LOBIT_API Result<Tensor> load_tensor(const std::filesystem::path& path, std::string_view name,
                                     MemoryResource& resource,
                                     TensorFileFormat format = TensorFileFormat::kBySuffix);
LOBIT_API Result<std::vector<Tensor>> load_tensors(const std::filesystem::path& path,
                                                   MemoryResource& resource,
                                                   TensorFileFormat format = TensorFileFormat::kBySuffix);

// The same without reading the values: they stay in the file, are read by the system when they are touched,
// and take no memory that it could not have back. Writing to such a tensor writes to a copy from `resource`.
// The mapping goes with the last tensor that stands on it. Nobody compares checksums. A file that somebody
// cuts short while it is mapped ends the program (io/mapped_file.h), which replacing it, as save_tensors
// does, never can. Files of other programs may have tensors at addresses that values<T>() does not take
// (clone() makes others).
LOBIT_API Result<Tensor> map_tensor(const std::filesystem::path& path, std::string_view name,
                                    MemoryResource& resource,
                                    TensorFileFormat format = TensorFileFormat::kBySuffix);
LOBIT_API Result<std::vector<Tensor>> map_tensors(const std::filesystem::path& path, MemoryResource& resource,
                                                  TensorFileFormat format = TensorFileFormat::kBySuffix);

}  // namespace lobit
