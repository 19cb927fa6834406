#include "bench/kernels/methods.h"

#include <functional>

#include "bench/kernels/inputs.h"

#include "lobit/base/bytes.h"
#include "lobit/kernels/codec.h"
#include "lobit/kernels/measure.h"
#include "lobit/quant/distortion.h"
#include "lobit/quant/quantizer.h"

namespace lobit::bench {
namespace {

constexpr size_t kValues = size_t{1} << 20;
constexpr size_t kRow = 2048;

class MethodBench {
 public:
  MethodBench(const GgmlPeer* peer, std::string peer_reason, Sampling sampling)
      : peer_(peer),
        peer_reason_(std::move(peer_reason)),
        sampling_(sampling),
        values_(heavy_tailed(kValues)),
        importance_(kRow, 1.0f),
        decoded_(kValues),
        blocks_(kValues * sizeof(float)) {}

  void run(Encoding to, QuantizeMethod method, const std::string& name, std::vector<Row>& rows) {
    std::vector<Contestant> contestants;
    const kernels::EncodeFn encode = quantizer(to, method);
    contestants.push_back({"ours", [=, this] { encode(values_.data(), blocks_.data(), kValues); }});
    Row rate;
    rate.name = name;
    rate.metric = "rate by method";
    if (peer_ != nullptr && peer_->knows(to)) {
      const auto add = [&](const char* who, const float* importance) {
        contestants.push_back(
            {who,
             [=, this] { peer_->quantize(to, values_.data(), blocks_.data(), kValues, kRow, importance); }});
      };
      add("ggml", nullptr);
      add("ggml searching", importance_.data());
    } else {
      rate.reasons["ggml"] = peer_ == nullptr ? peer_reason_ : "this ggml does not know the encoding";
    }
    Row error = rate;
    error.metric = "error by method";
    error.unit = "squared error / energy";
    error.better = "lower";
    for (const Contestant& contestant : contestants) {
      contestant.run();
      error.values[contestant.name] = error_of(to);
    }
    sample_in_turns(contestants, sampling_);
    for (const Contestant& contestant : contestants) {
      rate.values[contestant.name] = kValues * sizeof(float) * 1e-9 / contestant.seconds;
    }
    rows.push_back(std::move(rate));
    rows.push_back(std::move(error));
  }

 private:
  // Of the blocks that the last contestant wrote.
  double error_of(Encoding to) {
    kernels::decoder(to)(blocks_.data(), decoded_.data(), kValues);
    kernels::ErrorSums sums;
    kernels::accumulate_error(values_.data(), decoded_.data(), kValues, sums);
    return distortion(sums).nmse;
  }

  const GgmlPeer* peer_;
  std::string peer_reason_;
  Sampling sampling_;
  std::vector<float> values_;
  std::vector<float> importance_;  // of each column
  std::vector<float> decoded_;
  std::vector<uint8_t> blocks_;
};

}  // namespace

std::vector<Row> run_methods(std::string_view only, const GgmlPeer* peer, const std::string& peer_reason,
                             const Sampling& sampling) {
  MethodBench bench(peer, peer_reason, sampling);
  std::vector<Row> rows;
  for (const EncodingTraits& to : all_encodings()) {
    if (!has_scale_search(to.encoding)) continue;
    for (const QuantizeMethod method :
         {QuantizeMethod::kDirect, QuantizeMethod::kScaled, QuantizeMethod::kExact}) {
      const std::string name = case_name({Encoding::kF32, to.encoding}) + " " +
                               std::string(quantize_method_name(method)) + " " +
                               format_bytes(kValues * sizeof(float));
      if (name.find(only) != std::string::npos) bench.run(to.encoding, method, name, rows);
    }
  }
  return rows;
}

}  // namespace lobit::bench
