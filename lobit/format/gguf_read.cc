#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/checked.h"
#include "lobit/base/utf8.h"
#include "lobit/format/gguf.h"
#include "lobit/format/gguf_cursor.h"
#include "lobit/format/gguf_internal.h"

namespace lobit {
namespace gguf {
namespace {

// Lists up to this long get their memory on the file's word: 3.5 MiB for both.
constexpr uint64_t kTrustedCount = 16384;
// The least that an entry and a tensor take: a name of one byte, a value of one byte, no dimensions.
constexpr uint64_t kMinEntryBytes = 8 + 1 + 4 + 1;
constexpr uint64_t kMinTensorBytes = 8 + 1 + 4 + 4 + 8;

class HeaderReader {
 public:
  explicit HeaderReader(const ByteSource& source) : source_(source), cursor_(source) {}

  Result<GgufHeader> read() {
    LOBIT_RETURN_IF_ERROR(read_preamble());
    LOBIT_RETURN_IF_ERROR(read_metadata());
    LOBIT_RETURN_IF_ERROR(read_alignment());
    LOBIT_RETURN_IF_ERROR(read_tensors());
    LOBIT_RETURN_IF_ERROR(place_tensors());
    return std::move(header_);
  }

 private:
  Status read_preamble();
  Status read_counts();
  Status read_metadata();
  Status read_entry(MetadataEntry* out);
  Status read_key();
  Status read_value(MetadataValue* out);
  Result<MetadataType> read_type(std::string_view what);
  Status read_array(MetadataValue* out);
  Status read_elements(MetadataType element, uint64_t count, std::string* out);
  Status check_bools(const std::string& bytes, uint64_t start) const;
  Status read_alignment();
  Status read_tensors();
  Status read_tensor(TensorEntry* out);
  Result<Shape> read_shape();
  Result<uint64_t> read_data_range(Encoding encoding, uint64_t elements, uint64_t type_at);
  Status place_tensors();
  Status seek_entry(size_t index);
  Status seek_tensor(size_t index);

  const ByteSource& source_;
  Cursor cursor_;
  GgufHeader header_;
  uint64_t entry_count_ = 0;
  uint64_t tensor_count_ = 0;
  uint64_t entries_at_ = 0;
  uint64_t tensors_at_ = 0;
  std::string name_;         // of the key or tensor being read; kept for its memory
  uint64_t data_bytes_ = 0;  // of the tensors so far, each padded
};

Status HeaderReader::read_preamble() {
  std::string magic;
  LOBIT_RETURN_IF_ERROR(cursor_.bytes(kMagic.size(), "GGUF's magic", &magic));
  if (magic != kMagic) {
    return cursor_.corrupt(0, fmt::format("expected the magic 'GGUF', found {}", quoted(magic)));
  }
  const uint64_t version_at = cursor_.position();
  LOBIT_TRY(header_.version, cursor_.number<uint32_t>("a version"));
  if (header_.version != 0 && (header_.version & 0xffff) == 0) {
    return cursor_.error(
        ErrorCode::kUnsupported, version_at,
        fmt::format("version {:#010x}: the file is big-endian; expected little-endian", header_.version));
  }
  if (header_.version != 2 && header_.version != 3) {
    return cursor_.error(ErrorCode::kUnsupported, version_at,
                         fmt::format("expected GGUF version 2 or 3, found {}", header_.version));
  }
  return read_counts();
}

Status HeaderReader::read_counts() {
  const uint64_t counts_at = cursor_.position();
  LOBIT_TRY(const int64_t tensors, cursor_.number<int64_t>("the number of tensors"));
  LOBIT_TRY(const int64_t entries, cursor_.number<int64_t>("the number of keys"));
  const auto check = [&](int64_t count, uint64_t at, uint64_t least, std::string_view what) -> Status {
    const uint64_t most = cursor_.remaining() / least;
    if (count >= 0 && static_cast<uint64_t>(count) <= most) return {};
    return cursor_.corrupt(at, fmt::format("expected at most {} {}, which is what the rest of the file can "
                                           "hold, found {}",
                                           most, what, count));
  };
  LOBIT_RETURN_IF_ERROR(check(tensors, counts_at, kMinTensorBytes, "tensors"));
  LOBIT_RETURN_IF_ERROR(check(entries, counts_at + 8, kMinEntryBytes, "keys"));
  tensor_count_ = static_cast<uint64_t>(tensors);
  entry_count_ = static_cast<uint64_t>(entries);
  entries_at_ = cursor_.position();
  return {};
}

// A long list is walked over once before it is kept, so that memory is taken only for what is there, and at
// once: a growing vector holds its contents twice.
Status HeaderReader::read_metadata() {
  if (entry_count_ > kTrustedCount) {
    for (uint64_t i = 0; i < entry_count_; ++i) LOBIT_RETURN_IF_ERROR(read_entry(nullptr));
    cursor_.seek(entries_at_);
  }
  header_.metadata.reserve(entry_count_);
  for (uint64_t i = 0; i < entry_count_; ++i) {
    MetadataEntry entry;
    LOBIT_RETURN_IF_ERROR(read_entry(&entry));
    header_.metadata.append(std::move(entry));
  }
  tensors_at_ = cursor_.position();
  cursor_.set_subject({}, {});

  const std::vector<MetadataEntry>& entries = header_.metadata.entries();
  if (const auto i =
          first_repeated(entries.size(), [&](size_t k) { return std::string_view(entries[k].key); })) {
    LOBIT_RETURN_IF_ERROR(seek_entry(*i));
    return cursor_.corrupt(cursor_.position(),
                           fmt::format("the key {} is there twice", quoted(entries[*i].key)), {.index = *i});
  }
  return {};
}

// One key and its value; with null it is checked and passed over.
Status HeaderReader::read_entry(MetadataEntry* out) {
  cursor_.set_subject({}, {});
  LOBIT_RETURN_IF_ERROR(read_key());
  cursor_.set_subject("key", name_);
  if (out != nullptr) out->key = name_;
  return read_value(out == nullptr ? nullptr : &out->value);
}

Status HeaderReader::read_key() {
  const uint64_t at = cursor_.position();
  LOBIT_TRY(const uint64_t length, cursor_.number<uint64_t>("the length of a key"));
  if (length == 0 || length > kMaxKeyBytes) {
    return cursor_.corrupt(at,
                           fmt::format("expected a key of 1 to {} bytes, found {}", kMaxKeyBytes, length));
  }
  name_.clear();
  return cursor_.bytes(length, "a key", &name_);
}

Result<MetadataType> HeaderReader::read_type(std::string_view what) {
  const uint64_t at = cursor_.position();
  LOBIT_TRY(const uint32_t type, cursor_.number<uint32_t>(what));
  if (type > static_cast<uint32_t>(MetadataType::kF64)) {
    return cursor_.corrupt(at, fmt::format("expected {} from 0 to 12, found {}", what, type));
  }
  return static_cast<MetadataType>(type);
}

Status HeaderReader::read_value(MetadataValue* out) {
  LOBIT_TRY(const MetadataType type, read_type("a value's type"));
  if (out != nullptr) out->type = type;
  if (type == MetadataType::kArray) return read_array(out);
  std::string* const bytes = out == nullptr ? nullptr : &out->bytes;
  if (type != MetadataType::kString) return read_elements(type, 1, bytes);
  LOBIT_TRY(const uint64_t length, cursor_.number<uint64_t>("a string's length"));
  LOBIT_RETURN_IF_ERROR(cursor_.require(length, "a string"));
  if (bytes != nullptr) bytes->reserve(length);
  return cursor_.bytes(length, "a string", bytes);
}

Status HeaderReader::read_array(MetadataValue* out) {
  const uint64_t at = cursor_.position();
  LOBIT_TRY(const MetadataType element, read_type("an array's type"));
  if (element == MetadataType::kArray) {
    return cursor_.error(ErrorCode::kUnsupported, at, "an array of arrays: expected numbers or strings");
  }
  LOBIT_TRY(const uint64_t count, cursor_.number<uint64_t>("an array's length"));
  if (out == nullptr) return read_elements(element, count, nullptr);
  out->element = element;
  out->count = count;
  return read_elements(element, count, &out->bytes);
}

// `count` values one after the other, as MetadataValue keeps them.
Status HeaderReader::read_elements(MetadataType element, uint64_t count, std::string* out) {
  const bool strings = element == MetadataType::kString;
  const uint64_t least = strings ? sizeof(uint64_t) : metadata_type_bytes(element);
  const std::optional<uint64_t> total = checked_mul(count, least);
  LOBIT_RETURN_IF_ERROR(cursor_.require(total.value_or(UINT64_MAX), "a value"));
  if (out != nullptr) out->reserve(*total);
  const uint64_t start = cursor_.position();
  if (!strings) {
    LOBIT_RETURN_IF_ERROR(cursor_.bytes(*total, "a value", out));
    return element == MetadataType::kBool && out != nullptr ? check_bools(*out, start) : Status{};
  }
  for (uint64_t i = 0; i < count; ++i) {
    LOBIT_TRY(const uint64_t length, cursor_.number<uint64_t>("a string's length"));
    if (out != nullptr) out->append(reinterpret_cast<const char*>(&length), sizeof length);
    LOBIT_RETURN_IF_ERROR(cursor_.bytes(length, "a string", out));
  }
  return {};
}

Status HeaderReader::check_bools(const std::string& bytes, uint64_t start) const {
  const auto bad = std::ranges::find_if(bytes, [](char c) { return static_cast<unsigned char>(c) > 1; });
  if (bad == bytes.end()) return {};
  return cursor_.corrupt(
      start + static_cast<uint64_t>(bad - bytes.begin()),
      fmt::format("expected a bool of 0 or 1, found {}", static_cast<unsigned char>(*bad)));
}

Status HeaderReader::read_alignment() {
  const MetadataValue* value = header_.metadata.find(kAlignmentKey);
  if (value == nullptr) return {};
  // Where its type stands; the value follows.
  const auto& entries = header_.metadata.entries();
  const auto entry = std::ranges::find(entries, kAlignmentKey, &MetadataEntry::key);
  LOBIT_RETURN_IF_ERROR(seek_entry(static_cast<size_t>(entry - entries.begin())));
  const uint64_t type_at = cursor_.position() + sizeof(uint64_t) + kAlignmentKey.size();
  cursor_.seek(tensors_at_);
  cursor_.set_subject("key", kAlignmentKey);
  if (value->type != MetadataType::kU32) {
    return cursor_.corrupt(type_at, fmt::format("expected u32, found {}", metadata_type_name(value->type)));
  }
  header_.alignment = static_cast<uint32_t>(*value->as_unsigned());
  if (!is_alignment(header_.alignment)) {
    return cursor_.corrupt(type_at + 4,
                           fmt::format("expected a power of two from 8, found {}", header_.alignment));
  }
  if (header_.alignment > kMaxAlignment) {
    return cursor_.error(ErrorCode::kUnsupported, type_at + 4,
                         fmt::format("expected at most {}, found {}", kMaxAlignment, header_.alignment));
  }
  return {};
}

Status HeaderReader::read_tensors() {
  if (tensor_count_ > kTrustedCount) {  // as in read_metadata
    for (uint64_t i = 0; i < tensor_count_; ++i) LOBIT_RETURN_IF_ERROR(read_tensor(nullptr));
    cursor_.seek(tensors_at_);
    data_bytes_ = 0;
  }
  header_.tensors.reserve(tensor_count_);
  for (uint64_t i = 0; i < tensor_count_; ++i) {
    LOBIT_RETURN_IF_ERROR(read_tensor(&header_.tensors.emplace_back()));
  }
  const uint64_t end = cursor_.position();
  cursor_.set_subject({}, {});

  const std::vector<TensorEntry>& tensors = header_.tensors;
  if (const auto i =
          first_repeated(tensors.size(), [&](size_t k) { return std::string_view(tensors[k].name); })) {
    LOBIT_RETURN_IF_ERROR(seek_tensor(*i));
    return cursor_.corrupt(cursor_.position(),
                           fmt::format("the tensor {} is there twice", quoted(tensors[*i].name)),
                           {.index = *i});
  }
  header_.data_offset = *checked_round_up<uint64_t>(end, header_.alignment);  // end is below kGgufMaxHeader
  return {};
}

// One tensor's description; with null it is checked and passed over.
Status HeaderReader::read_tensor(TensorEntry* out) {
  cursor_.set_subject({}, {});
  const uint64_t name_at = cursor_.position();
  LOBIT_TRY(const uint64_t length, cursor_.number<uint64_t>("the length of a tensor's name"));
  if (length == 0 || length > kMaxNameBytesRead) {
    return cursor_.corrupt(name_at, fmt::format("expected a tensor's name of 1 to {} bytes, found {}",
                                                kMaxNameBytesRead, length));
  }
  name_.clear();
  LOBIT_RETURN_IF_ERROR(cursor_.bytes(length, "a tensor's name", &name_));
  cursor_.set_subject("tensor", name_);

  const uint64_t rank_at = cursor_.position();
  LOBIT_TRY(const Shape shape, read_shape());
  const uint64_t type_at = cursor_.position();
  LOBIT_TRY(const uint32_t type, cursor_.number<uint32_t>("a type"));
  const std::optional<Encoding> encoding = encoding_from_ggml(type);
  if (!encoding) {
    return cursor_.error(ErrorCode::kUnsupported, type_at,
                         fmt::format("tensor type {}, which no longer or not yet has a meaning here", type));
  }
  const uint32_t block = traits(*encoding).block_elements;
  if (shape.row_elements() % block != 0) {
    const uint64_t at = shape.rank() == 0 ? rank_at : rank_at + sizeof(uint32_t);
    return cursor_.corrupt(at, fmt::format("{}: expected rows of whole blocks of {} values, found {}",
                                           encoding_name(*encoding), block, shape.row_elements()));
  }
  const uint64_t start = data_bytes_;
  LOBIT_TRY(const uint64_t bytes, read_data_range(*encoding, shape.elements(), type_at));
  if (out != nullptr) {
    *out = {.name = name_, .shape = shape, .encoding = *encoding, .part = 0, .offset = start, .bytes = bytes};
  }
  return {};
}

// The number of dimensions and the extents, which the file has innermost first.
Result<Shape> HeaderReader::read_shape() {
  const uint64_t rank_at = cursor_.position();
  LOBIT_TRY(const uint32_t rank, cursor_.number<uint32_t>("the number of dimensions"));
  if (rank > kMaxRank) {
    return cursor_.corrupt(rank_at, fmt::format("expected at most {} dimensions, found {}", kMaxRank, rank));
  }
  std::array<int64_t, kMaxRank> extents{};
  int64_t elements = 1;
  for (uint32_t i = 0; i < rank; ++i) {
    const uint64_t at = cursor_.position();
    LOBIT_TRY(const int64_t extent, cursor_.number<int64_t>("a dimension"));
    const std::optional<int64_t> product = checked_mul(elements, extent);
    if (extent < 1 || !product) {
      return cursor_.corrupt(
          at, fmt::format("dimension {} of {}: expected at least 1 and a product below 2^63", i, extent));
    }
    elements = *product;
    extents[rank - 1 - i] = extent;
  }
  return Shape::create(std::span(extents).first(rank));
}

// The offset, which must be where the previous tensor's padding ends. Returns the tensor's bytes.
Result<uint64_t> HeaderReader::read_data_range(Encoding encoding, uint64_t elements, uint64_t type_at) {
  const std::optional<uint64_t> bytes = encoded_bytes(encoding, elements);
  const auto padded = bytes ? checked_round_up<uint64_t>(*bytes, header_.alignment) : std::nullopt;
  const auto end = padded ? checked_add(data_bytes_, *padded) : std::nullopt;
  if (!end) {
    return cursor_.corrupt(
        type_at, fmt::format("{} values of {}: expected all tensors' bytes to be below 2^64", elements,
                             encoding_name(encoding)));
  }
  const uint64_t at = cursor_.position();
  LOBIT_TRY(const uint64_t offset, cursor_.number<uint64_t>("an offset"));
  if (offset != data_bytes_) {
    return cursor_.corrupt(
        at,
        fmt::format("expected the offset {}, where the tensors before it end, found {}", data_bytes_, offset),
        {.required = data_bytes_, .available = offset});
  }
  data_bytes_ = *end;
  return *bytes;
}

// Makes offsets absolute and checks that the file holds every tensor.
Status HeaderReader::place_tensors() {
  const uint64_t data = header_.data_offset;
  const uint64_t available = source_.size() > data ? source_.size() - data : 0;
  for (size_t i = 0; i < header_.tensors.size(); ++i) {
    TensorEntry& tensor = header_.tensors[i];
    if (tensor.offset > available || tensor.bytes > available - tensor.offset) {
      LOBIT_RETURN_IF_ERROR(seek_tensor(i + 1));
      cursor_.set_subject("tensor", tensor.name);
      return cursor_.corrupt(cursor_.position() - sizeof(uint64_t),
                             fmt::format("expected {} bytes at {} of the data, which has {}", tensor.bytes,
                                         tensor.offset, available),
                             {.index = i, .required = tensor.bytes, .available = available});
    }
    tensor.offset += data;
  }
  return {};
}

// Errors that show only later walk the list again to say where the entry or tensor stands.
Status HeaderReader::seek_entry(size_t index) {
  cursor_.seek(entries_at_);
  for (size_t i = 0; i < index; ++i) LOBIT_RETURN_IF_ERROR(read_entry(nullptr));
  cursor_.set_subject({}, {});
  return {};
}

Status HeaderReader::seek_tensor(size_t index) {
  cursor_.seek(tensors_at_);
  data_bytes_ = 0;
  for (size_t i = 0; i < index; ++i) LOBIT_RETURN_IF_ERROR(read_tensor(nullptr));
  cursor_.set_subject({}, {});
  return {};
}

}  // namespace
}  // namespace gguf

Result<GgufHeader> read_gguf(const ByteSource& source) {
  return gguf::HeaderReader(source).read();
}

}  // namespace lobit
