// Tensors one after the other through small chunks, and a file that is larger than the memory limit.
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <vector>

#include "lobit/lobit.h"

namespace {

constexpr uint64_t kLimit = 1 << 20;
constexpr uint64_t kElements = 4 << 20;  // 16 MiB of F32

lobit::Status convert_tensors(lobit::ConversionEngine& engine, lobit::MemoryResource& pool) {
  const int64_t shapes[][2] = {{512, 512}, {1024, 256}, {256, 1024}};
  for (const auto& extents : shapes) {
    LOBIT_TRY(const lobit::Shape shape, lobit::Shape::create(extents));
    LOBIT_TRY(const lobit::Tensor tensor, lobit::Tensor::random(shape, lobit::DType::kF32, pool));
    LOBIT_TRY(const lobit::Tensor result, engine.streaming_convert(tensor, lobit::DType::kI8, 64 << 10));
    const lobit::ConversionMetrics metrics = engine.stats();
    std::printf("%s: %llu -> %llu bytes, at most %llu bytes held\n", shape.to_string().c_str(),
                static_cast<unsigned long long>(tensor.size_bytes()),
                static_cast<unsigned long long>(result.size_bytes()),
                static_cast<unsigned long long>(metrics.memory_stats.peak_memory_usage));
  }
  return {};
}

// Made of pieces, so that this program does not hold it either.
lobit::Status write_values(const std::filesystem::path& path) {
  LOBIT_TRY(lobit::OutputFile out, lobit::OutputFile::create(path, kElements * sizeof(float)));
  std::vector<float> piece(64 << 10);
  for (uint64_t at = 0; at < kElements; at += piece.size()) {
    lobit::fill_random({.seed = 1}, at, piece.data(), piece.size());
    LOBIT_RETURN_IF_ERROR(out.write_at(at * sizeof(float), std::as_bytes(std::span(piece))));
  }
  return out.commit();
}

lobit::Status convert_file(lobit::ConversionEngine& engine, const std::filesystem::path& folder) {
  LOBIT_RETURN_IF_ERROR(write_values(folder / "values.f32"));
  LOBIT_TRY(const lobit::File source, lobit::File::open(folder / "values.f32"));
  const uint64_t bytes = lobit::encoded_bytes(lobit::Encoding::kQ8_0, kElements).value();
  LOBIT_TRY(lobit::OutputFile out, lobit::OutputFile::create(folder / "values.q8_0", bytes));
  engine.clear_stats();
  LOBIT_TRY(const lobit::FileStreamFacts facts,
            engine.streaming_convert({.source = &source, .elements = kElements, .name = "values"},
                                     {.file = &out, .encoding = lobit::Encoding::kQ8_0}));
  LOBIT_RETURN_IF_ERROR(out.commit());
  const uint64_t peak = engine.stats().memory_stats.peak_memory_usage;
  std::printf("a file of %llu bytes in %llu chunks: at most %llu bytes held\n",
              static_cast<unsigned long long>(source.size()), static_cast<unsigned long long>(facts.chunks),
              static_cast<unsigned long long>(peak));
  if (peak <= kLimit) return {};
  return lobit::fail(lobit::ErrorCode::kLimit, "more was held than the limit allows");
}

lobit::Status run(const std::filesystem::path& folder) {
  LOBIT_TRY(const auto pool, lobit::HybridMemoryPool::create());
  lobit::ConversionConfig config = lobit::ConversionConfig::low_memory();
  config.max_memory_usage = kLimit;
  LOBIT_TRY(const auto engine, lobit::ConversionEngine::create(config, *pool));
  LOBIT_RETURN_IF_ERROR(convert_tensors(*engine, *pool));
  return convert_file(*engine, folder);
}

}  // namespace

int main() {
  std::string name = (std::filesystem::temp_directory_path() / "lobit-example-XXXXXX").native();
  if (::mkdtemp(name.data()) == nullptr) return 1;
  const lobit::Status status = run(name);
  std::error_code ignored;
  std::filesystem::remove_all(name, ignored);
  if (!status) std::fprintf(stderr, "%s\n", status.error().message.c_str());
  return status ? 0 : 1;
}
