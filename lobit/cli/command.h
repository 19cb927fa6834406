// What the commands share: their registration, sizes and names as arguments, errors as exit codes, progress
// on the terminal, and Ctrl-C as a stop request.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "lobit/base/result.h"
#include "lobit/convert/chunks.h"
#include "lobit/dtype/encoding.h"

namespace lobit::cli {

enum ExitCode : int { kOk = 0, kFailed = 1, kUsage = 2, kOverLimit = 3 };

// A command's work, called after its arguments were parsed; returns the exit code.
using Command = std::function<Result<int>()>;

// Each adds its subcommand and sets `chosen` when it was named.
void add_convert(CLI::App& app, Command& chosen);
void add_inspect(CLI::App& app, Command& chosen);
void add_verify(CLI::App& app, Command& chosen);
void add_synth(CLI::App& app, Command& chosen);
void add_devices(CLI::App& app, Command& chosen);
void add_mem(CLI::App& app, Command& chosen);

// "64MiB", "1.5GiB", "50%" (of the machine's memory, or of the container's limit if that is less); "" is 0.
Result<uint64_t> memory_argument(const std::string& text);

// Refuses a file to write whose folder is missing, or that exists and does not begin like one of its kind.
// `what` it is, for the message. "" passes.
Status check_replaceable(const std::string& path, std::string_view what,
                         std::initializer_list<std::string_view> starts);

// A file that a command is to write, and the option that named it.
struct NamedTarget {
  std::string_view option;
  std::filesystem::path path;  // empty: the option was not given
};

// Refuses two options that name one file, however they spell it: the later would replace the earlier.
Status check_distinct(const std::vector<NamedTarget>& targets);

// Refuses a --report that would not become a page: a name that does not end in .html, a missing folder, or an
// existing file that is not a page. "" passes.
Status check_report(const std::string& path);

// For options whose empty value would be mistaken for their absence.
std::string refuse_empty(const std::string& text);

// An encoding by name, with a suggestion when there is none of that name.
Result<Encoding> encoding_argument(const std::string& text);

// The name among `known` that `name` is most likely a misspelling of; "" when none is near.
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

// Prints the error to stderr (and as JSON to stdout with `json`), and says which exit code it means.
int report_error(const Error& error, bool json);

// Writes `text` to stderr. A failure is ignored: there is nowhere left to tell of it.
void tell(std::string_view text);

// Writes `text` to stdout; kIo when that fails (a full disk, a closed pipe).
Status print(std::string_view text);

// A line on stderr that shows how far an operation is, when stderr is a terminal; nothing otherwise. Gone
// when the object is.
class ProgressLine {
 public:
  explicit ProgressLine(std::string_view verb);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // What to hand to a long operation: this line, and the stop token of Ctrl-C and SIGTERM.
  RunControl control();

 private:
  void show(const Progress& progress);
  std::string verb_;
  bool visible_ = false;
  bool shown_ = false;
  double start_ = 0;
};

// Occupies those of the descriptors 0, 1 and 2 that are closed, so that no model file gets one of them and
// messages end up in it. Writing to them still fails.
void hold_standard_streams();

// Makes a closed pipe and a size limit errors of the write that meets them instead of the program's end, and
// turns SIGINT and SIGTERM into stop requests from here on: the operation ends, removes what it wrote and
// returns kCancelled. A second signal ends the program at once. Call it before any thread starts.
void catch_signals();

// Columns of the terminal on stdout; 0 when it is none, so that tables are not cut.
size_t terminal_width();

// The most memory that the process has held so far, in bytes.
uint64_t peak_resident_bytes();

}  // namespace lobit::cli
