// StaticArenaResource: TinyAI's strategy "static". One arena in units of 64 bytes that never grows; all else
// is told at ArenaResource.
#pragma once

#include <memory>

#include "lobit/memory/arena_resource.h"

namespace lobit {

class LOBIT_API StaticArenaResource final : public ArenaResource {
 public:
  // `capacity` is rounded down to a multiple of 64 and may be anything up to 64 GiB; kInvalidArgument
  // otherwise, or the error of the resource below.
  static Result<std::unique_ptr<StaticArenaResource>> create(size_t capacity, MemoryResource& upstream);

 private:
  using ArenaResource::ArenaResource;
};

}  // namespace lobit
