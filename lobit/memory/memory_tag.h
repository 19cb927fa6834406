// MemoryTag: what memory is for. A thread has one tag at a time, which resources that track or log write
// beside what is allocated; everything else ignores it. A plain value; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lobit/base/export.h"
#include "lobit/base/result.h"

namespace lobit {

// The values behind kScratch are the user's own: memory_tag() makes them.
enum class MemoryTag : uint8_t { kUntagged, kWeights, kActivations, kKvCache, kIo, kScratch };

// Of one process, the six above included.
inline constexpr size_t kMaxMemoryTags = 32;
inline constexpr size_t kMaxMemoryTagName = 31;  // characters

// The tag of this name: "untagged", "weights", "activations", "kv_cache", "io", "scratch", or one of the
// user's own, which is made when it is asked for first and stays. kInvalidArgument for a name that is not of
// 1 to kMaxMemoryTagName characters a-z, 0-9 and _; kLimit when there are kMaxMemoryTags already.
LOBIT_API Result<MemoryTag> memory_tag(std::string_view name);

// Its name, which stays valid; that of kUntagged for a value that no tag has.
LOBIT_API std::string_view memory_tag_name(MemoryTag tag);

// Tags so far; their values are below it.
LOBIT_API size_t memory_tag_count();

// Whether a name may be one of a tag.
LOBIT_API bool is_memory_tag_name(std::string_view name);

// The calling thread's.
LOBIT_API MemoryTag current_memory_tag();

// What the calling thread allocates from here to the end of the scope has this tag, or is untagged when no
// tag has that value. Scopes nest.
class LOBIT_API ScopedMemoryTag {
 public:
  explicit ScopedMemoryTag(MemoryTag tag);
  ~ScopedMemoryTag();
  ScopedMemoryTag(const ScopedMemoryTag&) = delete;
  ScopedMemoryTag& operator=(const ScopedMemoryTag&) = delete;

 private:
  MemoryTag before_;
};

}  // namespace lobit
