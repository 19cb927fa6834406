// ByteSource: bytes that can be read at any position: a file, or a span in memory. Format readers take one,
// so the same code reads files, tests' byte strings and the fuzzers' input. Reading is safe from several
// threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "lobit/base/export.h"
#include "lobit/base/result.h"

namespace lobit {

class LOBIT_API ByteSource {
 public:
  virtual ~ByteSource() = default;
  // In messages: a path, or what the bytes are.
  virtual const std::string& name() const = 0;
  virtual uint64_t size() const = 0;
  // Fills `out` from `offset`. kIo when the range does not lie inside, or the system refuses.
  virtual Status read_at(uint64_t offset, std::span<std::byte> out) const = 0;
};

// Borrows `bytes`, which must outlive it.
class LOBIT_API MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::span<const std::byte> bytes, std::string name = "memory");
  const std::string& name() const override { return name_; }
  uint64_t size() const override { return bytes_.size(); }
  Status read_at(uint64_t offset, std::span<std::byte> out) const override;

 private:
  std::span<const std::byte> bytes_;
  std::string name_;
};

}  // namespace lobit
