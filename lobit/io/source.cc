#include "lobit/io/source.h"

#include <fmt/format.h>

namespace lobit {

MemorySource::MemorySource(std::span<const std::byte> bytes, std::string name)
    : bytes_(bytes), name_(std::move(name)) {}

Status MemorySource::read_at(uint64_t offset, std::span<std::byte> out) const {
  if (offset > bytes_.size() || out.size() > bytes_.size() - offset) {
    return fail(ErrorCode::kIo,
                fmt::format("{}: cannot read {} bytes at {}: it ends at {}", name_, out.size(), offset,
                            bytes_.size()),
                {.offset = offset, .required = out.size(), .available = bytes_.size()});
  }
  if (!out.empty()) std::memcpy(out.data(), bytes_.data() + offset, out.size());
  return {};
}

}  // namespace lobit
