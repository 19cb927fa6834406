// How the engine and the streaming converter stream files. Not installed.
#pragma once

#include <cstdint>

#include "lobit/base/result.h"
#include "lobit/convert/chunks.h"
#include "lobit/convert/file_stream.h"
#include "lobit/convert/memory_account.h"
#include "lobit/convert/overflow_rule.h"
#include "lobit/memory/memory_resource.h"
#include "lobit/quant/quantize_method.h"

namespace lobit {

struct FileStreamSpec {
  QuantizeMethod method = QuantizeMethod::kDirect;
  OverflowRule overflow = OverflowRule::kRefuse;
  uint64_t chunk_bytes = 0;   // of the source
  uint64_t buffer_bytes = 0;  // of all workers together; chunks shrink to fit
  ChunkWorkers workers = {};
  RunControl control = {};
  MemoryResource* memory = nullptr;
  MemoryAccount* account = nullptr;
};
Result<FileStreamFacts> stream_file(const FileValues& from, const FileTarget& to, const FileStreamSpec& spec);

}  // namespace lobit
