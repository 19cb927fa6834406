#include "lobit/cli/command.h"

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lobit/base/bytes.h"
#include "lobit/device/backend.h"
#include "lobit/report/text.h"

namespace lobit::cli {
namespace {

// Edits (insert, delete, replace) between two words.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replace = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, replace});
    }
  }
  return row[b.size()];
}

int exit_code(ErrorCode code) {
  if (code == ErrorCode::kInvalidArgument) return kUsage;
  return code == ErrorCode::kLimit ? kOverLimit : kFailed;
}

nlohmann::ordered_json error_json(const Error& error) {
  nlohmann::ordered_json detail = nlohmann::ordered_json::object();
  if (error.detail.offset) detail["offset"] = *error.detail.offset;
  if (error.detail.index) detail["index"] = *error.detail.index;
  if (error.detail.required) detail["required"] = *error.detail.required;
  if (error.detail.available) detail["available"] = *error.detail.available;
  if (!error.detail.from.empty()) detail["from"] = error.detail.from;
  if (!error.detail.to.empty()) detail["to"] = error.detail.to;
  return {{"schema", "lobit.error.v1"},
          {"error", {{"code", error_code_name(error.code)}, {"message", error.message}, {"detail", detail}}}};
}

}  // namespace

Result<uint64_t> memory_argument(const std::string& text) {
  if (text.empty()) return 0;
  uint64_t whole = 0;
  if (text.ends_with('%')) {
    LOBIT_TRY(Backend* const cpu, backend({}));
    LOBIT_TRY(const DeviceMemory memory, cpu->memory());
    whole = memory.total;
  }
  LOBIT_TRY(const uint64_t bytes, parse_bytes(text, whole));
  if (bytes == 0) return fail(ErrorCode::kInvalidArgument, "memory limit: expected more than 0 bytes");
  return bytes;
}

Status check_replaceable(const std::string& path, std::string_view what,
                         std::initializer_list<std::string_view> starts) {
  namespace fs = std::filesystem;
  if (path.empty()) return {};
  const fs::path file(path);
  std::error_code ignored;
  if (file.has_parent_path() && !fs::is_directory(file.parent_path(), ignored)) {
    return fail(ErrorCode::kNotFound, fmt::format("{} '{}': its folder does not exist", what, path));
  }
  if (!fs::exists(fs::symlink_status(file, ignored))) return {};
  std::string start(32, ' ');
  if (fs::is_regular_file(file, ignored)) std::ifstream(file).read(start.data(), 32);
  if (std::ranges::any_of(starts, [&](std::string_view known) { return start.starts_with(known); }))
    return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{} '{}': exists and is not one, so it is not replaced", what, path));
}

Status check_distinct(const std::vector<NamedTarget>& targets) {
  namespace fs = std::filesystem;
  std::map<fs::path, std::string_view> options;
  for (const NamedTarget& target : targets) {
    if (target.path.empty()) continue;
    std::error_code error;
    fs::path whole = fs::weakly_canonical(target.path, error);
    if (error) whole = target.path;  // of a folder that may not be looked at: writing there fails
    const auto [first, is_new] = options.try_emplace(std::move(whole), target.option);
    if (is_new) continue;
    return fail(ErrorCode::kInvalidArgument, fmt::format("{} '{}': {} names the same file", target.option,
                                                         target.path.native(), first->second));
  }
  return {};
}

Status check_report(const std::string& path) {
  const std::filesystem::path page(path);
  if (!path.empty() && page.extension() != ".html" && page.extension() != ".htm") {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("report '{}': expected a name that ends in .html", path));
  }
  return check_replaceable(path, "report", {"<!DOCTYPE html>", "<!doctype html>"});
}

std::string refuse_empty(const std::string& text) {
  return text.empty() ? "expected a value, found nothing" : "";
}

Result<Encoding> encoding_argument(const std::string& text) {
  if (const auto encoding = parse_encoding(text)) return *encoding;
  std::vector<std::string> known{"i8", "i4", "i2", "i1", "bitnet158"};
  std::string writable;
  for (const EncodingTraits& t : all_encodings()) {
    known.emplace_back(t.name);
    if (t.can_encode) writable += fmt::format("{}{}", writable.empty() ? "" : ", ", t.name);
  }
  const std::string near = nearest_name(text, known);
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("unknown encoding '{}'{}; encodings: {}", text,
                          near.empty() ? "" : fmt::format(", did you mean {}?", near), writable));
}

std::string nearest_name(std::string_view name, const std::vector<std::string>& known) {
  std::string best;
  size_t least = name.size() / 3 + 2;
  for (const std::string& candidate : known) {
    const size_t distance = edit_distance(name, candidate);
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

int report_error(const Error& error, bool json) {
  const bool colour = ::isatty(STDERR_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
  // printable(): names in messages come from files.
  tell(fmt::format("lobit: {}error{}: {}\n", colour ? "\x1b[31m" : "", colour ? "\x1b[0m" : "",
                   printable(error.message)));
  if (json) {
    // Replaces what is not UTF-8: names in messages come from files.
    const std::string text = error_json(error).dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
    if (!print(text + "\n")) return kFailed;
  }
  return exit_code(error.code);
}

void tell(std::string_view text) {
  static_cast<void>(std::fwrite(text.data(), 1, text.size(), stderr));
}

Status print(std::string_view text) {
  const size_t written = std::fwrite(text.data(), 1, text.size(), stdout);
  if (written == text.size() && std::fflush(stdout) == 0) return {};
  return fail(ErrorCode::kIo, fmt::format("standard output: {}", std::generic_category().message(errno)));
}

size_t terminal_width() {
  winsize size{};
  return ::isatty(STDOUT_FILENO) == 1 && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

uint64_t peak_resident_bytes() {
  // Not from getrusage() where it can be helped: that counts what the parent process held before exec().
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    uint64_t kib = 0;
    if (std::sscanf(line.c_str(), "VmHWM: %" SCNu64 " kB", &kib) == 1) return kib * 1024;
  }
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace lobit::cli
