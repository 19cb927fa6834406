// WeakTensor: knows a tensor without keeping it. The values that it knows are gone when the last tensor that
// holds them has gone, and when they are overwritten in place; a tensor that is copied before it is written
// to leaves them to its sharers, and the reference with them.
//
// Threads as with Tensor: different objects at once, one object by one thread at a time.
#pragma once

#include <optional>

#include "lobit/base/export.h"
#include "lobit/tensor/tensor.h"

namespace lobit {

class LOBIT_API WeakTensor {
 public:
  // Knows nothing.
  WeakTensor() = default;
  explicit WeakTensor(const Tensor& tensor);

  // A copy of the tensor as it was, or nothing when its values are gone.
  std::optional<Tensor> lock() const;
  bool expired() const { return storage_.expired(); }

 private:
  Tensor description_;  // without a block
  detail::WeakStorageRef storage_;
};

}  // namespace lobit
