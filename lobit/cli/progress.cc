#include <chrono>
#include <cmath>
#include <cstdlib>
#include <stop_token>

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lobit/base/bytes.h"
#include "lobit/cli/command.h"
#include "lobit/report/text.h"

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

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

void* wait_for_signals(void* /*unused*/) {
  const sigset_t set = stop_signals();
  int signal = 0;
  if (sigwait(&set, &signal) != 0) return nullptr;
  stop_source().request_stop();
  if (sigwait(&set, &signal) == 0) std::_Exit(128 + signal);
  return nullptr;
}

}  // namespace

void hold_standard_streams() {
  int fd = 0;
  while (fd >= 0 && fd <= STDERR_FILENO) fd = ::open("/dev/null", O_RDONLY);
  if (fd > STDERR_FILENO) ::close(fd);
}

void catch_signals() {
  static_cast<void>(::signal(SIGPIPE, SIG_IGN));
  static_cast<void>(::signal(SIGXFSZ, SIG_IGN));
  const sigset_t set = stop_signals();
  // Threads inherit the mask, so only the one that waits sees the signals.
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 * 1024);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread{};
  // Without the thread, signals do what they usually do.
  if (pthread_create(&thread, &attributes, &wait_for_signals, nullptr) != 0) {
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  }
  pthread_attr_destroy(&attributes);
}

ProgressLine::ProgressLine(std::string_view verb)
    : verb_(verb), visible_(::isatty(STDERR_FILENO) == 1), start_(now()) {}

ProgressLine::~ProgressLine() {
  if (shown_) tell("\r\x1b[K");
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
  const size_t width = stderr_width() - 1;
  if (line.size() > width) line.resize(width);
  // printable(): names come from files.
  if (!progress.item.empty() && line.size() + 2 < width) {
    line += "  " + shorten_middle(printable(progress.item), width - line.size() - 2);
  }
  tell(fmt::format("\r\x1b[K{}", line));
  shown_ = true;
}

}  // namespace lobit::cli
