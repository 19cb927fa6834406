// The first bytes of a SharedTensor's segment. Numbers are in the machine's own order: a segment does not
// leave it. Not installed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/dtype/value_format.h"
#include "lobit/tensor/shape.h"

namespace lobit::detail {

inline constexpr std::string_view kSharedTensorMagic = "lobitTSR";
inline constexpr uint32_t kSharedTensorVersion = 1;

struct SharedTensorHeader {
  std::array<char, 8> magic{};
  uint32_t version = 0;
  uint32_t rank = 0;
  std::array<char, 32> format{};  // to_string() of it, zeros behind: numbers of formats differ by version
  std::array<int64_t, Shape::kMaxRank> extents{};  // zeros behind the last
  uint64_t offset = 0;                             // of the values, a multiple of 64
  uint64_t bytes = 0;
};
static_assert(sizeof(SharedTensorHeader) == 128);

// Where the values of a segment's tensor lie.
struct SharedTensorPlace {
  Shape shape;
  ValueFormat format;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

// What the header says, once all of it is true of a segment of these bytes. kCorrupt with the offset of the
// field that is wrong, kUnsupported for another version.
LOBIT_API Result<SharedTensorPlace> read_shared_tensor(std::span<const std::byte> segment);

}  // namespace lobit::detail
