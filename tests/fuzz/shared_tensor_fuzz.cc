// The segment of a shared tensor. What its header may say lies within the segment and is a tensor; the input
// is taken as a segment, and as the fields of a header that starts as every header does.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "lobit/base/check.h"
#include "lobit/memory/system_resource.h"
#include "lobit/tensor/shared_tensor_internal.h"
#include "lobit/tensor/tensor.h"

namespace {

using namespace lobit;  // NOLINT(google-build-using-namespace): a program of its own

void check_segment(std::span<const std::byte> segment) {
  const Result<detail::SharedTensorPlace> place = detail::read_shared_tensor(segment);
  if (!place) {
    LOBIT_CHECK(place.error().detail.offset.has_value());
    LOBIT_CHECK(*place.error().detail.offset <= segment.size());
    return;
  }
  LOBIT_CHECK(place->offset <= segment.size() && place->bytes <= segment.size() - place->offset);
  static SystemResource memory;
  const auto bytes = segment.subspan(place->offset, place->bytes);
  const Result<Tensor> tensor = Tensor::borrow(bytes, place->shape, place->format, memory);
  LOBIT_CHECK(tensor.has_value());
  if (!traits(place->format.encoding).can_decode) return;
  std::vector<float> values(tensor->elements());
  tensor->decode_run(0, values.size(), values.data());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto input = std::as_bytes(std::span(data, size));
  check_segment(input);
  detail::SharedTensorHeader header;
  std::vector<std::byte> segment(input.begin(), input.end());
  if (segment.size() < sizeof header) return 0;
  std::memcpy(&header, segment.data(), sizeof header);
  std::ranges::copy(detail::kSharedTensorMagic, header.magic.begin());
  header.version = detail::kSharedTensorVersion;
  std::memcpy(segment.data(), &header, sizeof header);
  check_segment(segment);
  return 0;
}
