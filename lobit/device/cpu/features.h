// Which sets of instructions the processor has. Internal to device.
#pragma once

#include <string>
#include <vector>

namespace lobit::detail {

// Those that lobit's kernels care for, as compilers call them; only what the system lets programs use.
std::vector<std::string> processor_features();

}  // namespace lobit::detail
