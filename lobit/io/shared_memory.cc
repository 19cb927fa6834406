#include "lobit/io/shared_memory.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "lobit/io/system_error_internal.h"

namespace lobit {
namespace {

constexpr std::string_view kWhere = "shared memory";
constexpr std::string_view kNamePrefix = "lobit:";
constexpr size_t kTokenDigits = 16;
// What the kernel calls the file of a segment: the label it was created with between these two.
constexpr std::string_view kLinkPrefix = "/memfd:lobit-";
constexpr std::string_view kLinkSuffix = " (deleted)";
// Without these the size is not safe from the other holders.
constexpr int kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW;

// Closes a descriptor unless it was released.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int number() const { return number_; }
  int release() { return std::exchange(number_, -1); }

 private:
  int number_;
};

std::optional<std::string> random_token() {
  uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) return std::nullopt;
  return fmt::format("{:016x}", number);
}

bool is_token(std::string_view text) {
  return text.size() == kTokenDigits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// The token of the segment behind a descriptor; nothing when it is anything else.
std::optional<std::string> token_of(int descriptor) {
  std::array<char, 128> link{};
  const ssize_t n = ::readlink(fmt::format("/proc/self/fd/{}", descriptor).c_str(), link.data(), link.size());
  std::string_view text(link.data(), n < 0 ? 0 : static_cast<size_t>(n));
  if (!text.starts_with(kLinkPrefix) || !text.ends_with(kLinkSuffix)) return std::nullopt;
  text.remove_prefix(kLinkPrefix.size());
  text.remove_suffix(kLinkSuffix.size());
  return is_token(text) ? std::optional<std::string>(text) : std::nullopt;
}

// PID:DESCRIPTOR:TOKEN behind the prefix, as name() writes it and in no other spelling.
struct Name {
  int process = 0;
  int descriptor = 0;
  std::string_view token;
};

std::optional<int> take_number(std::string_view& text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view digits = text.substr(0, static_cast<size_t>(end - text.data()));
  text.remove_prefix(digits.size());
  if (error != std::errc() || std::to_string(number) != digits || number < 0 || !text.starts_with(':')) {
    return std::nullopt;
  }
  text.remove_prefix(1);
  return number;
}

std::optional<Name> parse_name(std::string_view text) {
  if (!text.starts_with(kNamePrefix)) return std::nullopt;
  text.remove_prefix(kNamePrefix.size());
  const std::optional<int> process = take_number(text);
  if (!process) return std::nullopt;
  const std::optional<int> descriptor = take_number(text);
  if (!descriptor || !is_token(text)) return std::nullopt;
  return Name{*process, *descriptor, text};
}

// What the caller may not take, and no machine has, is refused before the kernel begins to take pages.
Status check_memory(uint64_t bytes, uint64_t available) {
  struct sysinfo info{};
  if (::sysinfo(&info) != 0) return system_error("cannot read the machine's memory", kWhere, errno);
  const uint64_t most = std::min(available, (uint64_t{info.totalram} + info.totalswap) * info.mem_unit);
  if (bytes <= most) return {};
  return fail(
      ErrorCode::kOutOfMemory,
      fmt::format("{}: expected at most the {} bytes that are available, found {}", kWhere, most, bytes),
      {.required = bytes, .available = most});
}

Status take_pages(int descriptor, uint64_t bytes) {
  int error = 0;
  do {
    error = ::posix_fallocate(descriptor, 0, static_cast<off_t>(bytes));
  } while (error == EINTR);
  if (error == 0) return {};
  return system_error(fmt::format("cannot take {} bytes", bytes), kWhere, error == ENOSPC ? ENOMEM : error);
}

}  // namespace

Result<SharedMemory> SharedMemory::create(uint64_t bytes, uint64_t available, SharedAccess others) {
  if (bytes == 0 || bytes > static_cast<uint64_t>(PTRDIFF_MAX)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: expected a size from 1 to 2^63 - 1 bytes, found {}", kWhere, bytes),
                {.required = bytes});
  }
  LOBIT_RETURN_IF_ERROR(check_memory(bytes, available));
  std::optional<std::string> token = random_token();
  if (!token) return system_error("cannot draw a random number", kWhere, errno);
  const int descriptor = ::memfd_create(("lobit-" + *token).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor < 0) return system_error("cannot create a segment", kWhere, errno);
  SharedMemory segment(descriptor, std::move(*token));
  // The kernel begins with 0777, with which a user who was sent the descriptor for reading could write.
  if (::fchmod(descriptor, 0600) != 0) return system_error("cannot set the permissions", kWhere, errno);
  LOBIT_RETURN_IF_ERROR(take_pages(descriptor, bytes));
  LOBIT_RETURN_IF_ERROR(segment.map(bytes, SharedAccess::kReadWrite));
  // After the mapping, which F_SEAL_FUTURE_WRITE lets stand. F_SEAL_SEAL: nobody else adds seals.
  const int writers = others == SharedAccess::kRead ? F_SEAL_FUTURE_WRITE : 0;
  if (::fcntl(descriptor, F_ADD_SEALS, kSizeSeals | writers | F_SEAL_SEAL) != 0) {
    return system_error("cannot seal the segment", kWhere, errno);
  }
  return segment;
}

Result<SharedMemory> SharedMemory::open(std::string_view name, uint64_t bytes, SharedAccess access) {
  return join(name, bytes, access);
}

Result<SharedMemory> SharedMemory::open(std::string_view name, SharedAccess access) {
  return join(name, std::nullopt, access);
}

Result<SharedMemory> SharedMemory::adopt(int descriptor, uint64_t bytes, SharedAccess access) {
  return join(descriptor, bytes, access);
}

Result<SharedMemory> SharedMemory::adopt(int descriptor, SharedAccess access) {
  return join(descriptor, std::nullopt, access);
}

Result<SharedMemory> SharedMemory::join(std::string_view name, std::optional<uint64_t> bytes,
                                        SharedAccess access) {
  const std::optional<Name> parts = parse_name(name);
  if (!parts) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: expected a name like lobit:4711:5:0123456789abcdef, found {} characters that are "
                    "none",
                    kWhere, name.size()));
  }
  const std::string path = fmt::format("/proc/{}/fd/{}", parts->process, parts->descriptor);
  const int mode = access == SharedAccess::kRead ? O_RDONLY : O_RDWR;
  // O_NONBLOCK: the number may have become a pipe's meanwhile.
  const Descriptor found(::open(path.c_str(), mode | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (found.number() < 0 && errno != ENXIO) return system_error("cannot open the segment", name, errno);
  if (found.number() < 0 || token_of(found.number()) != parts->token) {
    return fail(ErrorCode::kNotFound, fmt::format("{}: its holder has closed the segment", name));
  }
  return join(found.number(), bytes, access);
}

Result<SharedMemory> SharedMemory::join(int descriptor, std::optional<uint64_t> bytes, SharedAccess access) {
  std::optional<std::string> token = token_of(descriptor);
  const int seals = token ? ::fcntl(descriptor, F_GET_SEALS) : -1;
  if (seals < 0 || (seals & kSizeSeals) != kSizeSeals) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{}: expected a segment with a sealed size, found descriptor {} of something else",
                    kWhere, descriptor));
  }
  if (access == SharedAccess::kReadWrite && (seals & (F_SEAL_FUTURE_WRITE | F_SEAL_WRITE)) != 0) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: expected a segment that others may write, found one that is read only", kWhere));
  }
  const int copy = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return system_error("cannot duplicate the descriptor", kWhere, errno);
  SharedMemory segment(copy, std::move(*token));
  LOBIT_RETURN_IF_ERROR(segment.map(bytes, access));
  return segment;
}

Status SharedMemory::map(std::optional<uint64_t> bytes, SharedAccess access) {
  struct stat info{};
  if (::fstat(descriptor_, &info) != 0) return system_error("cannot read the size", kWhere, errno);
  const auto size = static_cast<uint64_t>(info.st_size);
  if (size == 0 || size != bytes.value_or(size)) {
    const uint64_t required = bytes.value_or(1);
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: expected a segment of {} bytes, found one of {}", name(), required, size),
                {.required = required, .available = size});
  }
  const int protection = access == SharedAccess::kRead ? PROT_READ : PROT_READ | PROT_WRITE;
  void* data = ::mmap(nullptr, size, protection, MAP_SHARED, descriptor_, 0);
  if (data == MAP_FAILED) return system_error(fmt::format("cannot map {} bytes", size), kWhere, errno);
  data_ = static_cast<std::byte*>(data);
  size_ = size;
  access_ = access;
  return {};
}

SharedMemory::~SharedMemory() {
  if (data_ != nullptr) ::munmap(data_, size_);
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::string SharedMemory::name() const {
  return fmt::format("{}{}:{}:{}", kNamePrefix, ::getpid(), descriptor_, token_);
}

Result<std::span<std::byte>> SharedMemory::writable_bytes() const {
  if (access_ == SharedAccess::kReadWrite) return std::span(data_, size_);
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("{}: expected a segment opened to be written, found one opened to be read", name()));
}

void SharedMemory::swap(SharedMemory& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(token_, other.token_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(access_, other.access_);
}

}  // namespace lobit
