// A tensor as a line of text.
#include <algorithm>
#include <array>
#include <ostream>

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/tensor/tensor.h"

namespace lobit {
namespace {

// "f16", "i8 (q8_0, 8.5 bits)", "i8 per row (8.0625 bits)", "q4_k (4.5 bits)": bits per value, scales
// included.
std::string format_text(const Tensor& tensor) {
  const ValueFormat format = tensor.format();
  const auto dtype = tensor.dtype();
  std::string name = to_string(format);
  if (dtype && dtype_name(*dtype) == name) return name;
  const double bits =
      format.is_planar() && tensor.elements() > 0
          ? 8.0 * static_cast<double>(tensor.size_bytes()) / static_cast<double>(tensor.elements())
          : traits(format.encoding).bits_per_weight();
  if (format.is_planar()) {
    return tensor.elements() > 0 ? fmt::format("{} ({:.4g} bits)", name, bits) : name;
  }
  if (!dtype) return fmt::format("{} ({:.6g} bits)", name, bits);
  return fmt::format("{} ({}, {:.6g} bits)", dtype_name(*dtype), name, bits);
}

}  // namespace

std::string Tensor::to_string(size_t edge) const {
  std::string text = name().empty() ? std::string("Tensor") : fmt::format("Tensor '{}'", name());
  text += fmt::format(" {} {} {} {}", shape_.to_string(), format_text(*this), device_name(device()),
                      format_bytes(size_bytes()));
  const uint64_t n = elements();
  const bool readable = traits(format_.encoding).can_decode && device().kind == DeviceKind::kCpu;
  if (edge == 0 || n == 0 || !readable) return text;
  // The values between two borders at a time: a row, or as many of it as one decoding takes.
  const auto value_at = [this](uint64_t index) {
    const uint64_t columns = shape_.row_elements();
    const uint64_t border = border_elements(format_);
    const uint64_t column = index % columns / border * border;
    std::array<float, 256> group{};
    decode_run(index / columns * columns + column, std::min(border, columns - column), group.data());
    return group[index % columns - column];
  };
  const bool all = n <= 2 * edge;
  text += ": ";
  for (uint64_t i = 0; i < (all ? n : edge); ++i)
    text += fmt::format("{}{:.6g}", i == 0 ? "" : ", ", value_at(i));
  if (all) return text;
  text += ", ...";
  for (uint64_t i = n - edge; i < n; ++i) text += fmt::format(", {:.6g}", value_at(i));
  return text;
}

std::ostream& operator<<(std::ostream& out, const Tensor& tensor) {
  return out << tensor.to_string();
}

}  // namespace lobit
