#include "bench/trace/trace_file.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace lobit::bench {
namespace {

constexpr std::string_view kHeader =
    "lobit_trace_2,thread,time_ns,block,bytes,alignment,stream,tag,address,stack";

// The text of a file, mapped; empty when it cannot be read.
class MappedText {
 public:
  explicit MappedText(const std::string& path) {
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status{};
    if (file >= 0 && fstat(file, &status) == 0 && status.st_size > 0) {
      size_ = static_cast<size_t>(status.st_size);
      data_ = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
    }
    if (file >= 0) close(file);
  }
  MappedText(const MappedText&) = delete;
  MappedText& operator=(const MappedText&) = delete;
  ~MappedText() {
    if (data_ != MAP_FAILED) munmap(data_, size_);
  }

  std::string_view text() const {
    return data_ == MAP_FAILED ? std::string_view()
                               : std::string_view(static_cast<const char*>(data_), size_);
  }

 private:
  void* data_ = MAP_FAILED;
  size_t size_ = 0;
};

std::string_view take_until(std::string_view& text, char end) {
  const size_t length = std::min(text.find(end), text.size());
  const std::string_view part = text.substr(0, length);
  text.remove_prefix(std::min(length + 1, text.size()));
  return part;
}

bool parse_number(std::string_view text, uint64_t& number) {
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && rest == end;
}

// Turns lines into events. Identifiers of blocks rise, so a list of them is sorted.
class Reader {
 public:
  bool add_line(std::string_view line) {
    if (line.starts_with('#')) return true;  // a fact about the program
    const std::string_view op = take_until(line, ',');
    std::array<uint64_t, 6> fields;  // thread, time, block, bytes, alignment, stream
    for (uint64_t& field : fields) {
      if (!parse_number(take_until(line, ','), field)) return false;
    }
    const uint64_t block = fields[2];
    const uint64_t bytes = fields[3];
    if (op == "allocate") {
      if (bytes == 0 || (!slots_.empty() && slots_.back().first >= block)) return false;
      slots_.emplace_back(block, builder_.allocate(bytes));
      return true;
    }
    return op == "free" ? free(block) : op == "refuse" || op == "trim" || op == "usage";
  }

  BlockTrace finish() && { return std::move(builder_).finish(); }

 private:
  bool free(uint64_t block) {
    constexpr uint32_t kFreed = UINT32_MAX;
    const auto found = std::ranges::lower_bound(slots_, block, {}, &std::pair<uint64_t, uint32_t>::first);
    if (found == slots_.end() || found->first != block || found->second == kFreed) return false;
    builder_.free(std::exchange(found->second, kFreed));
    return true;
  }

  BlockTraceBuilder builder_;
  MappedVector<std::pair<uint64_t, uint32_t>> slots_;
};

}  // namespace

std::optional<BlockTrace> read_trace_file(const std::string& path) {
  const MappedText file(path);
  std::string_view text = file.text();
  if (take_until(text, '\n') != kHeader) {
    std::fprintf(stderr, "%s: expected the line %s\n", path.c_str(), kHeader.data());
    return std::nullopt;
  }
  Reader reader;
  for (size_t line = 2; !text.empty(); ++line) {
    if (!reader.add_line(take_until(text, '\n'))) {
      std::fprintf(stderr, "%s: line %zu is no event of a trace\n", path.c_str(), line);
      return std::nullopt;
    }
  }
  return std::move(reader).finish();
}

bool write_trace_file(const BlockTrace& trace, const std::string& path) {
  std::FILE* const file = std::fopen(path.c_str(), "w");
  if (file == nullptr) {
    std::perror(path.c_str());
    return false;
  }
  std::fprintf(file, "%s\n", kHeader.data());
  MappedVector<uint64_t> block_of_slot(trace.slots);
  uint64_t blocks = 0;
  for (size_t i = 0; i < trace.events.size(); ++i) {
    const BlockEvent& event = trace.events[i];
    const bool allocates = event.op == BlockOp::kAllocate;
    if (allocates) block_of_slot[event.slot] = ++blocks;
    std::fprintf(file, "%s,0,%zu,%llu,%llu,64,0,untagged,0,0\n", allocates ? "allocate" : "free", i,
                 static_cast<unsigned long long>(block_of_slot[event.slot]),
                 static_cast<unsigned long long>(event.bytes));
  }
  const bool written = std::ferror(file) == 0;
  if (std::fclose(file) == 0 && written) return true;
  std::perror(path.c_str());
  return false;
}

}  // namespace lobit::bench
