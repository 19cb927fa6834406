// What `lobit devices` tells: which devices there are, what they can do and why others are missing, as plain
// values, and two ways to show them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/report/text_options.h"

namespace lobit {

// In GB/s (1e9 bytes).
struct BandwidthFigures {
  double read_one = 0;
  double copy_one = 0;
  double read_all = 0;
  double copy_all = 0;
  uint64_t threads = 0;
  uint64_t buffer_bytes = 0;
};

// Sizes in bytes. What is not known is empty and has no key in JSON.
struct DeviceFigures {
  std::string name = {};
  std::optional<uint64_t> physical_cores = std::nullopt;
  uint64_t threads = 0;
  std::vector<std::string> features = {};
  std::optional<uint64_t> l1d = std::nullopt;
  std::optional<uint64_t> l2 = std::nullopt;
  std::optional<uint64_t> l3 = std::nullopt;
  std::optional<uint64_t> last_level = std::nullopt;
  std::optional<uint64_t> cache_line = std::nullopt;
  uint64_t page = 0;
  std::string huge_pages = {};
  std::optional<uint64_t> huge_page = std::nullopt;
  uint64_t memory = 0;
  uint64_t available = 0;
  std::optional<uint64_t> cgroup_limit = std::nullopt;
  std::optional<uint64_t> data_limit = std::nullopt;
  std::optional<uint64_t> address_limit = std::nullopt;
  bool unified_memory = false;
  std::optional<BandwidthFigures> bandwidth = std::nullopt;
};

struct ReportedDevice {
  std::string device = {};                              // "cpu", "cuda:0"
  std::optional<DeviceFigures> figures = std::nullopt;  // empty: not available
  std::string reason = {};                              // why not
};

struct DevicesReport {
  std::string selected = {};  // the device that lobit chooses by itself
  std::vector<ReportedDevice> devices = {};
};

LOBIT_API std::string to_text(const DevicesReport& report, const TextOptions& options = {});

// Schema "lobit.devices.v1".
LOBIT_API std::string to_json(const DevicesReport& report);

}  // namespace lobit
