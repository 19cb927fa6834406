// Gives the conformance scripts lobit's readers and writers without the converter between them:
//
//   format_tool list FILE        prints what the header says, as JSON
//   format_tool rewrite IN OUT   lays the tensors out anew and copies their bytes
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lobit/base/json_writer.h"
#include "lobit/format/safetensors.h"
#include "lobit/io/file.h"

namespace lobit {
namespace {

std::string json_string(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

Status list(const std::string& path) {
  LOBIT_TRY(const File file, File::open(path));
  LOBIT_TRY(const SafetensorsHeader header, read_safetensors(file));
  std::string metadata;
  for (const auto& [key, value] : header.metadata.entries()) {
    metadata +=
        fmt::format("{}{}:{}", metadata.empty() ? "" : ",", json_string(key), json_string(value.bytes));
  }
  std::string tensors;
  for (const TensorEntry& t : header.tensors) {
    tensors += fmt::format(R"({}{{"name":{},"encoding":"{}","shape":{},"offset":{},"bytes":{}}})",
                           tensors.empty() ? "" : ",\n", json_string(t.name), encoding_name(t.encoding),
                           t.shape.to_string(), t.offset, t.bytes);
  }
  fmt::print("{{\"metadata\":{{{}}},\"tensors\":[{}]}}\n", metadata, tensors);
  return {};
}

Status rewrite(const std::string& in, const std::string& out) {
  LOBIT_TRY(const File file, File::open(in));
  LOBIT_TRY(const SafetensorsHeader header, read_safetensors(file));
  std::vector<TensorSpec> specs;
  for (const TensorEntry& t : header.tensors) specs.push_back({t.name, t.shape, t.encoding});
  LOBIT_TRY(const FileLayout layout, layout_safetensors(header.metadata, specs));
  LOBIT_TRY(OutputFile target, OutputFile::create(out, layout.file_bytes));
  LOBIT_RETURN_IF_ERROR(target.write_at(0, std::as_bytes(std::span(layout.header))));
  for (size_t i = 0; i < specs.size(); ++i) {
    std::vector<std::byte> bytes(header.tensors[i].bytes);
    LOBIT_RETURN_IF_ERROR(file.read_at(header.tensors[i].offset, bytes));
    LOBIT_RETURN_IF_ERROR(target.write_at(layout.offsets[i], bytes));
  }
  return target.commit();
}

int run(const std::vector<std::string>& args) {
  Status status = fail(ErrorCode::kInvalidArgument, "usage: format_tool list FILE | rewrite IN OUT");
  if (args.size() == 2 && args[0] == "list") status = list(args[1]);
  if (args.size() == 3 && args[0] == "rewrite") status = rewrite(args[1], args[2]);
  if (status) return 0;
  fmt::print(stderr, "{}: {}\n", error_code_name(status.error().code), status.error().message);
  return 1;
}

}  // namespace
}  // namespace lobit

int main(int argc, char** argv) {
  return lobit::run({argv + 1, argv + argc});
}
