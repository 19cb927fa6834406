#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <stop_token>
#include <thread>

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/cli/command.h"

namespace lobit::cli {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Lives as long as the program: the thread that waits for signals uses it.
std::stop_source& stop_source() {
  static std::stop_source source;
  return source;
}

size_t stderr_width() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string remaining(double seconds) {
  if (seconds < 60) return fmt::format("{:.0f} s", std::ceil(seconds));
  return fmt::format("{:.0f} min {:02.0f} s", std::floor(seconds / 60), std::fmod(seconds, 60));
}

}  // namespace

void catch_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  // Threads inherit the mask, so only the one that waits sees the signals.
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::thread([set] {
    int signal = 0;
    if (sigwait(&set, &signal) != 0) return;
    stop_source().request_stop();
    if (sigwait(&set, &signal) == 0) std::_Exit(128 + signal);
  }).detach();
}

ProgressLine::ProgressLine(std::string_view verb)
    : verb_(verb), visible_(::isatty(STDERR_FILENO) == 1), start_(now()) {}

ProgressLine::~ProgressLine() {
  if (shown_) fmt::print(stderr, "\r\x1b[K");
}

RunControl ProgressLine::control() {
  RunControl control{{}, stop_source().get_token()};
  if (visible_) control.progress = [this](const Progress& progress) { show(progress); };
  return control;
}

void ProgressLine::show(const Progress& progress) {
  const double seconds = now() - start_;
  const auto done = static_cast<double>(progress.bytes_done);
  const auto total = static_cast<double>(progress.bytes_total);
  const double rate = seconds > 0 ? done / seconds : 0;
  std::string line = fmt::format("{} {:3.0f}%  {} of {}", verb_, total > 0 ? 100 * done / total : 100,
                                 format_bytes(progress.bytes_done), format_bytes(progress.bytes_total));
  if (rate > 0) {
    line += fmt::format("  {:.2f} GB/s  {} left", rate / 1e9, remaining((total - done) / rate));
  }
  if (!progress.item.empty()) line += fmt::format("  {}", progress.item);
  if (line.size() >= stderr_width()) line.resize(stderr_width() - 1);
  // Names come from files: nothing in them may reach the terminal as a command.
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  fmt::print(stderr, "\r\x1b[K{}", line);
  shown_ = true;
}

}  // namespace lobit::cli
