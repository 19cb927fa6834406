// How the GGUF reader moves through a file's header. Not installed; used by one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "lobit/base/result.h"
#include "lobit/io/source.h"

namespace lobit::gguf {

// A position that moves forward through one small buffer. Everything that is read is first held against the
// bytes that remain. The source must outlive it.
class Cursor {
 public:
  explicit Cursor(const ByteSource& source);

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return source_.size() - position_; }
  void seek(uint64_t position) { position_ = position; }

  // What is being read, for messages: ("key", "general.name"). Empty: the header itself.
  void set_subject(std::string_view kind, std::string_view name);

  tl::unexpected<Error> error(ErrorCode code, uint64_t offset, std::string_view text,
                              ErrorDetail detail = {}) const;
  tl::unexpected<Error> corrupt(uint64_t offset, std::string_view text, ErrorDetail detail = {}) const {
    return error(ErrorCode::kCorrupt, offset, text, std::move(detail));
  }

  // kCorrupt when fewer bytes remain, kLimit when they would make the header larger than kGgufMaxHeader.
  Status require(uint64_t bytes, std::string_view what) const;

  template <typename T>
  Result<T> number(std::string_view what) {
    LOBIT_RETURN_IF_ERROR(require(sizeof(T), what));
    LOBIT_TRY(const std::string_view bytes, peek(sizeof(T)));
    T value{};
    std::memcpy(&value, bytes.data(), sizeof value);
    position_ += sizeof value;
    return value;
  }

  // Appends the next bytes to `out`, or passes over them when it is null.
  Status bytes(uint64_t count, std::string_view what, std::string* out);

 private:
  // What the buffer holds from the position on, at least `count` bytes, which the file must have.
  Result<std::string_view> peek(size_t count);

  const ByteSource& source_;
  uint64_t position_ = 0;
  std::vector<std::byte> buffer_;
  uint64_t buffer_start_ = 0;
  size_t buffer_filled_ = 0;
  std::string_view subject_kind_;
  std::string subject_name_;
};

}  // namespace lobit::gguf
