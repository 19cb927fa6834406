#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/utf8.h"
#include "lobit/format/gguf.h"
#include "lobit/format/npy.h"
#include "lobit/format/safetensors.h"
#include "lobit/format/tensor_file.h"
#include "lobit/format/tensor_file_internal.h"
#include "lobit/io/mapped_file.h"

namespace lobit {
namespace tensor_file {
namespace {

tl::unexpected<Error> corrupt(const ByteSource& source, std::string_view name, std::string_view what) {
  return fail(ErrorCode::kCorrupt,
              fmt::format("{}: tensor {}: {}", source.name(), lobit::quoted(name), what));
}

std::optional<FormatLayout> layout_of(const StoredTensor& stored) {
  return format_layout(stored.format, stored.shape.rows(), stored.shape.row_elements());
}

Status apply_note(const ByteSource& source, Note note, StoredTensor& stored) {
  stored.tags = std::move(note.tags);
  stored.checksum = note.checksum;
  if (!note.format) return {};
  const bool is_bytes = stored.format == ValueFormat{Encoding::kRawU8} && stored.shape.rank() == 1;
  stored.format = *note.format;
  stored.shape = *note.shape;
  const std::optional<FormatLayout> layout = layout_of(stored);
  if (is_bytes && layout && layout->bytes == stored.bytes) return {};
  return corrupt(source, stored.name,
                 fmt::format("expected the bytes of {} {}, found {} bytes of something else",
                             to_string(stored.format), stored.shape.to_string(), stored.bytes));
}

// Moves the notes from the metadata to the tensors that they describe.
Status apply_notes(const ByteSource& source, const Metadata& metadata, TensorDirectory& directory) {
  std::vector<StoredTensor>& tensors = directory.tensors;
  std::vector<size_t> by_name(tensors.size());
  std::iota(by_name.begin(), by_name.end(), size_t{0});
  const auto name_of = [&](size_t i) { return std::string_view(tensors[i].name); };
  std::ranges::sort(by_name, {}, name_of);
  directory.metadata.reserve(metadata.size());
  for (const MetadataEntry& entry : metadata.entries()) {
    if (!entry.key.starts_with(kNotePrefix)) {
      directory.metadata.append(entry);
      continue;
    }
    const std::string_view name = std::string_view(entry.key).substr(kNotePrefix.size());
    const auto found = std::ranges::lower_bound(by_name, name, {}, name_of);
    if (found == by_name.end() || name_of(*found) != name) {
      return corrupt(source, name, "is described and not there");
    }
    const std::optional<std::string_view> text = entry.value.as_string();
    if (!text) return corrupt(source, name, "expected a string that describes it");
    const std::string where = fmt::format("{}: description of tensor {}", source.name(), lobit::quoted(name));
    LOBIT_TRY(Note note, parse_note(*text, where));
    LOBIT_RETURN_IF_ERROR(apply_note(source, std::move(note), tensors[*found]));
  }
  return {};
}

template <typename Header>
Result<TensorDirectory> directory_of(const ByteSource& source, Header header) {
  TensorDirectory directory;
  directory.tensors.reserve(header.tensors.size());
  for (TensorEntry& entry : header.tensors) {
    directory.tensors.push_back({.name = std::move(entry.name),
                                 .shape = entry.shape,
                                 .format = {entry.encoding},
                                 .offset = entry.offset,
                                 .bytes = entry.bytes});
  }
  LOBIT_RETURN_IF_ERROR(apply_notes(source, header.metadata, directory));
  return directory;
}

Result<TensorDirectory> read_npy_directory(const ByteSource& source) {
  LOBIT_TRY(const NpyHeader header, read_npy(source));
  TensorDirectory directory;
  directory.tensors.push_back({.shape = header.shape,
                               .format = {header.encoding},
                               .offset = header.data_offset,
                               .bytes = header.data_bytes});
  return directory;
}

// Whether a tensor can have the bytes that the source has for it.
Status check_stored(const ByteSource& source, const StoredTensor& stored) {
  const std::optional<FormatLayout> layout = layout_of(stored);
  if (!layout || layout->bytes != stored.bytes) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{}: tensor {}: expected rows that fill whole blocks of {}, found {}", source.name(),
                    lobit::quoted(stored.name), to_string(stored.format), stored.shape.to_string()),
        {.offset = stored.offset, .from = to_string(stored.format)});
  }
  if (stored.offset <= source.size() && stored.bytes <= source.size() - stored.offset) return {};
  return fail(ErrorCode::kIo,
              fmt::format("{}: tensor {}: expected {} bytes at {}, found the end at {}", source.name(),
                          lobit::quoted(stored.name), stored.bytes, stored.offset, source.size()),
              {.offset = stored.offset, .required = stored.bytes, .available = source.size()});
}

void label(const StoredTensor& stored, Tensor& tensor) {
  if (!stored.name.empty()) tensor.set_name(stored.name);
  if (!stored.tags.empty()) tensor.set_tags(stored.tags);
}

// A file whose tensors are read or mapped.
struct OpenFile {
  File file;
  TensorDirectory directory;
};

Result<OpenFile> open_file(const std::filesystem::path& path, TensorFileFormat format) {
  LOBIT_TRY(File file, File::open(path));
  LOBIT_TRY(TensorDirectory directory, read_tensor_directory(file, format));
  return OpenFile{std::move(file), std::move(directory)};
}

Result<std::shared_ptr<const MappedFile>> map_file(const File& file) {
  LOBIT_TRY(MappedFile mapped, MappedFile::map(file));
  return std::make_shared<const MappedFile>(std::move(mapped));
}

Result<Tensor> map_stored(const OpenFile& open, const std::shared_ptr<const MappedFile>& mapped,
                          const StoredTensor& stored, MemoryResource& resource) {
  LOBIT_RETURN_IF_ERROR(check_stored(open.file, stored));
  const std::span<const std::byte> bytes = mapped->bytes().subspan(stored.offset, stored.bytes);
  LOBIT_TRY(Tensor tensor, Tensor::borrow(bytes, stored.shape, stored.format, resource, mapped));
  label(stored, tensor);
  return tensor;
}

}  // namespace
}  // namespace tensor_file

Result<const StoredTensor*> TensorDirectory::find(std::string_view name) const {
  const auto found = std::ranges::find(tensors, name, &StoredTensor::name);
  if (found != tensors.end()) return &*found;
  return fail(ErrorCode::kNotFound, fmt::format("tensor {}: expected one of the file's {} tensors",
                                                lobit::quoted(name), tensors.size()));
}

Result<TensorDirectory> read_tensor_directory(const ByteSource& source, TensorFileFormat format) {
  LOBIT_TRY(const TensorFileFormat decided, tensor_file::decide_format(format, source.name()));
  if (decided == TensorFileFormat::kNpy) return tensor_file::read_npy_directory(source);
  if (decided == TensorFileFormat::kGguf) {
    LOBIT_TRY(GgufHeader header, read_gguf(source));
    return tensor_file::directory_of(source, std::move(header));
  }
  LOBIT_TRY(SafetensorsHeader header, read_safetensors(source));
  return tensor_file::directory_of(source, std::move(header));
}

Result<Tensor> read_tensor(const ByteSource& source, const StoredTensor& stored, MemoryResource& resource) {
  // Before memory is taken: a directory that is not the source's may say anything.
  LOBIT_RETURN_IF_ERROR(tensor_file::check_stored(source, stored));
  LOBIT_TRY(Tensor tensor, Tensor::empty(stored.shape, stored.format, resource));
  LOBIT_TRY(const std::span<std::byte> bytes, tensor.mutable_bytes());
  LOBIT_RETURN_IF_ERROR(source.read_at(stored.offset, bytes));
  if (stored.checksum) {
    tensor_file::Checksum sum(stored.name, stored.tags, stored.shape, stored.format);
    sum.add(bytes);
    if (sum.value() != *stored.checksum) {
      return tensor_file::corrupt(source, stored.name, "expected what was saved, found that it has changed");
    }
  }
  tensor_file::label(stored, tensor);
  return tensor;
}

Result<Tensor> load_tensor(const std::filesystem::path& path, std::string_view name, MemoryResource& resource,
                           TensorFileFormat format) {
  LOBIT_TRY(const tensor_file::OpenFile open, tensor_file::open_file(path, format));
  LOBIT_TRY(const StoredTensor* stored, open.directory.find(name));
  return read_tensor(open.file, *stored, resource);
}

Result<std::vector<Tensor>> load_tensors(const std::filesystem::path& path, MemoryResource& resource,
                                         TensorFileFormat format) {
  LOBIT_TRY(const tensor_file::OpenFile open, tensor_file::open_file(path, format));
  std::vector<Tensor> tensors;
  tensors.reserve(open.directory.tensors.size());
  for (const StoredTensor& stored : open.directory.tensors) {
    LOBIT_TRY(Tensor tensor, read_tensor(open.file, stored, resource));
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

Result<Tensor> map_tensor(const std::filesystem::path& path, std::string_view name, MemoryResource& resource,
                          TensorFileFormat format) {
  LOBIT_TRY(const tensor_file::OpenFile open, tensor_file::open_file(path, format));
  LOBIT_TRY(const StoredTensor* stored, open.directory.find(name));
  LOBIT_TRY(const std::shared_ptr<const MappedFile> mapped, tensor_file::map_file(open.file));
  return tensor_file::map_stored(open, mapped, *stored, resource);
}

Result<std::vector<Tensor>> map_tensors(const std::filesystem::path& path, MemoryResource& resource,
                                        TensorFileFormat format) {
  LOBIT_TRY(const tensor_file::OpenFile open, tensor_file::open_file(path, format));
  LOBIT_TRY(const std::shared_ptr<const MappedFile> mapped, tensor_file::map_file(open.file));
  std::vector<Tensor> tensors;
  tensors.reserve(open.directory.tensors.size());
  for (const StoredTensor& stored : open.directory.tensors) {
    LOBIT_TRY(Tensor tensor, tensor_file::map_stored(open, mapped, stored, resource));
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

}  // namespace lobit
