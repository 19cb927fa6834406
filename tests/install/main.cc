// An outside program: sees only what `cmake --install` put under the prefix, and touches each floor that a
// static or shared liblobit must export.
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <vector>

#include "lobit/lobit.h"

namespace {

// Ternary values survive TQ2_0 exactly, whichever kernel runs.
bool ternary_round_trips() {
  std::vector<float> values(512);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 3) - 1.0f;
  std::vector<std::byte> blocks(*lobit::encoded_bytes(lobit::Encoding::kTQ2_0, values.size()));
  std::vector<float> decoded(values.size());
  const auto counts = lobit::kernels::encoder(lobit::Encoding::kF32, lobit::Encoding::kTQ2_0)(
      values.data(), blocks.data(), values.size());
  lobit::kernels::decoder(lobit::Encoding::kTQ2_0)(blocks.data(), decoded.data(), values.size());
  return counts.unrepresentable == 0 && decoded == values;
}

bool sizes_are_parsed() {
  const auto bytes = lobit::parse_bytes("64MiB");
  return bytes && *bytes == uint64_t{64} << 20 && lobit::format_bytes(*bytes) == "64 MiB";
}

bool missing_model_is_not_found() {
  const auto model = lobit::open_model(std::filesystem::path("no-such-model.gguf"));
  return !model && model.error().code == lobit::ErrorCode::kNotFound;
}

// Whatever is known of its functions, the program has a stack.
bool own_stack_is_shown() {
  const lobit::StackTrace trace = lobit::stack_trace(lobit::capture_call_stack());
  return !trace.empty() && !trace.front().function.empty();
}

bool report(const char* what, bool ok) {
  std::printf("%-28s %s\n", what, ok ? "ok" : "WRONG");
  return ok;
}

}  // namespace

int main() {
  const bool results[] = {
      report("ternary round trip", ternary_round_trips()),
      report("sizes", sizes_are_parsed()),
      report("missing model", missing_model_is_not_found()),
      report("own stack", own_stack_is_shown()),
  };
  return std::all_of(std::begin(results), std::end(results), [](bool ok) { return ok; }) ? 0 : 1;
}
