#include <algorithm>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "lobit/base/check.h"
#include "lobit/base/utf8.h"
#include "lobit/device/device.h"
#include "lobit/format/gguf.h"
#include "lobit/format/gguf_internal.h"
#include "lobit/format/layout.h"
#include "lobit/format/npy.h"
#include "lobit/format/safetensors.h"
#include "lobit/format/safetensors_internal.h"
#include "lobit/format/tensor_file.h"
#include "lobit/format/tensor_file_internal.h"

namespace lobit {
namespace tensor_file {
namespace {

constexpr uint64_t kBufferBytes = uint64_t{1} << 20;

FormatLayout layout_of(const Tensor& tensor) {
  const auto layout = format_layout(tensor.format(), tensor.shape().rows(), tensor.shape().row_elements());
  LOBIT_CHECK(layout.has_value());
  return *layout;
}

// Calls use(bytes) for all bytes of a tensor of the CPU, in order, as contiguous() would have them.
template <typename Use>
class ValueStream {
 public:
  ValueStream(const Tensor& tensor, Use use) : tensor_(tensor), layout_(layout_of(tensor)), use_(use) {}

  Status run() {
    if (tensor_.elements() == 0) return {};
    if (!tensor_.is_contiguous()) return tensor_.format().is_planar() ? planes() : elements();
    LOBIT_TRY(const std::span<const std::byte> bytes, tensor_.bytes());
    return use_(bytes);
  }

 private:
  Status elements() {
    const EncodingTraits& t = traits(tensor_.format().encoding);
    const uint64_t most = kBufferBytes / t.block_bytes * t.block_elements;
    std::vector<std::byte> buffer(kBufferBytes);
    for (uint64_t first = 0; first < tensor_.elements(); first += most) {
      const uint64_t n = std::min(most, tensor_.elements() - first);
      tensor_.read_run(first, n, buffer.data());
      LOBIT_RETURN_IF_ERROR(use_(std::span(buffer).first(n / t.block_elements * t.block_bytes)));
    }
    return {};
  }

  // All codes, then all scales: both are read twice, and only views pay for that.
  Status planes() {
    LOBIT_RETURN_IF_ERROR(
        for_each_rows(tensor_.shape().rows(), [&](auto codes, auto) { return use_(codes); }));
    const std::vector<std::byte> gap(layout_.scale_offset - layout_.row_bytes * tensor_.shape().rows());
    LOBIT_RETURN_IF_ERROR(use_(std::span(gap)));
    const uint64_t rows = layout_.row_scales == 0 ? 1 : tensor_.shape().rows();
    return for_each_rows(rows, [&](auto, auto scales) { return use_(scales); });
  }

  template <typename UseRows>
  Status for_each_rows(uint64_t rows, UseRows use) {
    // A row has a scale at least while it is read, also where one serves all rows.
    const uint64_t scale_bytes = std::max<uint64_t>(layout_.row_scales, 1) * sizeof(float);
    const uint64_t most = std::max<uint64_t>(1, kBufferBytes / (layout_.row_bytes + scale_bytes));
    std::vector<std::byte> buffer(std::min(most, rows) * (layout_.row_bytes + scale_bytes));
    for (uint64_t first = 0; first < rows; first += most) {
      const uint64_t n = std::min(most, rows - first);
      const std::span<std::byte> codes = std::span(buffer).first(n * layout_.row_bytes);
      const std::span<std::byte> scales = std::span(buffer).subspan(codes.size());
      tensor_.read_rows(first, n, codes.data(), scales.data());
      const uint64_t count = layout_.row_scales == 0 ? 1 : n * layout_.row_scales;
      LOBIT_RETURN_IF_ERROR(use(std::span<const std::byte>(codes),
                                std::span<const std::byte>(scales.first(count * sizeof(float)))));
    }
    return {};
  }

  const Tensor& tensor_;
  const FormatLayout layout_;
  Use use_;
};

template <typename Use>
Status stream_values(const Tensor& tensor, Use use) {
  return ValueStream<Use>(tensor, use).run();
}

Result<uint64_t> checksum_of(const Tensor& tensor) {
  Checksum sum(tensor.name(), tensor.tags(), tensor.shape(), tensor.format());
  LOBIT_RETURN_IF_ERROR(stream_values(tensor, [&](std::span<const std::byte> bytes) {
    sum.add(bytes);
    return Status();
  }));
  return sum.value();
}

tl::unexpected<Error> unsupported(std::string_view format, const Tensor& tensor, size_t index,
                                  std::string_view what) {
  return fail(ErrorCode::kUnsupported,
              fmt::format("{}: tensor {}: {}", format, lobit::quoted(tensor.name()), what),
              {.index = index, .from = to_string(tensor.format()), .to = std::string(format)});
}

std::string_view format_name(TensorFileFormat format) {
  return format == TensorFileFormat::kNpy    ? ".npy"
         : format == TensorFileFormat::kGguf ? "GGUF"
                                             : "safetensors";
}

// Whether safetensors has a type for the tensor, or safetensors.h a convention.
bool has_safetensors_type(const Tensor& tensor) {
  if (tensor.format().is_planar()) return false;
  const EncodingTraits& t = traits(tensor.format().encoding);
  const Shape& shape = tensor.shape();
  return !t.is_block() || (shape.rank() > 0 && shape.row_elements() % t.block_elements == 0);
}

// Offsets are multiples of this when tensors with larger ones come first.
uint64_t element_alignment(const Tensor& tensor) {
  if (tensor.format().is_planar()) return sizeof(float);
  const EncodingTraits& t = traits(tensor.format().encoding);
  return t.block_elements == 1 ? t.block_bytes : 1;
}

// A file before anything is written.
struct Plan {
  std::vector<size_t> order;  // of the tensors in the file
  std::vector<TensorSpec> specs;
  FileLayout layout;
};

Status check_tensor(TensorFileFormat format, const Tensor& tensor, size_t index) {
  const std::string_view name = format_name(format);
  if (tensor.device().kind != DeviceKind::kCpu) {
    return unsupported(
        name, tensor, index,
        fmt::format("expected values on the cpu (to_device() copies them there), found them on {}",
                    device_name(tensor.device())));
  }
  if (format != TensorFileFormat::kSafetensors && tensor.format().is_planar()) {
    return unsupported(
        name, tensor, index,
        fmt::format("expected plain numbers or blocks (safetensors takes all formats), found {}",
                    to_string(tensor.format())));
  }
  if (tensor.tags().size() > kMaxTags) {
    return unsupported(name, tensor, index,
                       fmt::format("expected at most {} tags, found {}", kMaxTags, tensor.tags().size()));
  }
  return {};
}

Status check_npy(std::span<const Tensor> tensors, const SaveTensorsOptions& options) {
  if (tensors.size() != 1) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format(".npy: expected one tensor, found {}", tensors.size()),
                {.required = 1, .available = tensors.size()});
  }
  if (!tensors[0].tags().empty()) return unsupported(".npy", tensors[0], 0, "expected no tags");
  if (options.checksums == TensorChecksums::kOn || options.metadata.size() > 0) {
    return fail(ErrorCode::kUnsupported, ".npy: expected neither checksums nor metadata");
  }
  return {};
}

Result<Note> note_of(const Tensor& tensor, TensorFileFormat format, TensorChecksums checksums) {
  Note note;
  for (const std::string& tag : tensor.tags()) {
    if (utf8_valid_prefix(tag) != tag.size()) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("tensor {}: expected tags in UTF-8, found {}",
                                                           lobit::quoted(tensor.name()), lobit::quoted(tag)));
    }
    note.tags.push_back(tag);
  }
  if (format == TensorFileFormat::kSafetensors && !has_safetensors_type(tensor)) {
    note.format = tensor.format();
    note.shape = tensor.shape();
  }
  if (checksums == TensorChecksums::kOn) {
    LOBIT_TRY(note.checksum, checksum_of(tensor));
  }
  return note;
}

bool has_note(const Tensor& tensor, TensorChecksums checksums) {
  return checksums == TensorChecksums::kOn || !tensor.tags().empty() || !has_safetensors_type(tensor);
}

// Before any value is read for a checksum.
Status check_keys(std::span<const Tensor> tensors, const SaveTensorsOptions& options) {
  const auto notes = static_cast<size_t>(
      std::ranges::count_if(tensors, [&](const Tensor& t) { return has_note(t, options.checksums); }));
  const size_t keys = options.metadata.size() + notes;
  if (keys <= safetensors::kMaxMetadataKeys) return {};
  return fail(ErrorCode::kLimit,
              fmt::format("safetensors: expected at most {} metadata keys, one for each tensor of a planar "
                          "format, with tags or with a checksum included, found {}",
                          safetensors::kMaxMetadataKeys, keys),
              {.required = keys, .available = safetensors::kMaxMetadataKeys});
}

// What the file's metadata say, or else the default.
Result<uint32_t> gguf_alignment(const Metadata& metadata) {
  const MetadataValue* const value = metadata.find(gguf::kAlignmentKey);
  if (value == nullptr) return kGgufDefaultAlignment;
  const auto alignment = value->type == MetadataType::kU32 ? value->as_unsigned() : std::nullopt;
  if (alignment) return static_cast<uint32_t>(*alignment);
  return fail(ErrorCode::kInvalidArgument, fmt::format("GGUF: {}: expected u32, found {}",
                                                       gguf::kAlignmentKey, metadata_type_name(value->type)));
}

Result<Plan> make_plan(TensorFileFormat format, std::span<const Tensor> tensors,
                       const SaveTensorsOptions& options) {
  for (size_t i = 0; i < tensors.size(); ++i) LOBIT_RETURN_IF_ERROR(check_tensor(format, tensors[i], i));
  Plan plan;
  plan.order.resize(tensors.size());
  std::iota(plan.order.begin(), plan.order.end(), size_t{0});
  if (format == TensorFileFormat::kNpy) {
    LOBIT_RETURN_IF_ERROR(check_npy(tensors, options));
    LOBIT_TRY(plan.layout, layout_npy(tensors[0].shape(), tensors[0].format().encoding));
    return plan;
  }
  if (format == TensorFileFormat::kSafetensors) {
    std::ranges::sort(plan.order, [&](size_t a, size_t b) {
      return std::pair(element_alignment(tensors[b]), a) < std::pair(element_alignment(tensors[a]), b);
    });
  }
  if (format == TensorFileFormat::kSafetensors) LOBIT_RETURN_IF_ERROR(check_keys(tensors, options));
  Metadata metadata = options.metadata;
  for (const MetadataEntry& entry : options.metadata.entries()) {
    if (!entry.key.starts_with(kNotePrefix)) continue;
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("save tensors: the metadata key {} is lobit's own", lobit::quoted(entry.key)));
  }
  for (const size_t i : plan.order) {
    const Tensor& tensor = tensors[i];
    LOBIT_TRY(const Note note, note_of(tensor, format, options.checksums));
    plan.specs.push_back({tensor.name(), tensor.shape(), tensor.format().encoding});
    if (note.format) {
      LOBIT_TRY(plan.specs.back().shape, Shape::create({static_cast<int64_t>(tensor.size_bytes())}));
      plan.specs.back().encoding = Encoding::kRawU8;
    }
    if (note.empty()) continue;
    metadata.append({std::string(kNotePrefix) + tensor.name(), MetadataValue::string(note_text(note))});
  }
  if (format == TensorFileFormat::kGguf) {
    LOBIT_TRY(const uint32_t alignment, gguf_alignment(options.metadata));
    LOBIT_TRY(plan.layout, layout_gguf(metadata, plan.specs, alignment));
  } else {
    LOBIT_TRY(plan.layout, layout_safetensors(metadata, plan.specs));
  }
  return plan;
}

}  // namespace

Result<TensorFileFormat> decide_format(TensorFileFormat format, std::string_view name) {
  if (format != TensorFileFormat::kBySuffix) return format;
  if (name.ends_with(".npy")) return TensorFileFormat::kNpy;
  if (name.ends_with(".safetensors")) return TensorFileFormat::kSafetensors;
  if (name.ends_with(".gguf")) return TensorFileFormat::kGguf;
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: expected a name that ends in .npy, .safetensors or .gguf", name));
}

}  // namespace tensor_file

Status save_tensors(const std::filesystem::path& target, std::span<const Tensor> tensors,
                    const SaveTensorsOptions& options) {
  LOBIT_TRY(const TensorFileFormat format, tensor_file::decide_format(options.format, target.native()));
  LOBIT_TRY(const tensor_file::Plan plan, tensor_file::make_plan(format, tensors, options));
  std::vector<OutputFile> files;
  LOBIT_TRY(OutputFile file, OutputFile::create(target, plan.layout.file_bytes));
  LOBIT_RETURN_IF_ERROR(file.write_at(0, std::as_bytes(std::span(plan.layout.header))));
  for (size_t i = 0; i < plan.order.size(); ++i) {
    uint64_t at = plan.layout.offsets[i];
    const auto write = [&](std::span<const std::byte> bytes) {
      const uint64_t offset = std::exchange(at, at + bytes.size());
      return file.write_at(offset, bytes);
    };
    LOBIT_RETURN_IF_ERROR(tensor_file::stream_values(tensors[plan.order[i]], write));
  }
  files.push_back(std::move(file));
  return commit_all(files, options.durability);
}

Status save_tensor(const std::filesystem::path& target, const Tensor& tensor,
                   const SaveTensorsOptions& options) {
  return save_tensors(target, std::span(&tensor, 1), options);
}

}  // namespace lobit
