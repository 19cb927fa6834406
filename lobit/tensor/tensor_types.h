// Plain values that Tensor gives out. Any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/device/device.h"
#include "lobit/dtype/value_format.h"
#include "lobit/tensor/shape.h"

namespace lobit {

// What is known of a tensor, as it was at one moment.
struct TensorMetadata {
  uint64_t id = 0;
  std::string name;
  std::vector<std::string> tags;
  Shape shape;
  std::vector<int64_t> strides;  // in elements
  ValueFormat format;
  std::optional<DType> dtype;
  Device device;
  uint64_t bytes = 0;  // Tensor::size_bytes()
  std::chrono::system_clock::time_point created;
  // When bytes of the block were last asked for, through any tensor that shares it.
  std::chrono::system_clock::time_point last_access;
  size_t owners = 0;  // tensors that share the block, this one included
};

// Says whether two tensors are sure to have the same values: the same bytes of the same block, not written to
// in between. Equal keys mean equal values for the life of the process; unequal ones mean nothing.
struct ContentKey {
  uint64_t storage = 0;  // number of the block, never used again
  uint64_t version = 0;  // rises whenever bytes of the block may change
  uint64_t offset = 0;
  uint64_t layout = 0;  // shape, strides and format

  friend bool operator==(const ContentKey&, const ContentKey&) = default;
};

namespace detail {

// What Tensor::values<T>() takes T for.
enum class NumberKind : uint8_t { kF32, kF64, kBits16, kI8, kI16, kI32, kI64, kU8, kU32, kU64 };

// The types in the order of NumberKind.
template <typename... Numbers>
struct NumberList {
  template <typename T>
  static constexpr NumberKind kind_of() {
    static_assert((std::is_same_v<T, Numbers> || ...), "no tensor holds numbers of this type");
    constexpr bool kIsIt[] = {std::is_same_v<T, Numbers>...};
    uint8_t place = 0;
    while (!kIsIt[place]) ++place;
    return static_cast<NumberKind>(place);
  }
};
using AllNumbers =
    NumberList<float, double, uint16_t, int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t>;

template <typename T>
inline constexpr NumberKind kNumberKind = AllNumbers::kind_of<T>();

}  // namespace detail
}  // namespace lobit
