// StreamingConverter: converts in chunks, without an engine: tensors into new memory, and files into files
// through bounded buffers. Owns its threads. Any number of callers at a time; the threads work for one, the
// others convert by themselves.
#pragma once

#include <memory>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/convert/chunks.h"
#include "lobit/convert/conversion_config.h"
#include "lobit/convert/file_stream.h"
#include "lobit/memory/memory_resource.h"
#include "lobit/tensor/tensor.h"

namespace lobit {

namespace detail {
struct ConversionContext;
}

class LOBIT_API StreamingConverter {
 public:
  // kInvalidArgument naming the field; kOutOfMemory when the system refuses a thread.
  static Result<StreamingConverter> create(const StreamingConfig& config);

  // Tensors below config.streaming_threshold are converted in one piece: the same bytes, fewer steps.
  Result<Tensor> stream_convert(const Tensor& tensor, FormatChoice to, MemoryResource& pool,
                                const RunControl& control = {}) const;
  Result<FileStreamFacts> stream_convert(const FileValues& from, const FileTarget& to, MemoryResource& pool,
                                         const RunControl& control = {}) const;

 private:
  explicit StreamingConverter(std::shared_ptr<detail::ConversionContext> context);
  std::shared_ptr<detail::ConversionContext> context_;
};

}  // namespace lobit
