// The question of this benchmark: how fast does one thread take values from one encoding to another, compared
// with ggml and with the memory? All rates count the bytes that the values would have as F32, so that rows
// compare; the limits move the bytes of the wider side of the case and count in the same unit.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/kernels/ggml_peer.h"
#include "bench/kernels/sampling.h"

#include "lobit/dtype/encoding.h"

namespace lobit::bench {

struct Case {
  Encoding from;
  Encoding to;
};

// F32 -> each, F16 -> each, F16 <-> BF16, each -> F32.
std::vector<Case> all_cases();

std::string case_name(const Case& c);  // "f32->tq2_0"

struct Row {
  std::string name;  // the case and the buffer: "f32->tq2_0 256 MiB"
  std::string metric = "rate";
  std::string unit = "GB/s";
  std::string better = "higher";
  std::map<std::string, double> values;        // ours, ggml, ggml-cpu, memcpy, memset, read
  std::map<std::string, std::string> reasons;  // why a contestant is missing
  std::optional<bool> bytes_equal;             // ours and ggml's; nothing when one of them is missing
};

// Runs cases on buffers that are allocated and touched once. `peer` may be null.
class Bench {
 public:
  // `f32_bytes` is the size of the F32 side: a multiple of 64 KiB.
  Bench(size_t f32_bytes, const GgmlPeer* peer, std::string peer_reason, Sampling sampling);

  Row run(const Case& c);

 private:
  void add_ours(const Case& c, std::vector<Contestant>& contestants, Row& row);
  void add_ggml(const Case& c, std::vector<Contestant>& contestants, Row& row);
  void add_ggml_cpu(const Case& c, std::vector<Contestant>& contestants, Row& row);
  void add_limits(const Case& c, std::vector<Contestant>& contestants);
  std::optional<bool> compare(const Case& c, const std::vector<Contestant>& contestants) const;
  size_t bytes_of(Encoding encoding) const;

  size_t count_;
  const GgmlPeer* peer_;
  std::string peer_reason_;
  Sampling sampling_;
  std::vector<float> values_;  // the pattern that fills sources
  std::vector<uint8_t> source_, target_, peer_target_, scratch_;
};

}  // namespace lobit::bench
