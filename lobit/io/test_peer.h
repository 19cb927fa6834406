// For tests alone (not installed): a second process of the test program.
#pragma once

#include <array>
#include <csignal>
#include <cstdlib>
#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace lobit {

inline constexpr const char* kPeerVariable = "LOBIT_TEST_SEGMENT";

// This program again, as a process of its own that runs one test, which finds `name` in the environment.
class Peer {
 public:
  Peer(const std::string& test, const std::string& name) {
    ::setenv(kPeerVariable, name.c_str(), 1);  // NOLINT(concurrency-mt-unsafe): one thread
    std::string filter = "--gtest_filter=" + test;
    std::string also = "--gtest_also_run_disabled_tests";
    std::string program = "/proc/self/exe";
    const std::array<char*, 4> arguments{program.data(), filter.data(), also.data(), nullptr};
    EXPECT_EQ(::posix_spawn(&pid_, program.c_str(), nullptr, nullptr, arguments.data(), environ), 0);
  }
  ~Peer() {
    if (pid_ > 0) kill();
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // With a signal that leaves it no last word.
  void kill() {
    EXPECT_EQ(::kill(pid_, SIGKILL), 0);
    EXPECT_TRUE(WIFSIGNALED(wait()));
  }
  int wait() {
    int status = -1;
    EXPECT_EQ(::waitpid(std::exchange(pid_, -1), &status, 0) > 0, true);
    return status;
  }

 private:
  pid_t pid_ = -1;
};

}  // namespace lobit
