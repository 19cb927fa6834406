// What is known of a program's memory, shown in four ways: as text, as JSON, as a page, and as a trace that
// ui.perfetto.dev and chrome://tracing open. All are pure functions of a MemoryProfile, whatever its names,
// numbers and indices are; write_memory_report() writes one of them to a file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/memory/memory_profile.h"
#include "lobit/report/text_options.h"

namespace lobit {

enum class MemoryReportFormat : uint8_t { kText, kJson, kHtml, kPerfetto };

// With ReportDetail::kSummary the largest unfreed blocks and holders, with kTensors all of them.
LOBIT_API std::string to_text(const MemoryProfile& profile, const TextOptions& options = {});

// Schema "lobit.memory.v1": all of the profile, numbers exact. `tag` and `stack` are indices of "tags" and
// "stacks"; what is not known has no key. Rows of an arena map are strings with two hexadecimal digits for
// each square.
LOBIT_API std::string to_json(const MemoryProfile& profile);

LOBIT_API std::string to_html(const MemoryProfile& profile);

// Trace events: live bytes by tag, committed bytes and the limit as counters, the peak as an instant, and the
// largest unfreed blocks as spans from their allocation to the end.
LOBIT_API std::string to_perfetto(const MemoryProfile& profile);

// The report in a file, which appears under its name when it is complete. kNotFound when its folder does not
// exist, kIo when the system refuses.
LOBIT_API Status write_memory_report(const MemoryProfile& profile, const std::filesystem::path& path,
                                     MemoryReportFormat format);

}  // namespace lobit
