// For tests alone (not installed): matchers for Result and Status, and a folder that goes away.
#pragma once

#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/base/result.h"

namespace lobit {

// EXPECT_THAT(result, is_ok()); the message of the error is printed when it is not.
MATCHER(is_ok, "") {
  if (arg.has_value()) return true;
  *result_listener << "error " << error_code_name(arg.error().code) << ": " << arg.error().message;
  return false;
}

// EXPECT_THAT(result, fails_with(ErrorCode::kCorrupt));
MATCHER_P(fails_with, code, std::string("fails with ") + std::string(error_code_name(code))) {
  if (arg.has_value()) {
    *result_listener << "it succeeded";
    return false;
  }
  *result_listener << "error " << error_code_name(arg.error().code) << ": " << arg.error().message;
  return arg.error().code == code;
}

// A fresh folder, removed with its contents at the end of the scope.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "lobit-test-XXXXXX").native();
    if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "cannot create " << name;
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace lobit
