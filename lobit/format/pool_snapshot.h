// A pool and the tensors in it as a file, and back into a new pool. The file is a .safetensors of the
// tensors, which every program that knows the format can read, with checksums, and with the pool's options
// and usage as JSON under "lobit.pool" in __metadata__:
//
//   {"version":1,"tensors":2,
//    "options":{"small_initial":0,"small_max":18446744073709551615,"large_initial":0,
//               "large_max":18446744073709551615,"small_block_threshold":1048576,
//               "limit":18446744073709551615,"huge_pages":1,"idle_trim_ms":400},
//    "usage":{"allocated":12,"used":64,"committed":4096,"peak_allocated":12,"peak_committed":4096,
//             "allocations":1,"deallocations":0}}
//
// Its XXH3 checksum is beside it under "lobit.pool.xxh3". A file in which a byte of this or of a tensor is
// not what was saved is an error and no pool.
//
// Functions without state; safe from any thread while nobody writes to the tensors.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/io/file.h"
#include "lobit/memory/hybrid_memory_pool.h"
#include "lobit/memory/memory_resource.h"
#include "lobit/tensor/tensor.h"

namespace lobit {

// Writes the pool's options and usage, and these tensors, whose copies come from it. kInvalidArgument for a
// tensor of another resource; the errors of save_tensors, so no two of them have one name.
LOBIT_API Status save_pool(const std::filesystem::path& target, const HybridMemoryPool& pool,
                           std::span<const Tensor> tensors, Durability durability = Durability::kNone);

// A pool that was restored; its tensors end before it does.
struct RestoredPool {
  std::unique_ptr<HybridMemoryPool> pool = nullptr;
  // Views have become tensors of their own. In the order in which they lie in the file.
  std::vector<Tensor> tensors = {};
  MemoryUsage usage_when_saved = {};

  RestoredPool() = default;
  RestoredPool(RestoredPool&&) noexcept = default;
  // Not assigned: the old pool would go before its tensors.
  RestoredPool& operator=(RestoredPool&&) = delete;
  ~RestoredPool() = default;
};

// A new pool with the options and tensors of the file. kCorrupt for a file that was damaged or is none of
// save_pool's, kUnsupported for one of a later version, kLimit for a pool that begins with more memory than
// there is; the errors of HybridMemoryPool::create and of the new pool, whose limit is the old one's. Nothing
// is left of a pool that cannot be restored whole.
LOBIT_API Result<RestoredPool> restore_pool(const std::filesystem::path& path);

}  // namespace lobit
