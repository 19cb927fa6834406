// What a model file says of one tensor, without its values.
#pragma once

#include <cstdint>
#include <string>

#include "lobit/dtype/encoding.h"
#include "lobit/tensor/shape.h"

namespace lobit {

// A tensor to be written: what a format needs for its header.
struct TensorSpec {
  std::string name;
  Shape shape;  // outermost dimension first
  Encoding encoding = Encoding::kF32;
};

// A tensor that lies in a file.
struct TensorEntry {
  std::string name;
  Shape shape;
  Encoding encoding = Encoding::kF32;
  uint32_t part = 0;    // which file of the model
  uint64_t offset = 0;  // of its first byte, from the start of that file
  uint64_t bytes = 0;
};

}  // namespace lobit
