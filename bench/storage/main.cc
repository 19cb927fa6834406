// lobit_bench_storage: times saving, loading, mapping, sharing and compressing tensors beside the plain
// system calls and plain zstd, and prints a JSON object. Run by script/bench storage, which describes the
// figures.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/kernels/sampling.h"
#include "bench/program.h"
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>
#include <zstd.h>

#include "lobit/lobit.h"

namespace lobit::bench {
namespace {

constexpr size_t kPage = 4096;

[[noreturn]] void give_up(const std::string& message) {
  std::fprintf(stderr, "lobit_bench_storage: %s\n", message.c_str());
  std::exit(1);
}

// What cannot fail here but for a full disk.
template <typename T>
T sure(Result<T> result) {
  if (!result) give_up(result.error().message);
  return std::move(*result);
}
void sure(const Status& status) {
  if (!status) give_up(status.error().message);
}

// A byte of every page, so that all are there.
uint64_t touch(std::span<const std::byte> bytes) {
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes.size(); i += kPage) sum += std::to_integer<uint64_t>(bytes[i]);
  return sum;
}

class StorageBench {
 public:
  StorageBench(const Sampling& sampling, std::filesystem::path folder, size_t mebibytes)
      : sampling_(sampling),
        folder_(std::move(folder)),
        tensor_(normal(DType::kF32, static_cast<int64_t>(mebibytes) << 18)) {
    tensor_.set_name("w");
  }

  nlohmann::json run() {
    save();
    load();
    map();
    share();
    for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32, DType::kI8}) {
      compress(std::string(dtype_name(dtype)) + " weights", normal(dtype, 16 << 20));
    }
    compress("f32, nine tenths zero pages", mostly_zero(8 << 20));
    return {{"cases", cases_}};
  }

 private:
  std::string path(const char* name) const { return (folder_ / name).native(); }
  std::span<const std::byte> bytes() const { return tensor_.bytes().value(); }

  Tensor normal(DType dtype, int64_t elements) {
    const Shape shape = sure(Shape::create({elements / 4096, 4096}));
    const RandomOptions options{.seed = 1, .distribution = Distribution::kNormal, .deviation = 0.02f};
    return sure(Tensor::random(shape, dtype, *pool_, options));
  }
  Tensor mostly_zero(int64_t elements) {
    Tensor tensor = normal(DType::kF32, elements);
    const std::span<std::byte> all = sure(tensor.mutable_bytes());
    for (size_t page = 0; page < all.size() / kPage; ++page) {
      if (page % 10 != 0) std::memset(all.data() + page * kPage, 0, kPage);
    }
    return tensor;
  }

  void add(const std::string& name, std::vector<Contestant> contestants, uint64_t size,
           const nlohmann::json& more = nlohmann::json::object()) {
    sample_in_turns(contestants, sampling_);
    nlohmann::json found = more;
    found["case"] = name;
    found["bytes"] = size;
    for (const Contestant& contestant : contestants) found["seconds"][contestant.name] = contestant.seconds;
    cases_.push_back(found);
  }

  // A new file under a temporary name, then a rename: what a file that is never half there costs at least.
  void write_plainly(std::span<const std::byte> out) const {
    const int file = ::open(path("plain.tmp").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    while (!out.empty()) {
      const ssize_t n = ::write(file, out.data(), out.size());
      if (n <= 0) give_up("cannot write " + path("plain.tmp"));
      out = out.subspan(static_cast<size_t>(n));
    }
    ::close(file);
    std::filesystem::rename(path("plain.tmp"), path("plain"));
  }
  void read_plainly(std::byte* to, size_t size) const {
    const int file = ::open(path("plain").c_str(), O_RDONLY);
    for (size_t at = 0; at < size;) {
      const ssize_t n = ::read(file, to + at, size - at);
      if (n <= 0) give_up("cannot read " + path("plain"));
      at += static_cast<size_t>(n);
    }
    ::close(file);
  }

  void save() {
    const auto to = [&](const char* name, TensorChecksums checksums = TensorChecksums::kOff) {
      return [this, name, checksums] { sure(save_tensor(path(name), tensor_, {.checksums = checksums})); };
    };
    Tensor turned = sure(tensor_.transpose());
    turned.set_name("t");
    add("save",
        {{"safetensors", to("a.safetensors")},
         {"npy", to("a.npy")},
         {"gguf", to("a.gguf")},
         {"with checksums", to("sums.safetensors", TensorChecksums::kOn)},
         {"transposed", [&] { sure(save_tensor(path("turned.safetensors"), turned)); }},
         {"write", [&] { write_plainly(bytes()); }}},
        bytes().size());
  }

  void load() {
    const size_t size = bytes().size();
    const std::unique_ptr<std::byte, void (*)(void*)> warm(static_cast<std::byte*>(std::malloc(size)),
                                                           std::free);
    const auto from = [&](const char* name, const char* tensor) {
      return [this, name, tensor] { static_cast<void>(sure(load_tensor(path(name), tensor, *pool_))); };
    };
    add("load",
        {{"safetensors", from("a.safetensors", "w")},
         {"npy", from("a.npy", "")},
         {"gguf", from("a.gguf", "w")},
         {"with checksums", from("sums.safetensors", "w")},
         {"read", [&] { read_plainly(warm.get(), size); }},
         {"read into fresh memory",
          [&] {
            const std::unique_ptr<std::byte, void (*)(void*)> fresh(
                static_cast<std::byte*>(std::malloc(size)), std::free);
            read_plainly(fresh.get(), size);
          }}},
        size);
  }

  void map() {
    const auto once = [&] { return sure(map_tensor(path("a.safetensors"), "w", *pool_)); };
    add("map",
        {{"map", [once] { static_cast<void>(once()); }},
         {"map, then touch",
          [&, once] {
            const Tensor mapped = once();
            sum_ += touch(*mapped.bytes());
          }},
         {"load, then touch",
          [&] {
            const Tensor loaded = sure(load_tensor(path("a.safetensors"), "w", *pool_));
            sum_ += touch(*loaded.bytes());
          }}},
        bytes().size());
  }

  // What the second process does once it has the name, and what handing over a copy would take.
  void share() {
    const SharedTensor shared = sure(SharedTensor::copy_of(tensor_));
    const std::string name = shared.name();
    Tensor target = sure(Tensor::empty(tensor_.shape(), tensor_.format(), *pool_));
    std::byte* const to = sure(target.mutable_bytes()).data();
    add("share",
        {{"open",
          [&] {
            const SharedTensor opened = sure(SharedTensor::open(name, SharedAccess::kRead));
            const Tensor seen = sure(opened.tensor(*pool_));
            sum_ += std::to_integer<uint64_t>(seen.bytes().value()[0]);
          }},
         {"copy", [&] { std::memcpy(to, bytes().data(), bytes().size()); }},
         {"create and fill", [&] { static_cast<void>(sure(SharedTensor::copy_of(tensor_))); }}},
        bytes().size());
  }

  void compress(const std::string& name, const Tensor& tensor) {
    const std::span<const std::byte> in = tensor.bytes().value();
    const size_t width = tensor.format() == ValueFormat{Encoding::kF32}         ? 4
                         : traits(tensor.format().encoding).block_elements == 1 ? 2
                                                                                : 1;
    BlockCompressor compressor(*pool_, {.least_ratio = 1.0});
    std::optional<CompressedBlock> block = sure(compressor.compress(in, width));
    if (!block) give_up(name + " does not shrink at all");
    std::vector<std::byte> plain(ZSTD_compressBound(in.size()));
    std::vector<std::byte> out(in.size());
    const auto zstd = [&] { return ZSTD_compress(plain.data(), plain.size(), in.data(), in.size(), 1); };
    const size_t plain_size = zstd();
    std::vector<Contestant> contestants = {
        {"compress", [&] { static_cast<void>(sure(compressor.compress(in, width))); }},
        {"restore", [&] { sure(compressor.restore(*block, out)); }},
        {"zstd", [&] { static_cast<void>(zstd()); }},
        {"zstd restore", [&] { ZSTD_decompress(out.data(), out.size(), plain.data(), plain_size); }}};
    // With the usual threshold, what does not shrink costs the probe alone.
    BlockCompressor usual(*pool_);
    contestants.push_back({"probe and decide", [&] { static_cast<void>(sure(usual.compress(in, width))); }});
    add(name, std::move(contestants), in.size(),
        {{"ratio", block->ratio()},
         {"zstd_ratio", static_cast<double>(in.size()) / static_cast<double>(plain_size)}});
  }

  const Sampling sampling_;
  const std::filesystem::path folder_;
  std::unique_ptr<HybridMemoryPool> pool_ =
      sure(HybridMemoryPool::create({.idle_trim = std::chrono::milliseconds(0)}));
  Tensor tensor_;
  uint64_t sum_ = 0;  // of what was touched
  nlohmann::json cases_ = nlohmann::json::array();
};

int run(const std::vector<std::string>& arguments) {
  std::string folder;
  size_t rounds = 9;
  size_t mebibytes = 128;
  const Option known[] = {{"--dir", &folder}, {"--rounds", &rounds}, {"--mib", &mebibytes}};
  if (!read_options(arguments, known) || rounds == 0 || mebibytes == 0 || folder.empty()) {
    std::fprintf(stderr, "usage: lobit_bench_storage --dir FOLDER [--rounds N] [--mib N]\n");
    return 2;
  }
  return print_result(StorageBench({.rounds = rounds}, folder, mebibytes).run());
}

}  // namespace
}  // namespace lobit::bench

int main(int argc, char** argv) {
  return lobit::bench::run({argv + 1, argv + argc});
}
