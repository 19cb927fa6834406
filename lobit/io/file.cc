#include "lobit/io/file.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lobit/io/system_error_internal.h"

namespace lobit {
namespace {

constexpr std::string_view kPartialPrefix = ".lobit-partial-";
// One system call never moves more than this; Linux itself stops at 0x7ffff000.
constexpr size_t kMaxTransfer = size_t{1} << 30;

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

Status read_fully(int fd, const std::string& name, uint64_t offset, std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t n = ::pread(fd, out.data(), std::min(out.size(), kMaxTransfer), static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      return system_error(fmt::format("cannot read {} bytes at {}", out.size(), offset), name, errno);
    }
    if (n == 0) {
      return fail(
          ErrorCode::kIo,
          fmt::format("{}: ends at {}, {} bytes before what was to be read", name, offset, out.size()),
          {.offset = offset, .required = out.size(), .available = 0});
    }
    out = out.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

// Removes partial files in `folder` that no living process holds.
void remove_stale_partials(const std::filesystem::path& folder) {
  DIR* dir = ::opendir(folder.c_str());
  if (dir == nullptr) return;
  const int dir_fd = ::dirfd(dir);
  while (const dirent* entry = ::readdir(dir)) {  // NOLINT(concurrency-mt-unsafe): own stream
    if (!std::string_view(entry->d_name).starts_with(kPartialPrefix)) continue;
    // NOLINTNEXTLINE(clang-analyzer-unix.StdCLibraryFunctions): dirfd of an open stream is never -1
    const int fd = ::openat(dir_fd, entry->d_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) continue;
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) ::unlinkat(dir_fd, entry->d_name, 0);
    ::close(fd);
  }
  ::closedir(dir);
}

uint64_t random_number() {
  uint64_t number = 0;
  // Never interrupted for so few bytes; even a number that is always 0 would only make names collide, which
  // is noticed.
  static_cast<void>(::getrandom(&number, sizeof number, 0));
  return number;
}

}  // namespace

Result<File> File::open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a pipe without a writer must not wait.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return system_error("cannot open", path.native(), errno);
  struct stat info{};
  if (::fstat(fd, &info) != 0) {
    const int error = errno;
    ::close(fd);
    return system_error("cannot read its size", path.native(), error);
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    return fail(ErrorCode::kUnsupported, fmt::format("{}: expected a regular file, found a {}", path.native(),
                                                     S_ISDIR(info.st_mode) ? "folder" : "pipe or device"));
  }
  return File(fd, path.native(), static_cast<uint64_t>(info.st_size));
}

File::File(int fd, std::string name, uint64_t size) : fd_(fd), name_(std::move(name)), size_(size) {}
File::File(File&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), name_(std::move(other.name_)), size_(other.size_) {}
File& File::operator=(File&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(name_, other.name_);
  std::swap(size_, other.size_);
  return *this;
}
File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

Status File::read_at(uint64_t offset, std::span<std::byte> out) const {
  return read_fully(fd_, name_, offset, out);
}

void File::prefetch(uint64_t offset, uint64_t bytes) const {
  static_cast<void>(
      ::posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(bytes), POSIX_FADV_WILLNEED));
}

bool File::same_file(const std::filesystem::path& path) const {
  struct stat mine{};
  struct stat other{};
  return ::fstat(fd_, &mine) == 0 && ::stat(path.c_str(), &other) == 0 && mine.st_dev == other.st_dev &&
         mine.st_ino == other.st_ino;
}

Result<OutputFile> OutputFile::create(const std::filesystem::path& target, uint64_t bytes) {
  const std::filesystem::path folder = folder_of(target);
  remove_stale_partials(folder);
  for (;;) {
    const std::string name = (folder / fmt::format("{}{:016x}", kPartialPrefix, random_number())).native();
    const int fd = ::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST) continue;
    if (fd < 0) return system_error("cannot create the output", target.native(), errno);
    OutputFile file(fd, target, name);
    // The lock tells other runs that this one is alive. One of them may hold the file for a moment, or have
    // removed it before it was locked (its link count is then 0); another is made. A file system without
    // locks has no stale files removed either.
    struct stat info{};
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) continue;
    if (::fstat(fd, &info) != 0) return system_error("cannot read its state", target.native(), errno);
    if (info.st_nlink == 0) continue;

    // Reserving the blocks now tells about a full disk before the work; not every file system can.
    if (bytes > 0 && ::fallocate(fd, 0, 0, static_cast<off_t>(bytes)) != 0) {
      if (errno != EOPNOTSUPP && errno != ENOSYS) {
        return system_error(fmt::format("cannot reserve {} bytes", bytes), target.native(), errno);
      }
      if (::ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
        return system_error(fmt::format("cannot set the size to {} bytes", bytes), target.native(), errno);
      }
    }
    return file;
  }
}

OutputFile::OutputFile(int fd, std::filesystem::path target, std::filesystem::path temporary)
    : fd_(fd), target_(std::move(target)), temporary_(std::move(temporary)) {}
OutputFile::OutputFile(OutputFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      target_(std::move(other.target_)),
      temporary_(std::move(other.temporary_)) {}
OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(target_, other.target_);
  std::swap(temporary_, other.temporary_);
  return *this;
}
OutputFile::~OutputFile() {
  discard();
}

void OutputFile::discard() {
  if (fd_ < 0) return;
  ::unlink(temporary_.c_str());
  ::close(std::exchange(fd_, -1));
}

Status OutputFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n =
        ::pwrite(fd_, bytes.data(), std::min(bytes.size(), kMaxTransfer), static_cast<off_t>(offset));
    if (n < 0) {
      if (errno == EINTR) continue;
      return system_error(fmt::format("cannot write {} bytes at {}", bytes.size(), offset), target_.native(),
                          errno);
    }
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

Status OutputFile::read_at(uint64_t offset, std::span<std::byte> out) const {
  return read_fully(fd_, target_.native(), offset, out);
}

Status OutputFile::sync() {
  if (::fsync(fd_) != 0) return system_error("cannot flush to the disk", target_.native(), errno);
  return {};
}

Status OutputFile::commit() {
  // Some file systems tell only when a descriptor is closed that there was no room. The lock stays with ours.
  const int copy = ::dup(fd_);
  if (copy < 0 || ::close(copy) != 0) {
    return system_error("cannot finish the output", target_.native(), errno);
  }
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    return system_error("cannot rename the finished output", target_.native(), errno);
  }
  ::close(std::exchange(fd_, -1));
  return {};
}

Status sync_folder(const std::filesystem::path& folder) {
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return system_error("cannot open the folder", folder.native(), errno);
  const int result = ::fsync(fd);
  const int error = errno;
  ::close(fd);
  if (result != 0) return system_error("cannot flush the folder to the disk", folder.native(), error);
  return {};
}

Status commit_all(std::vector<OutputFile>& files, Durability durability,
                  std::span<const std::filesystem::path> obsolete) {
  if (files.empty()) return {};
  if (durability == Durability::kFsync) {
    for (OutputFile& file : files) LOBIT_RETURN_IF_ERROR(file.sync());
  }
  // An old set loses the file that readers start from before any other file of it is replaced.
  if (files.size() > 1 && ::unlink(files.back().target().c_str()) != 0 && errno != ENOENT) {
    return system_error("cannot replace the old output", files.back().target().native(), errno);
  }
  for (const std::filesystem::path& path : obsolete) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
      return system_error("cannot remove the old output", path.native(), errno);
    }
  }
  for (size_t i = 0; i < files.size(); ++i) {
    if (Status status = files[i].commit(); !status) {
      for (size_t done = 0; done < i; ++done) ::unlink(files[done].target().c_str());
      return status;
    }
  }
  if (durability == Durability::kFsync) LOBIT_RETURN_IF_ERROR(sync_folder(folder_of(files.back().target())));
  return {};
}

Status write_file(const std::filesystem::path& target, std::span<const std::byte> bytes,
                  Durability durability) {
  std::vector<OutputFile> files;
  LOBIT_TRY(OutputFile file, OutputFile::create(target, 0));
  LOBIT_RETURN_IF_ERROR(file.write_at(0, bytes));
  files.push_back(std::move(file));
  return commit_all(files, durability);
}

Result<std::string> read_file(const std::filesystem::path& path, uint64_t max_bytes) {
  LOBIT_TRY(const File file, File::open(path));
  if (file.size() > max_bytes) {
    return fail(ErrorCode::kLimit,
                fmt::format("{}: expected at most {} bytes, found {}", path.native(), max_bytes, file.size()),
                {.required = file.size(), .available = max_bytes});
  }
  std::string text(file.size(), '\0');
  LOBIT_RETURN_IF_ERROR(file.read_at(0, std::as_writable_bytes(std::span(text))));
  return text;
}

}  // namespace lobit
