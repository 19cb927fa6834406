#include "lobit/tensor/weak_tensor.h"

#include <utility>

namespace lobit {

WeakTensor::WeakTensor(const Tensor& tensor) : description_(tensor), storage_(tensor.storage_) {
  description_.storage_ = {};
}

std::optional<Tensor> WeakTensor::lock() const {
  detail::StorageRef storage = storage_.lock();
  if (storage.empty()) return std::nullopt;
  Tensor tensor = description_;
  tensor.storage_ = std::move(storage);
  return tensor;
}

}  // namespace lobit
