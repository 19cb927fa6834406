// Writes one page of every kind that lobit makes into a folder, for the browser to open.
// lobit_make_pages FOLDER
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lobit/io/file.h"
#include "lobit/report/conversion_report.h"
#include "lobit/report/example_memory.h"
#include "lobit/report/example_reports.h"
#include "lobit/report/memory_report.h"
#include "lobit/report/model_report.h"
#include "lobit/report/verify_report.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: lobit_make_pages FOLDER\n", stderr);
    return 2;
  }
  namespace example = lobit::example;
  const std::filesystem::path folder = argv[1];
  const std::vector<std::pair<std::string, std::string>> files{
      {"convert.html", lobit::to_html(example::conversion())},
      {"inspect.html", lobit::to_html(example::model())},
      {"verify.html", lobit::to_html(example::verification())},
      {"memory.html", lobit::to_html(example::memory())},
      {"memory.json", lobit::to_json(example::memory())},
      {"memory.txt", lobit::to_text(example::memory(), {.width = 100})},
      {"memory.trace.json", lobit::to_perfetto(example::memory())},
      {"nothing.html", lobit::to_html(lobit::MemoryProfile{})}};
  for (const auto& [name, text] : files) {
    const lobit::Status written = lobit::write_file(folder / name, std::as_bytes(std::span(text)));
    if (!written) {
      std::fprintf(stderr, "%s\n", written.error().message.c_str());
      return 1;
    }
  }
  return 0;
}
