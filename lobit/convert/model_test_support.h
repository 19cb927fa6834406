// For tests alone (not installed): small models on the disk, and what is in a file or folder.
#pragma once

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "lobit/base/check.h"
#include "lobit/dtype/reference.h"
#include "lobit/format/gguf.h"
#include "lobit/format/model.h"
#include "lobit/format/safetensors.h"
#include "lobit/io/file.h"

namespace lobit {

// Weights in (-1/16, 1/16) without pattern, from a small generator of our own.
inline std::vector<float> test_weights(size_t n, uint32_t seed = 12345) {
  std::vector<float> values(n);
  uint32_t state = seed;
  for (float& v : values) {
    state = state * 1664525u + 1013904223u;
    v = static_cast<float>(static_cast<int32_t>(state)) * 0x1p-35f;
  }
  return values;
}

inline std::vector<std::byte> test_encoded(Encoding to, const std::vector<float>& values) {
  std::vector<std::byte> bytes(encoded_bytes(to, values.size()).value());
  if (to == Encoding::kF32) {
    std::ranges::copy(std::as_bytes(std::span(values)), bytes.begin());
  } else {
    reference::encode(to, values.data(), bytes.data(), values.size());
  }
  return bytes;
}

inline std::vector<float> test_decoded(Encoding from, std::span<const std::byte> bytes) {
  const EncodingTraits& t = traits(from);
  std::vector<float> values(bytes.size() / t.block_bytes * t.block_elements);
  if (from == Encoding::kF32) {
    std::ranges::copy(bytes, std::as_writable_bytes(std::span(values)).begin());
  } else {
    reference::decode(from, bytes.data(), values.data(), values.size());
  }
  return values;
}

struct TestTensor {
  std::string name;
  std::vector<int64_t> extents;
  Encoding encoding = Encoding::kF32;
  std::vector<std::byte> bytes = {};  // of the whole tensor; empty: made up

  TensorSpec spec() const { return {name, Shape::create(extents).value(), encoding}; }
};

inline TestTensor floats(std::string name, std::vector<int64_t> extents, const std::vector<float>& values) {
  return {std::move(name), std::move(extents), Encoding::kF32, test_encoded(Encoding::kF32, values)};
}

// Writes `tensors` to `path` (a .gguf or .safetensors file) and opens it.
inline Model write_model(const std::filesystem::path& path, std::vector<TestTensor> tensors,
                         const Metadata& metadata = {}) {
  std::vector<TensorSpec> specs;
  for (const TestTensor& tensor : tensors) specs.push_back(tensor.spec());
  const FileLayout layout = path.extension() == ".gguf" ? layout_gguf(metadata, specs).value()
                                                        : layout_safetensors(metadata, specs).value();
  std::string file = layout.header;
  file.resize(layout.file_bytes);
  for (size_t i = 0; i < tensors.size(); ++i) {
    std::vector<std::byte>& bytes = tensors[i].bytes;
    const uint64_t elements = specs[i].shape.elements();
    if (bytes.empty() && traits(specs[i].encoding).can_encode) {
      bytes = test_encoded(specs[i].encoding, test_weights(elements, static_cast<uint32_t>(i + 1)));
    } else if (bytes.empty()) {
      bytes.resize(encoded_bytes(specs[i].encoding, elements).value(), std::byte{17});
    }
    std::ranges::copy(bytes, reinterpret_cast<std::byte*>(file.data()) + layout.offsets[i]);
  }
  LOBIT_CHECK(write_file(path, std::as_bytes(std::span(file))).has_value());
  return open_model(path).value();
}

inline std::string file_text(const std::filesystem::path& path) {
  return read_file(path, uint64_t{1} << 30).value();
}

// The names in a folder, sorted.
inline std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().native());
  }
  std::ranges::sort(names);
  return names;
}

inline std::vector<std::byte> tensor_bytes(const Model& model, std::string_view name) {
  const TensorEntry* const tensor = model.find(name);
  if (tensor == nullptr) return {};
  std::vector<std::byte> bytes(tensor->bytes);
  LOBIT_CHECK(model.parts[tensor->part].file.read_at(tensor->offset, bytes).has_value());
  return bytes;
}

inline std::vector<float> tensor_values(const Model& model, std::string_view name) {
  const TensorEntry* const tensor = model.find(name);
  return tensor == nullptr ? std::vector<float>{} : test_decoded(tensor->encoding, tensor_bytes(model, name));
}

}  // namespace lobit
