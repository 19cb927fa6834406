// BatchConverter: converts many tensors at once, without an engine. Owns its threads. Any number of callers at
// a time; the threads work for one, the others convert by themselves.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/convert/conversion_config.h"
#include "lobit/convert/conversion_engine.h"
#include "lobit/memory/memory_resource.h"
#include "lobit/tensor/tensor.h"

namespace lobit {

class LOBIT_API BatchConverter {
 public:
  // kInvalidArgument naming the field; kOutOfMemory when the system refuses a thread.
  static Result<BatchConverter> create(const BatchConfig& config);

  // ConversionEngine::batch_convert().
  Result<std::vector<Tensor>> batch_convert(std::span<const Tensor> tensors, FormatChoice to,
                                            MemoryResource& pool, const BatchOptions& options = {}) const;

 private:
  explicit BatchConverter(std::shared_ptr<detail::ConversionContext> context);
  std::shared_ptr<detail::ConversionContext> context_;
};

}  // namespace lobit
