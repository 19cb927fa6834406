#include "lobit/report/devices_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lobit/base/bytes.h"
#include "lobit/report/json_values.h"
#include "lobit/report/number.h"
#include "lobit/report/table.h"
#include "lobit/report/text.h"

namespace lobit {
namespace {

using detail::Json;

constexpr size_t kNameWidth = 72;

std::string size_text(const std::optional<uint64_t>& bytes) {
  return bytes ? format_bytes(*bytes) : "unknown";
}

std::string limit_text(const std::optional<uint64_t>& bytes) {
  return bytes ? format_bytes(*bytes) : "none";
}

std::string line(std::string_view label, std::string_view text) {
  return fmt::format("  {:<12} {}\n", label, text);
}

std::string caches_text(const DeviceFigures& figures) {
  std::string out = fmt::format("L1d {}, L2 {}, L3 {}", size_text(figures.l1d), size_text(figures.l2),
                                size_text(figures.l3));
  if (figures.last_level && figures.last_level != figures.l3) {
    out += fmt::format(" ({} of the last level in all)", format_bytes(*figures.last_level));
  }
  return out + fmt::format(", line {}", size_text(figures.cache_line));
}

std::string pages_text(const DeviceFigures& figures) {
  std::string out =
      fmt::format("{}, huge pages: {}", format_bytes(figures.page), printable(figures.huge_pages));
  if (figures.huge_page) out += fmt::format(" ({})", format_bytes(*figures.huge_page));
  return out;
}

std::string memory_text(const DeviceFigures& figures) {
  return fmt::format("{}, {} available{}", format_bytes(figures.memory), format_bytes(figures.available),
                     figures.unified_memory ? ", shared with the host" : "");
}

std::string bandwidth_text(const BandwidthFigures& figures) {
  const auto rate = [](double read, double copy) {
    return fmt::format("read {}, copy {}", format_rate(read * 1e9, 1), format_rate(copy * 1e9, 1));
  };
  return fmt::format("1 thread: {}; {}: {}", rate(figures.read_one, figures.copy_one),
                     format_counted(figures.threads, "thread"), rate(figures.read_all, figures.copy_all));
}

std::string figures_text(std::string_view device, const DeviceFigures& figures) {
  std::string out = fmt::format("\n{}\n", printable(device));
  const std::string threads = format_counted(figures.threads, "thread") + " usable";
  out += line("cores", figures.physical_cores
                           ? fmt::format("{}, {}", format_counted(*figures.physical_cores, "core"), threads)
                           : threads);
  out += line("instructions", printable(fmt::format("{}", fmt::join(figures.features, " "))));
  out += line("caches", caches_text(figures));
  out += line("pages", pages_text(figures));
  out += line("memory", memory_text(figures));
  out +=
      line("limits", fmt::format("cgroup {}, RLIMIT_DATA {}, RLIMIT_AS {}", limit_text(figures.cgroup_limit),
                                 limit_text(figures.data_limit), limit_text(figures.address_limit)));
  if (figures.bandwidth) out += line("bandwidth", bandwidth_text(*figures.bandwidth));
  return out;
}

void set_bytes_if(Json& object, const char* key, const std::optional<uint64_t>& value) {
  if (value) object[key] = *value;
}

Json bandwidth_json(const BandwidthFigures& figures) {
  return {{"read_one_gb_per_s", figures.read_one},
          {"copy_one_gb_per_s", figures.copy_one},
          {"read_all_gb_per_s", figures.read_all},
          {"copy_all_gb_per_s", figures.copy_all},
          {"threads", figures.threads},
          {"buffer_bytes", figures.buffer_bytes}};
}

Json figures_json(const DeviceFigures& figures) {
  Json out = Json::object();
  if (!figures.name.empty()) out["name"] = figures.name;
  set_bytes_if(out, "physical_cores", figures.physical_cores);
  out["threads"] = figures.threads;
  out["features"] = figures.features;
  set_bytes_if(out, "l1d_bytes", figures.l1d);
  set_bytes_if(out, "l2_bytes", figures.l2);
  set_bytes_if(out, "l3_bytes", figures.l3);
  set_bytes_if(out, "last_level_bytes", figures.last_level);
  set_bytes_if(out, "cache_line_bytes", figures.cache_line);
  out["page_bytes"] = figures.page;
  out["huge_pages"] = figures.huge_pages;
  set_bytes_if(out, "huge_page_bytes", figures.huge_page);
  out["memory_bytes"] = figures.memory;
  out["available_bytes"] = figures.available;
  set_bytes_if(out, "cgroup_limit", figures.cgroup_limit);
  set_bytes_if(out, "data_limit", figures.data_limit);
  set_bytes_if(out, "address_limit", figures.address_limit);
  out["unified_memory"] = figures.unified_memory;
  if (figures.bandwidth) out["bandwidth"] = bandwidth_json(*figures.bandwidth);
  return out;
}

}  // namespace

std::string to_text(const DevicesReport& report, const TextOptions& options) {
  Table table({{"device"}, {"available"}, {"what it is", Align::kLeft, kNameWidth}});
  for (const ReportedDevice& device : report.devices) {
    const bool selected = device.device == report.selected;
    table.add_row({text_cell(device.device),
                   text_cell(!device.figures ? "no"
                             : selected      ? "yes, selected"
                                             : "yes"),
                   text_cell(device.figures ? device.figures->name : "")});
  }
  std::string out = table.to_text(options.width);
  for (const ReportedDevice& device : report.devices) {
    out += device.figures
               ? figures_text(device.device, *device.figures)
               : fmt::format("\n{}\n{}", printable(device.device), line("why not", printable(device.reason)));
  }
  return out;
}

std::string to_json(const DevicesReport& report) {
  Json out = {{"schema", "lobit.devices.v1"}, {"selected", report.selected}, {"devices", Json::array()}};
  for (const ReportedDevice& device : report.devices) {
    Json one = {{"device", device.device}, {"available", device.figures.has_value()}};
    if (device.figures) {
      one["capabilities"] = figures_json(*device.figures);
    } else {
      one["reason"] = device.reason;
    }
    out["devices"].push_back(std::move(one));
  }
  return detail::dump(out);
}

}  // namespace lobit
