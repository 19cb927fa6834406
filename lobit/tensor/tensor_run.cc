// Runs of elements of any view: copied and decoded.
#include <algorithm>
#include <cstring>

#include "lobit/base/check.h"
#include "lobit/base/fp_env.h"
#include "lobit/kernels/codec.h"
#include "lobit/kernels/planar.h"
#include "lobit/tensor/tensor.h"
#include "lobit/tensor/tensor_internal.h"

namespace lobit {
namespace {

// Elements that are gathered before they are decoded.
constexpr uint64_t kGathered = 512;

template <size_t kBytes>
void gather_numbers(const std::byte* from, int64_t stride, uint64_t count, std::byte* to) {
  const int64_t step = stride * static_cast<int64_t>(kBytes);
  for (uint64_t i = 0; i < count; ++i, from += step, to += kBytes) std::memcpy(to, from, kBytes);
}

}  // namespace

template <typename Use>
void Tensor::for_each_piece(uint64_t first, uint64_t count, Use use) const {
  LOBIT_DCHECK(first <= elements() && count <= elements() - first);
  if (count == 0) return;
  if (is_dense()) return use(offset_ + first, count, int64_t{1});
  // The innermost axes that one stride steps through.
  size_t outer = shape_.rank() - 1;
  auto inner = static_cast<uint64_t>(shape_[outer]);
  int64_t stride = inner == 1 ? 1 : strides_[outer];
  while (outer > 0) {
    const auto extent = static_cast<uint64_t>(shape_[outer - 1]);
    const bool follows = strides_[outer - 1] == stride * static_cast<int64_t>(inner);
    if (inner == 1 && is_plain()) {
      stride = strides_[outer - 1];
    } else if (extent != 1 && !follows) {
      break;
    }
    inner *= extent;
    --outer;
  }
  while (count > 0) {
    uint64_t rest = first / inner;
    const uint64_t skipped = first % inner;
    uint64_t at = offset_ + skipped * static_cast<uint64_t>(stride);
    for (size_t axis = outer; axis-- > 0;) {
      const auto extent = static_cast<uint64_t>(shape_[axis]);
      at += rest % extent * static_cast<uint64_t>(strides_[axis]);
      rest /= extent;
    }
    const uint64_t n = std::min(count, inner - skipped);
    use(at, n, stride);
    first += n;
    count -= n;
  }
}

void Tensor::gather(uint64_t element, uint64_t count, int64_t stride, std::byte* out) const {
  const EncodingTraits& t = traits(format_.encoding);
  const std::byte* from = storage_.data() + element / t.block_elements * t.block_bytes;
  if (stride == 1) {
    std::memcpy(out, from, count / t.block_elements * t.block_bytes);
    return;
  }
  switch (t.block_bytes) {
    case 1:
      return gather_numbers<1>(from, stride, count, out);
    case 2:
      return gather_numbers<2>(from, stride, count, out);
    case 4:
      return gather_numbers<4>(from, stride, count, out);
    default:
      return gather_numbers<8>(from, stride, count, out);
  }
}

void Tensor::read_run(uint64_t first, uint64_t count, std::byte* out) const {
  LOBIT_CHECK(!format_.is_planar() && device().kind == DeviceKind::kCpu);
  storage_.touch();
  const EncodingTraits& t = traits(format_.encoding);
  for_each_piece(first, count, [&](uint64_t element, uint64_t n, int64_t stride) {
    gather(element, n, stride, out);
    out += n / t.block_elements * t.block_bytes;
  });
}

void Tensor::decode_run(uint64_t first, uint64_t count, float* out) const {
  LOBIT_CHECK(traits(format_.encoding).can_decode && device().kind == DeviceKind::kCpu);
  const ScopedFpEnv fp_env;
  storage_.touch();
  for_each_piece(first, count, [&](uint64_t element, uint64_t n, int64_t stride) {
    if (stride == 1) {
      decode_span(element, n, out);
    } else {
      decode_strided(element, n, stride, out);
    }
    out += n;
  });
}

void Tensor::decode_span(uint64_t element, uint64_t count, float* out) const {
  if (format_.is_planar()) return decode_planar_span(element, count, out);
  const kernels::DecodeFn decode = kernels::decoder(format_.encoding);
  if (decode == nullptr) return gather(element, count, 1, reinterpret_cast<std::byte*>(out));  // F32
  const EncodingTraits& t = traits(format_.encoding);
  decode(storage_.data() + element / t.block_elements * t.block_bytes, out, count);
}

// Of plain numbers.
void Tensor::decode_strided(uint64_t element, uint64_t count, int64_t stride, float* out) const {
  if (format_.encoding == Encoding::kF32) {
    return gather(element, count, stride, reinterpret_cast<std::byte*>(out));
  }
  const kernels::DecodeFn decode = kernels::decoder(format_.encoding);
  std::array<std::byte, kGathered * sizeof(uint16_t)> numbers;
  for (uint64_t done = 0; done < count;) {
    const uint64_t n = std::min(kGathered, count - done);
    gather(element + done * static_cast<uint64_t>(stride), n, stride, numbers.data());
    decode(numbers.data(), out + done, n);
    done += n;
  }
}

void Tensor::decode_planar_span(uint64_t element, uint64_t count, float* out) const {
  const FormatLayout base = base_layout();
  const uint32_t bits = planar_bits(format_.encoding);
  const uint64_t group = group_elements(format_.scales, base_columns_, base_columns_);
  while (count > 0) {
    const uint64_t row = element / base_columns_;
    const uint64_t column = element % base_columns_;
    const uint64_t n = std::min(count, base_columns_ - column);
    const std::byte* codes = storage_.data() + row * base.row_bytes + column * bits / 8;
    const std::byte* scales =
        storage_.data() + base.scale_offset + (row * base.row_scales + column / group) * sizeof(float);
    // Groups of the row from this one on; a row or a tensor is one group here.
    kernels::decode_planar_groups(format_.encoding, codes, reinterpret_cast<const float*>(scales), out, n,
                                  group == base_columns_ ? n : group);
    element += n;
    out += n;
    count -= n;
  }
}

void Tensor::read_rows(uint64_t first, uint64_t rows, std::byte* codes, std::byte* scales) const {
  LOBIT_CHECK(format_.is_planar() && device().kind == DeviceKind::kCpu);
  storage_.touch();
  const FormatLayout base = base_layout();
  const FormatLayout& to = layout_;
  const uint32_t bits = planar_bits(format_.encoding);
  const uint64_t columns = shape_.row_elements();
  const uint64_t group = group_elements(format_.scales, base_columns_, base_columns_);
  const auto copy_scale = [&](uint64_t element) {
    const uint64_t index = element / base_columns_ * base.row_scales + element % base_columns_ / group;
    std::memcpy(scales, storage_.data() + base.scale_offset + index * sizeof(float), sizeof(float));
    scales += sizeof(float);
  };
  for (uint64_t row = first; row < first + rows; ++row, codes += to.row_bytes) {
    for_each_piece(row * columns, columns, [&](uint64_t element, uint64_t n, int64_t) {
      const uint64_t at = element / base_columns_ * base.row_bytes + element % base_columns_ * bits / 8;
      std::memcpy(codes, storage_.data() + at, (n * bits + 7) / 8);
      for (uint64_t g = 0; g < to.row_scales; ++g) copy_scale(element + g * group);
      if (row == 0 && to.row_scales == 0) copy_scale(0);
    });
  }
}

void Tensor::copy_planar(std::byte* out) const {
  const FormatLayout& to = layout_;
  const uint64_t code_bytes = to.row_bytes * shape_.rows();
  std::memset(out + code_bytes, 0, to.scale_offset - code_bytes);
  read_rows(0, shape_.rows(), out, out + to.scale_offset);
}

void Tensor::copy_values(std::byte* out) const {
  if (elements() == 0) return;
  if (format_.is_planar()) return copy_planar(out);
  read_run(0, elements(), out);
}

}  // namespace lobit
