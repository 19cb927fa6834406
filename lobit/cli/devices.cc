// `lobit devices`
#include <algorithm>
#include <memory>

#include "lobit/cli/command.h"
#include "lobit/device/backend.h"
#include "lobit/device/capabilities.h"
#include "lobit/report/devices_report.h"

namespace lobit::cli {
namespace {

constexpr const char* kFooter =
    "Everything is read from this machine; the bandwidth is measured, which takes less than a tenth of a "
    "second.\n"
    "\n"
    "Examples:\n"
    "  lobit devices\n"
    "  lobit devices --no-measure --json";

struct Arguments {
  bool no_measure = false;
  bool json = false;
};

DeviceFigures figures_of(const DeviceCapabilities& device) {
  DeviceFigures figures;
  figures.name = device.name;
  figures.physical_cores = device.physical_cores;
  figures.threads = device.threads;
  figures.features = device.features;
  figures.l1d = device.l1d_bytes;
  figures.l2 = device.l2_bytes;
  figures.l3 = device.l3_bytes;
  figures.last_level = device.last_level_bytes;
  figures.cache_line = device.cache_line_bytes;
  figures.page = device.page_bytes;
  figures.huge_pages = transparent_huge_pages_name(device.huge_pages);
  figures.huge_page = device.huge_page_bytes;
  figures.memory = device.memory_bytes;
  figures.available = device.available_bytes;
  figures.cgroup_limit = device.cgroup_limit;
  figures.data_limit = device.data_limit;
  figures.address_limit = device.address_limit;
  figures.unified_memory = device.unified_memory;
  if (const auto& b = device.bandwidth) {
    figures.bandwidth = {b->read_one, b->copy_one, b->read_all, b->copy_all, b->threads, b->buffer_bytes};
  }
  return figures;
}

Result<int> devices(const Arguments& args) {
  const Bandwidth bandwidth = args.no_measure ? Bandwidth::kSkip : Bandwidth::kMeasure;
  DevicesReport report{.selected = device_name(auto_select_device())};
  const std::vector<Device> available = available_devices();
  for (const DeviceKind kind : all_device_kinds()) {
    const auto of_kind = [kind](Device device) { return device.kind == kind; };
    for (const Device device : available) {
      if (!of_kind(device)) continue;
      LOBIT_TRY(const DeviceCapabilities found, DeviceCapabilities::for_device(device, bandwidth));
      report.devices.push_back({.device = device_name(device), .figures = figures_of(found)});
    }
    if (std::ranges::any_of(available, of_kind)) continue;
    // No device of its kind, so its first one is an error, which says why.
    report.devices.push_back(
        {.device = std::string(device_kind_name(kind)), .reason = backend({kind, 0}).error().message});
  }
  LOBIT_RETURN_IF_ERROR(print(args.json ? to_json(report) : to_text(report, {.width = terminal_width()})));
  return kOk;
}

}  // namespace

void add_devices(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("devices", "Show which devices there are and what they can do");
  command->footer(kFooter);
  const auto args = std::make_shared<Arguments>();
  command->add_flag("--no-measure", args->no_measure, "Leave out the bandwidth of memory");
  command->add_flag("--json", args->json, "Print it as JSON");
  command->callback([args, &chosen] { chosen = [args] { return devices(*args); }; });
}

}  // namespace lobit::cli
