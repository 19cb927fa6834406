// The small text files in which the kernel tells about itself: procfs, sysfs and control groups. Internal to
// device. Functions without state, for any thread; nothing in such a file can make them block or take more
// than the bytes they are told.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lobit/base/result.h"

namespace lobit::detail {

inline constexpr size_t kMaxSystemFile = size_t{4} << 20;

// The file's text; empty when it is absent, or not ours to read. kCorrupt when it is no regular file or
// larger than `max_bytes`, kIo when the system fails to read it.
Result<std::optional<std::string>> read_system_file(const std::filesystem::path& path,
                                                    size_t max_bytes = kMaxSystemFile);

// For what is nice to know: the first `most_bytes` at most, without the blanks around them; empty for any
// reason why there is none.
std::optional<std::string> system_text(const std::filesystem::path& path, size_t most_bytes = kMaxSystemFile);

// `text` without white space at both ends.
std::string_view trimmed(std::string_view text);

std::vector<std::string_view> split(std::string_view text, char separator);

// All of `text` as an unsigned decimal number.
std::optional<uint64_t> parse_decimal(std::string_view text);

// In a text of lines of a key, blanks or a colon or both, and a value (memory.stat, meminfo): the value
// behind the first `key`, trimmed, which may be empty. Nothing when no line has the key.
std::optional<std::string_view> line_value(std::string_view text, std::string_view key);

// A path of the running system below another root.
std::filesystem::path under_root(const std::filesystem::path& root, std::string_view path);

}  // namespace lobit::detail
