// For tests alone (not installed): a file system as the kernel would show it, in a temporary folder.
#pragma once

#include <fstream>
#include <string_view>

#include "lobit/base/test_support.h"

namespace lobit {

class SystemTree {
 public:
  const std::filesystem::path& root() const { return folder_.path(); }

  // Writes a file with its folders; `path` is relative to the root.
  SystemTree& file(const std::filesystem::path& path, std::string_view text) {
    const std::filesystem::path whole = root() / path;
    std::filesystem::create_directories(whole.parent_path());
    std::ofstream(whole, std::ios::binary) << text;
    return *this;
  }

 private:
  TemporaryFolder folder_;
};

}  // namespace lobit
