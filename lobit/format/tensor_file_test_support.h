// For tests alone (not installed): what the tests of tensor_file.h and pool_snapshot.h share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lobit/base/test_support.h"
#include "lobit/io/file.h"
#include "lobit/tensor/tensor.h"
#include "lobit/tensor/tensor_test_support.h"

namespace lobit {

inline std::vector<std::byte> bytes_of(const Tensor& tensor) {
  if (tensor.elements() == 0) return {};
  SystemResource memory;
  const Tensor whole = tensor.contiguous(memory).value();
  const std::span<const std::byte> bytes = *whole.bytes();
  return {bytes.begin(), bytes.end()};
}

// Values of any bits: what is stored is not looked at.
inline Tensor any_tensor(const std::string& name, const Shape& shape, ValueFormat format,
                         MemoryResource& memory) {
  Tensor tensor = Tensor::empty(shape, format, memory).value();
  uint64_t state = 0x9E3779B97F4A7C15 + shape.elements();
  const std::span<std::byte> bytes = *tensor.mutable_bytes();
  for (std::byte& b : bytes) {
    state = state * 6364136223846793005 + 1442695040888963407;
    b = static_cast<std::byte>(state >> 56);
  }
  tensor.set_name(name);
  return tensor;
}

inline void expect_same(const Tensor& found, const Tensor& expected) {
  EXPECT_EQ(found.name(), expected.name());
  EXPECT_TRUE(std::ranges::equal(found.tags(), expected.tags())) << expected.name();
  EXPECT_EQ(found.shape(), expected.shape()) << expected.name();
  EXPECT_EQ(to_string(found.format()), to_string(expected.format())) << expected.name();
  EXPECT_EQ(bytes_of(found), bytes_of(expected)) << expected.name();
}

inline const Tensor* find_tensor(const std::vector<Tensor>& tensors, const std::string& name) {
  const auto found = std::ranges::find(tensors, name, [](const Tensor& t) { return t.name(); });
  return found == tensors.end() ? nullptr : &*found;
}

inline size_t files_in(const std::filesystem::path& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

inline std::string content_of(const std::filesystem::path& path) {
  return read_file(path, uint64_t{1} << 30).value();
}

inline void overwrite(const std::filesystem::path& path, std::string_view content) {
  EXPECT_THAT(write_file(path, std::as_bytes(std::span(content))), is_ok());
}

}  // namespace lobit
