#include "lobit/tensor/tensor.h"

#include <vector>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/memory/system_resource.h"

namespace lobit {
namespace {

// Every format that values can be stored in and read from, for rows of `columns`.
std::vector<ValueFormat> formats_for(uint64_t columns) {
  std::vector<ValueFormat> formats;
  for (const EncodingTraits& t : all_encodings()) {
    if (!t.can_encode) continue;
    if (columns % t.block_elements == 0) formats.push_back({t.encoding});
    if (planar_bits(t.encoding) == 0) continue;
    for (const ScaleGroup scales : {ScaleGroup::kRow, ScaleGroup::kTensor, ScaleGroup::k32, ScaleGroup::k64,
                                    ScaleGroup::k128, ScaleGroup::k256}) {
      formats.push_back({t.encoding, scales});
    }
  }
  return formats;
}

TEST(Tensor, HoldsOnesInEveryFormat) {
  SystemResource memory;
  for (const int64_t columns : {1, 7, 256, 300}) {
    const Shape shape = *Shape::create({3, columns});
    for (const ValueFormat format : formats_for(shape.row_elements())) {
      SCOPED_TRACE(to_string(format));
      const Result<Tensor> ones = Tensor::ones(shape, format, memory);
      ASSERT_THAT(ones, is_ok());
      std::vector<float> values(shape.elements(), -1.0f);
      ones->decode_run(0, values.size(), values.data());
      for (const float v : values) ASSERT_NEAR(v, 1.0f, 1e-3f);
    }
  }
  EXPECT_EQ(memory.usage().allocated, 0u);
}

TEST(Tensor, IsConvertedInPlaceByReformat) {
  SystemResource memory;
  Tensor tensor = *Tensor::ones(*Shape::create({2, 256}), DType::kF16, memory);
  const uint64_t id = tensor.id();
  const auto key = tensor.content_key();
  ASSERT_THAT(tensor.mutable_bytes(), is_ok());
  ASSERT_THAT(tensor.reformat({Encoding::kQ8_0}), is_ok());
  EXPECT_EQ(tensor.size_bytes(), 2u * 8 * 34);
  EXPECT_EQ(tensor.id(), id);
  EXPECT_NE(tensor.content_key(), key);
  EXPECT_THAT(tensor.reformat({Encoding::kF32}), fails_with(ErrorCode::kLimit));
}

}  // namespace
}  // namespace lobit
