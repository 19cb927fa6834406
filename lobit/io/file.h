// Files by descriptor. File reads with pread and writes with pwrite, so any number of threads may use one
// File. OutputFile is a file that appears under its name only when it is complete. TemporaryName says how
// unfinished output is called, so that the next run can clear what a killed one left.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/io/source.h"

namespace lobit {

class LOBIT_API File final : public ByteSource {
 public:
  // Opens a regular file for reading. kNotFound, kIo; kUnsupported for a directory, pipe or device (which
  // would block or have no size).
  static Result<File> open(const std::filesystem::path& path);

  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File() override;

  const std::string& name() const override { return name_; }
  // The size when it was opened. A file that is cut short later gives kIo from read_at.
  uint64_t size() const override { return size_; }
  Status read_at(uint64_t offset, std::span<std::byte> out) const override;

  // Asks the system to have a range in its cache soon; returns at once.
  void prefetch(uint64_t offset, uint64_t bytes) const;

  // Device and inode: equal for two names of one file.
  bool same_file(const std::filesystem::path& path) const;

 private:
  friend class MappedFile;
  friend class OutputFile;
  File(int fd, std::string name, uint64_t size);
  int fd_ = -1;
  std::string name_;
  uint64_t size_ = 0;
};

enum class Durability : uint8_t {
  kNone,   // survives the end of the program, not a power cut
  kFsync,  // file and folder reach the disk before commit() returns
};

// A file being written under a temporary name in the target's folder. Threads may write disjoint ranges at
// the same time. Destroyed before commit(), it removes what it wrote; the target is the old file or absent.
class LOBIT_API OutputFile {
 public:
  // Creates the temporary file and removes those that dead processes left for the same target. kNotFound when
  // the folder does not exist, kIo when the system refuses. The file is created with `bytes` as its final
  // size.
  static Result<OutputFile> create(const std::filesystem::path& target, uint64_t bytes);

  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;
  ~OutputFile();

  Status write_at(uint64_t offset, std::span<const std::byte> bytes);
  // Reads back what was written.
  Status read_at(uint64_t offset, std::span<std::byte> out) const;

  // Flushes to the disk; needed before commit() when the file must survive a power cut.
  Status sync();
  // Renames to the target. The object is then empty.
  Status commit();

  const std::filesystem::path& target() const { return target_; }

 private:
  OutputFile(int fd, std::filesystem::path target, std::filesystem::path temporary);
  void discard();
  int fd_ = -1;
  std::filesystem::path target_;
  std::filesystem::path temporary_;
};

// Flushes a folder's entries, so that a rename survives a power cut.
LOBIT_API Status sync_folder(const std::filesystem::path& folder);

// Commits a set of files so that a reader who starts from the last of them never sees a half-written set:
// syncs each (with kFsync), removes `obsolete` files of the set that is replaced, then renames in order. When
// one rename fails the earlier targets are removed.
LOBIT_API Status commit_all(std::vector<OutputFile>& files, Durability durability,
                            std::span<const std::filesystem::path> obsolete = {});

// Writes a small file whole: temporary name, then rename.
LOBIT_API Status write_file(const std::filesystem::path& target, std::span<const std::byte> bytes,
                            Durability durability = Durability::kNone);

// Reads a small file whole. kLimit when it is larger than `max_bytes`.
LOBIT_API Result<std::string> read_file(const std::filesystem::path& path, uint64_t max_bytes);

}  // namespace lobit
