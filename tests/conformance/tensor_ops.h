// Operations that tensor_tool offers to the Python tests under their names.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "lobit/base/result.h"
#include "lobit/ops/op_context.h"
#include "lobit/tensor/tensor.h"

namespace lobit {

struct TensorOp {
  using Run = std::function<Result<Tensor>(
      std::span<const Tensor> operands, const std::vector<std::string>& arguments, const OpContext& context)>;

  size_t operands = 0;   // tensors, the last on top of the stack
  size_t arguments = 0;  // words behind the name
  Run run;
};

const std::map<std::string, TensorOp>& tensor_ops();

}  // namespace lobit
