#include "lobit/memory/memory_tag.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>

#include <fmt/format.h>

namespace lobit {
namespace {

struct Name {
  std::array<char, kMaxMemoryTagName> characters{};
  uint8_t size = 0;

  constexpr Name() = default;
  constexpr explicit Name(std::string_view text) : size(static_cast<uint8_t>(text.size())) {
    std::ranges::copy(text, characters.begin());
  }
  std::string_view view() const { return {characters.data(), size}; }
};

constexpr size_t kOurs = 6;

// Names below `count` never change, so that they are read without the lock.
constinit std::array<Name, kMaxMemoryTags> names = {Name("untagged"), Name("weights"), Name("activations"),
                                                    Name("kv_cache"), Name("io"),      Name("scratch")};
constinit std::atomic<size_t> count = kOurs;
constinit std::mutex mutex;

constinit thread_local MemoryTag thread_tag = MemoryTag::kUntagged;

}  // namespace

Result<MemoryTag> memory_tag(std::string_view name) {
  if (!is_memory_tag_name(name)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("memory tag: expected 1 to {} characters a-z, 0-9 and _, found {}",
                            kMaxMemoryTagName, name.size()),
                {.required = kMaxMemoryTagName, .available = name.size()});
  }
  const std::lock_guard lock(mutex);
  const size_t known = count.load(std::memory_order_relaxed);
  for (size_t i = 0; i < known; ++i) {
    if (names[i].view() == name) return static_cast<MemoryTag>(i);
  }
  if (known == kMaxMemoryTags) {
    return fail(ErrorCode::kLimit, fmt::format("memory tag '{}': there are {} already", name, known),
                {.required = known + 1, .available = kMaxMemoryTags});
  }
  names[known] = Name(name);
  count.store(known + 1, std::memory_order_release);
  return static_cast<MemoryTag>(known);
}

std::string_view memory_tag_name(MemoryTag tag) {
  const auto index = static_cast<size_t>(tag);
  return names[index < memory_tag_count() ? index : 0].view();
}

size_t memory_tag_count() {
  return count.load(std::memory_order_acquire);
}

bool is_memory_tag_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxMemoryTagName && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

MemoryTag current_memory_tag() {
  return thread_tag;
}

ScopedMemoryTag::ScopedMemoryTag(MemoryTag tag) : before_(thread_tag) {
  thread_tag = static_cast<size_t>(tag) < memory_tag_count() ? tag : MemoryTag::kUntagged;
}

ScopedMemoryTag::~ScopedMemoryTag() {
  thread_tag = before_;
}

}  // namespace lobit
