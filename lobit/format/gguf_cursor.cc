#include "lobit/format/gguf_cursor.h"

#include <algorithm>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/utf8.h"
#include "lobit/format/gguf.h"

namespace lobit::gguf {
namespace {

constexpr size_t kBufferBytes = size_t{64} << 10;

}  // namespace

Cursor::Cursor(const ByteSource& source) : source_(source), buffer_(kBufferBytes) {}

void Cursor::set_subject(std::string_view kind, std::string_view name) {
  subject_kind_ = kind;
  subject_name_ = name;
}

tl::unexpected<Error> Cursor::error(ErrorCode code, uint64_t offset, std::string_view text,
                                    ErrorDetail detail) const {
  detail.offset = offset;
  std::string subject;
  if (!subject_kind_.empty()) subject = fmt::format("{} {}: ", subject_kind_, quoted(subject_name_));
  return fail(code, fmt::format("{}: byte {}: {}{}", source_.name(), offset, subject, text),
              std::move(detail));
}

Status Cursor::require(uint64_t bytes, std::string_view what) const {
  if (bytes > remaining()) {
    return corrupt(
        position_,
        fmt::format("expected {} of {} bytes, found {} to the end of the file", what, bytes, remaining()),
        {.required = bytes, .available = remaining()});
  }
  if (position_ > kGgufMaxHeader || bytes > kGgufMaxHeader - position_) {
    return error(ErrorCode::kLimit, position_,
                 fmt::format("{} of {} bytes: expected a header of at most {}", what, bytes, kGgufMaxHeader),
                 {.required = bytes, .available = kGgufMaxHeader});
  }
  return {};
}

Status Cursor::bytes(uint64_t count, std::string_view what, std::string* out) {
  LOBIT_RETURN_IF_ERROR(require(count, what));
  if (out == nullptr) {
    position_ += count;
    return {};
  }
  while (count > 0) {
    LOBIT_TRY(std::string_view piece, peek(1));
    piece = piece.substr(0, std::min<uint64_t>(piece.size(), count));
    out->append(piece);
    position_ += piece.size();
    count -= piece.size();
  }
  return {};
}

Result<std::string_view> Cursor::peek(size_t count) {
  if (position_ < buffer_start_ || position_ + count > buffer_start_ + buffer_filled_) {
    const auto fill = static_cast<size_t>(std::min<uint64_t>(buffer_.size(), remaining()));
    buffer_filled_ = 0;
    LOBIT_RETURN_IF_ERROR(source_.read_at(position_, std::span(buffer_).first(fill)));
    buffer_start_ = position_;
    buffer_filled_ = fill;
  }
  const size_t start = position_ - buffer_start_;
  return std::string_view(reinterpret_cast<const char*>(buffer_.data()) + start, buffer_filled_ - start);
}

}  // namespace lobit::gguf
