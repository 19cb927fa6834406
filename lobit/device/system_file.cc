#include "lobit/device/system_file.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace lobit::detail {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

// ENODEV: a control group that was removed while its file was open.
bool means_absent(int error) {
  return error == ENOENT || error == ENOTDIR || error == EACCES || error == EPERM || error == ENODEV;
}

tl::unexpected<Error> io_error(const std::filesystem::path& path, int error) {
  return fail(ErrorCode::kIo,
              fmt::format("{}: cannot read: {}", path.native(), std::generic_category().message(error)));
}

// The beginning of the file, `most_bytes` at most.
Result<std::optional<std::string>> read_beginning(const std::filesystem::path& path, size_t most_bytes) {
  // O_NONBLOCK: opening a pipe without a writer must not wait.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.fd() < 0) {
    if (means_absent(errno)) return std::optional<std::string>();
    return io_error(path, errno);
  }
  struct stat info{};
  if (::fstat(file.fd(), &info) != 0) return io_error(path, errno);
  if (!S_ISREG(info.st_mode)) {
    return fail(ErrorCode::kCorrupt, fmt::format("{}: expected a file, found something else", path.native()));
  }
  std::string text;
  char piece[4096];
  while (text.size() < most_bytes) {
    const ssize_t count = ::read(file.fd(), piece, std::min(sizeof piece, most_bytes - text.size()));
    if (count == 0) break;
    if (count < 0) {
      if (errno == EINTR) continue;
      if (means_absent(errno)) return std::optional<std::string>();
      return io_error(path, errno);
    }
    text.append(piece, static_cast<size_t>(count));
  }
  return std::optional<std::string>(std::move(text));
}

}  // namespace

Result<std::optional<std::string>> read_system_file(const std::filesystem::path& path, size_t max_bytes) {
  LOBIT_TRY(std::optional<std::string> text, read_beginning(path, max_bytes + 1));
  if (text && text->size() > max_bytes) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: expected at most {} bytes, found more", path.native(), max_bytes),
                {.available = max_bytes});
  }
  return text;
}

std::optional<std::string> system_text(const std::filesystem::path& path, size_t most_bytes) {
  auto text = read_beginning(path, most_bytes);
  if (!text || !text->has_value()) return std::nullopt;
  return std::string(trimmed(**text));
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n\v\f";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::optional<uint64_t> parse_decimal(std::string_view text) {
  uint64_t number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<std::string_view> line_value(std::string_view text, std::string_view key) {
  for (const std::string_view line : split(text, '\n')) {
    if (!line.starts_with(key)) continue;
    std::string_view rest = line.substr(key.size());
    const size_t value = rest.find_first_not_of(" \t:");
    if (value == 0) continue;  // a longer key
    return value == std::string_view::npos ? std::string_view() : trimmed(rest.substr(value));
  }
  return std::nullopt;
}

std::filesystem::path under_root(const std::filesystem::path& root, std::string_view path) {
  const size_t first = path.find_first_not_of('/');
  return first == std::string_view::npos ? root : root / path.substr(first);
}

}  // namespace lobit::detail
