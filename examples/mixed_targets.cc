// Tensors of a model, each to the dtype that suits it, in one batch. Sizes are stored bytes, scales included.
#include <cstdio>
#include <string>
#include <vector>

#include "lobit/lobit.h"

namespace {

struct Part {
  const char* name;
  int64_t rows;
  int64_t columns;
  lobit::DType to;
  double least_ratio;
};

constexpr Part kParts[] = {
    {"weight", 512, 512, lobit::DType::kI4, 7.1},             // most compression at usable quality
    {"activation", 64, 512, lobit::DType::kF16, 2.0},         // speed
    {"bias", 1, 512, lobit::DType::kI8, 3.7},                 // balance
    {"embedding", 1024, 256, lobit::DType::kBitNet158, 15.5}  // what BitNet layers take
};

lobit::Status run() {
  LOBIT_TRY(const auto pool, lobit::HybridMemoryPool::create());
  LOBIT_TRY(const auto engine, lobit::ConversionEngine::create({}, *pool));
  std::vector<lobit::BatchRequest> requests;
  for (const Part& part : kParts) {
    const int64_t extents[] = {part.rows, part.columns};
    LOBIT_TRY(const lobit::Shape shape, lobit::Shape::create(extents));
    LOBIT_TRY(lobit::Tensor tensor, lobit::Tensor::random(shape, lobit::DType::kF32, *pool));
    tensor.set_name(part.name);
    requests.push_back({std::move(tensor), part.to});
  }
  LOBIT_TRY(const std::vector<lobit::Tensor> results, engine->batch_convert_mixed(requests));
  for (size_t i = 0; i < results.size(); ++i) {
    const double ratio =
        static_cast<double>(requests[i].tensor.size_bytes()) / static_cast<double>(results[i].size_bytes());
    std::printf("%-10s f32 -> %s: %.2fx\n", kParts[i].name,
                std::string(lobit::dtype_name(kParts[i].to)).c_str(), ratio);
    if (results[i].dtype() != kParts[i].to || results[i].name() != kParts[i].name ||
        ratio < kParts[i].least_ratio) {
      return lobit::fail(lobit::ErrorCode::kInvalidArgument, "a result is not what it should be");
    }
  }
  return {};
}

}  // namespace

int main() {
  const lobit::Status status = run();
  if (!status) std::fprintf(stderr, "%s\n", status.error().message.c_str());
  return status ? 0 : 1;
}
