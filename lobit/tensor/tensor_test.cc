#include "lobit/tensor/tensor.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <sstream>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/base/test_heap.h"
#include "lobit/dtype/half.h"
#include "lobit/memory/failing_resource.h"
#include "lobit/memory/limiting_resource.h"
#include "lobit/tensor/tensor_test_support.h"
#include "lobit/tensor/weak_tensor.h"

namespace lobit {
namespace {

using enum Encoding;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(DefaultFormat, IsBlocksWhereRowsDivideAndPlanarElsewhere) {
  EXPECT_EQ(default_format(DType::kI8, shape_of({4, 64})), ValueFormat{kQ8_0});
  EXPECT_EQ(default_format(DType::kI8, shape_of({4, 65})), (ValueFormat{kQ8_0, ScaleGroup::kRow}));
  EXPECT_EQ(default_format(DType::kI8, shape_of({4, 63})), (ValueFormat{kQ8_0, ScaleGroup::kTensor}));
  EXPECT_EQ(default_format(DType::kBitNet158, shape_of({256})), ValueFormat{kTQ2_0});
  EXPECT_EQ(default_format(DType::kBitNet158, shape_of({128})), (ValueFormat{kTQ2_0, ScaleGroup::kRow}));
  EXPECT_EQ(default_format(DType::kI1, Shape()), (ValueFormat{kQ1_0, ScaleGroup::kTensor}));
  EXPECT_EQ(default_format(DType::kF16, shape_of({3})), ValueFormat{kF16});
}

// A constant is stored exactly, up to the rounding of its scale, in every format and shape.
TEST(Tensor, HoldsConstantsInEveryFormat) {
  SystemResource memory;
  for (const Shape& shape :
       {Shape(), shape_of({1}), shape_of({3, 7}), shape_of({2, 256}), shape_of({2, 2, 300})}) {
    for (const ValueFormat format : formats_for(shape.row_elements())) {
      for (const float constant : {1.0f, 0.0f, -3.0f}) {
        SCOPED_TRACE(to_string(format) + " " + shape.to_string());
        const Result<Tensor> tensor = Tensor::full(shape, constant, format, memory);
        ASSERT_THAT(tensor, is_ok());
        EXPECT_EQ(tensor->size_bytes(), tensor->bytes()->size());
        for (const float v : values_of(*tensor)) ASSERT_NEAR(v, constant, std::fabs(constant) * 0x1p-10f);
      }
    }
  }
  EXPECT_EQ(memory.usage().allocated, 0u);
}

TEST(Tensor, WithoutElementsTakesNoMemory) {
  SystemResource memory;
  for (const Shape& shape : {shape_of({0}), shape_of({0, 7}), shape_of({5, 0, 3}), shape_of({2, 0})}) {
    for (const DType dtype : kAllDTypes) {
      Result<Tensor> tensor = Tensor::zeros(shape, dtype, memory);
      ASSERT_THAT(tensor, is_ok());
      EXPECT_EQ(tensor->size_bytes(), 0u);
      EXPECT_EQ(tensor->elements(), 0u);
      EXPECT_TRUE(tensor->is_contiguous());
      EXPECT_TRUE(tensor->bytes()->empty());
      EXPECT_TRUE(tensor->mutable_bytes()->empty());
      EXPECT_THAT(tensor->clone(memory), is_ok());
      EXPECT_THAT(tensor->reshape(shape_of({0, 3})), is_ok());
      EXPECT_EQ(values_of(*tensor).size(), 0u);
    }
  }
  EXPECT_EQ(memory.usage().allocations, 0u);
  Tensor none;
  EXPECT_EQ(none.shape(), shape_of({0}));
  EXPECT_TRUE(none.bytes()->empty());
  EXPECT_TRUE(none.mutable_bytes()->empty());
  EXPECT_THAT(none.release(), is_ok());
}

TEST(Tensor, StoresValuesAndGivesThemBack) {
  SystemResource memory;
  const std::vector<float> values = numbered(6);
  const Tensor f32 = *Tensor::from_values(values, shape_of({2, 3}), DType::kF32, memory);
  EXPECT_THAT(f32.values<float>().value(), testing::ElementsAreArray(values));
  const Tensor bf16 = *Tensor::from_values(values, shape_of({2, 3}), DType::kBF16, memory);
  EXPECT_EQ(bf16.values<uint16_t>().value()[1], f32_to_bf16(-1.5f));
  const Tensor i8 = *Tensor::from_values(values, shape_of({2, 3}), DType::kI8, memory);
  EXPECT_EQ(i8.format(), (ValueFormat{kQ8_0, ScaleGroup::kTensor}));
  EXPECT_THAT(i8.scales().value(), ElementsAre(5.5f / 127.0f));
  EXPECT_EQ(static_cast<int8_t>(i8.codes().value()[5]), -127);
  EXPECT_EQ(i8.size_bytes(), 8u + 4);
  EXPECT_EQ(i8.scale_bytes(), 4u);
  EXPECT_EQ(i8.capacity(), 64u);
}

// Groups longer than what is encoded at a time, and rows whose codes end within a byte.
TEST(Tensor, QuantizesLongGroupsAsOne) {
  SystemResource memory;
  const std::vector<float> values = numbered(3 * 5001);
  for (const ScaleGroup scales : {ScaleGroup::kRow, ScaleGroup::kTensor, ScaleGroup::k128}) {
    const Tensor t = *Tensor::from_values(values, shape_of({3, 5001}), ValueFormat{kQ4_0, scales}, memory);
    const std::vector<float> back = values_of(t);
    const auto found = t.scales().value();
    const uint64_t rows = scales == ScaleGroup::kTensor ? 1 : 3;
    const uint64_t group = group_elements(scales, 5001, 3 * 5001);
    EXPECT_EQ(found.size(), scales == ScaleGroup::k128 ? 3u * 40 : rows);
    // The last value of a group is its largest, and becomes -8 times the scale.
    for (uint64_t i = 0; i < 3; ++i) {
      const uint64_t last =
          scales == ScaleGroup::kTensor ? values.size() - 1 : i * 5001 + std::min<uint64_t>(group, 5001) - 1;
      EXPECT_EQ(back[last], values[last]);
    }
    EXPECT_EQ(found.back(), values.back() / -8.0f);
    for (uint64_t i = 0; i < values.size(); ++i) ASSERT_NEAR(back[i], values[i], 15003.0f / 7.99f);
  }
}

TEST(Tensor, RequantizingItsValuesChangesNothing) {
  SystemResource memory;
  for (const Shape& shape : {shape_of({2, 256}), shape_of({3, 77}), shape_of({5})}) {
    for (const ValueFormat format : formats_for(shape.row_elements())) {
      // Encodings that store a minimum or F16 scales apart from the codes' own find other scales.
      if (format.encoding == kQ4_1 || format.encoding == kQ5_1) continue;
      SCOPED_TRACE(to_string(format));
      const RandomOptions options{.seed = 9, .distribution = Distribution::kNormal};
      const Tensor first = *Tensor::random(shape, format, memory, options);
      const Tensor again = *Tensor::from_values(values_of(first), shape, format, memory);
      EXPECT_EQ(values_of(again), values_of(first));
    }
  }
}

TEST(Tensor, NamesTheValueThatAFormatCannotHold) {
  SystemResource memory;
  std::vector<float> values = numbered(3 * 96);
  values[100] = 1e6f;
  const auto stored = [&](FormatChoice format) {
    return Tensor::from_values(values, shape_of({3, 96}), format, memory);
  };
  const auto expect_lost = [](const Result<Tensor>& result, uint64_t index) {
    ASSERT_THAT(result, fails_with(ErrorCode::kDataLoss));
    EXPECT_EQ(result.error().detail.index, index) << result.error().message;
  };
  expect_lost(stored(DType::kF16), 100);
  EXPECT_THAT(stored(DType::kBF16), is_ok());
  EXPECT_THAT(stored(DType::kI8), is_ok());
  values[100] = 1e9f;
  expect_lost(stored(DType::kI8), 100);
  for (const ScaleGroup scales : {ScaleGroup::kRow, ScaleGroup::kTensor, ScaleGroup::k32}) {
    EXPECT_THAT(stored(ValueFormat{kQ8_0, scales}), is_ok());
    values[100] = kInf;
    expect_lost(stored(ValueFormat{kQ8_0, scales}), 100);
    values[100] = 1e9f;
  }
  EXPECT_EQ(memory.usage().allocated, 0u);
}

TEST(Tensor, RefusesWhatCannotBe) {
  SystemResource memory;
  const auto refused = fails_with(ErrorCode::kInvalidArgument);
  EXPECT_THAT(Tensor::empty(shape_of({2, 33}), kQ8_0, memory), refused);
  EXPECT_THAT(Tensor::empty(shape_of({2}), static_cast<Encoding>(200), memory), refused);
  EXPECT_THAT(Tensor::zeros(shape_of({2}), ValueFormat{kQ8_0, static_cast<ScaleGroup>(99)}, memory), refused);
  EXPECT_THAT(Tensor::empty(shape_of({2}), ValueFormat{kTQ1_0, ScaleGroup::kRow}, memory), refused);
  EXPECT_THAT(Tensor::empty(shape_of({int64_t{1} << 62}), kF32, memory), refused);
  EXPECT_THAT(Tensor::zeros(shape_of({int64_t{1} << 62, 1}), ValueFormat{kQ8_0, ScaleGroup::kRow}, memory),
              refused);
  EXPECT_THAT(Tensor::zeros(shape_of({256}), kQ4_K, memory), fails_with(ErrorCode::kUnsupported));
  EXPECT_THAT(Tensor::empty(shape_of({256}), kQ4_K, memory), is_ok());
  EXPECT_THAT(Tensor::from_values(numbered(5), shape_of({6}), kF32, memory), refused);
  const std::vector<std::byte> bytes(33);
  EXPECT_THAT(Tensor::from_bytes(bytes, shape_of({32}), kQ8_0, memory), refused);
  EXPECT_THAT(Tensor::borrow(bytes, shape_of({32}), kQ8_0, memory), refused);
  LimitingResource limited(memory, 100);
  EXPECT_THAT(Tensor::empty(shape_of({int64_t{1} << 50}), kF32, limited), fails_with(ErrorCode::kLimit));
}

TEST(Tensor, ChecksWhatItsValuesAre) {
  SystemResource memory;
  Tensor half = *Tensor::ones(shape_of({4}), DType::kF16, memory);
  EXPECT_THAT(half.values<float>(), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(half.mutable_values<float>(), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(half.values<int16_t>(), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(half.codes(), fails_with(ErrorCode::kInvalidArgument));
  const Tensor i8 = *Tensor::ones(shape_of({4}), DType::kI8, memory);
  EXPECT_THAT(i8.values<int8_t>(), fails_with(ErrorCode::kInvalidArgument));
  const Tensor raw = *Tensor::empty(shape_of({4}), kRawI32, memory);
  EXPECT_EQ(raw.values<int32_t>()->size(), 4u);
}

TEST(Tensor, IsCopiedWhenSharedAndWrittenTo) {
  SystemResource memory;
  for (const ValueFormat format : formats_for(256)) {
    SCOPED_TRACE(to_string(format));
    Tensor first = *Tensor::ones(shape_of({2, 256}), format, memory);
    const uint64_t before = memory.usage().allocations;
    Tensor second = first;
    EXPECT_EQ(memory.usage().allocations, before);
    EXPECT_EQ(second.id(), first.id());
    EXPECT_EQ(second.bytes()->data(), first.bytes()->data());
    EXPECT_EQ(second.content_key(), first.content_key());
    EXPECT_EQ(first.metadata().owners, 2u);
    EXPECT_FALSE(first.is_exclusive());

    const auto bytes = second.mutable_bytes().value();
    std::memset(bytes.data(), 0, bytes.size());
    EXPECT_EQ(memory.usage().allocations, before + 1);
    EXPECT_NE(second.content_key(), first.content_key());
    EXPECT_FALSE(second.shares_storage_with(first));
    EXPECT_EQ(second.id(), first.id());
    for (const float v : values_of(first)) ASSERT_NEAR(v, 1.0f, 1e-3f);
    EXPECT_TRUE(second.is_exclusive());
    // Now its own: written to in place.
    const ContentKey key = second.content_key();
    EXPECT_EQ(second.mutable_bytes()->data(), bytes.data());
    EXPECT_NE(second.content_key(), key);
  }
  EXPECT_EQ(memory.usage().allocated, 0u);
}

TEST(Tensor, OfASliceIsCopiedWithoutTheRest) {
  SystemResource memory;
  const Tensor whole = *Tensor::from_values(numbered(40), shape_of({10, 4}), DType::kF32, memory);
  Tensor part = *whole.slice(0, 2, 4);
  EXPECT_TRUE(part.is_contiguous());
  part.mutable_values<float>().value()[0] = 99.0f;
  EXPECT_EQ(part.capacity(), 64u);
  EXPECT_EQ(whole.values<float>().value()[8], 8.5f);
  EXPECT_THAT(values_of(part), ElementsAre(99.0f, -9.5f, 10.5f, -11.5f, 12.5f, -13.5f, 14.5f, -15.5f));
}

TEST(Tensor, WritesInPlaceAtASliceThatIsTheLastOwner) {
  SystemResource memory;
  Tensor part;
  {
    const Tensor whole = *Tensor::from_values(numbered(40), shape_of({10, 4}), DType::kF32, memory);
    part = *whole.slice(0, 2, 4);
  }
  const uint64_t before = memory.usage().allocations;
  part.mutable_values<float>().value()[0] = 99.0f;
  EXPECT_EQ(memory.usage().allocations, before);
  EXPECT_EQ(values_of(part)[0], 99.0f);
  EXPECT_EQ(values_of(part)[1], -9.5f);
}

TEST(Tensor, NeverWritesToBorrowedBytes) {
  SystemResource memory;
  const std::vector<float> values = numbered(12);
  const auto bytes = std::as_bytes(std::span(values));
  Tensor tensor = *Tensor::borrow(bytes, shape_of({12}), kF32, memory);
  EXPECT_EQ(tensor.bytes()->data(), bytes.data());
  EXPECT_EQ(memory.usage().allocations, 0u);
  EXPECT_FALSE(tensor.is_exclusive());
  EXPECT_THAT(tensor.reformat({kF16}), fails_with(ErrorCode::kInvalidArgument));
  tensor.mutable_values<float>().value()[3] = 0.0f;
  EXPECT_EQ(values[3], -3.5f);
  EXPECT_EQ(memory.usage().allocations, 1u);
  EXPECT_EQ(values_of(tensor)[4], 4.5f);
}

TEST(Tensor, KeepsTheOwnerOfBorrowedBytesUntilTheLastShareGoes) {
  SystemResource memory;
  auto owner = std::make_shared<std::vector<float>>(numbered(12));
  const std::weak_ptr<const void> alive = owner;
  const auto bytes = std::as_bytes(std::span(*owner));
  Tensor tensor = *Tensor::borrow(bytes, shape_of({12}), kF32, memory, std::move(owner));
  Tensor part = *tensor.slice(0, 4, 8);
  Tensor copy = tensor;
  const WeakTensor weak(tensor);
  tensor.mutable_values<float>().value()[3] = 0.0f;
  copy = Tensor();
  EXPECT_FALSE(alive.expired());
  EXPECT_EQ(values_of(part)[0], 4.5f);
  part = Tensor();
  EXPECT_TRUE(alive.expired());
  EXPECT_TRUE(weak.expired());
  EXPECT_EQ(values_of(tensor)[4], 4.5f);
}

TEST(Tensor, BorrowsAtAnyAddress) {
  SystemResource memory;
  std::vector<std::byte> bytes(2 * 4 + 1 + 4 * 8);
  const Tensor source =
      *Tensor::from_values(numbered(8), shape_of({2, 4}), ValueFormat{kQ8_0, ScaleGroup::kRow}, memory);
  std::memcpy(bytes.data() + 1, source.bytes()->data(), source.size_bytes());
  const auto odd = std::span(bytes).subspan(1, source.size_bytes());
  const Tensor borrowed = *Tensor::borrow(odd, shape_of({2, 4}), source.format(), memory);
  EXPECT_EQ(values_of(borrowed), values_of(source));
  EXPECT_THAT(borrowed.scales(), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(borrowed.clone(memory)->scales()->size(), 2u);
  const Tensor floats = *Tensor::borrow(std::span(bytes).subspan(1, 32), shape_of({8}), kF32, memory);
  EXPECT_THAT(floats.values<float>(), fails_with(ErrorCode::kInvalidArgument));
}

TEST(Tensor, BecomesAnotherFormatInItsOwnBlock) {
  SystemResource memory;
  Tensor tensor = *Tensor::ones(shape_of({2, 256}), DType::kF16, memory);
  const uint64_t id = tensor.id();
  tensor.set_name("w");
  {
    const Tensor sharer = tensor;
    EXPECT_THAT(tensor.reformat({kQ8_0}), fails_with(ErrorCode::kInvalidArgument));
    EXPECT_EQ(tensor.format(), ValueFormat{kF16});
  }
  const ContentKey key = tensor.content_key();
  ASSERT_THAT(tensor.reformat({kQ8_0}), is_ok());
  EXPECT_EQ(tensor.size_bytes(), 2u * 8 * 34);
  EXPECT_EQ(tensor.capacity(), 1024u);
  EXPECT_EQ(tensor.id(), id);
  EXPECT_EQ(tensor.name(), "w");
  EXPECT_NE(tensor.content_key(), key);
  EXPECT_THAT(tensor.reformat({kF32}), fails_with(ErrorCode::kLimit));
  EXPECT_THAT(tensor.reformat({kBF16}), is_ok());
  EXPECT_THAT(tensor.reformat({kTQ1_0, ScaleGroup::kRow}), fails_with(ErrorCode::kInvalidArgument));
  Tensor part = *tensor.slice(0, 0, 1);
  tensor = Tensor();
  EXPECT_THAT(part.reformat({kQ8_0}), fails_with(ErrorCode::kInvalidArgument));
}

TEST(Tensor, CopiesAndMovesWithoutTheHeap) {
  SystemResource memory;
  Tensor tensor = *Tensor::ones(shape_of({2, 256}), DType::kI8, memory);
  tensor.set_name("a name that is longer than what a string keeps within itself");
  tensor.set_tags({"weights"});
  const HeapPeak peak;
  const Tensor copy = tensor;
  const WeakTensor weak(tensor);
  Tensor moved = std::move(tensor);
  EXPECT_EQ(peak.bytes(), 0u);
  EXPECT_EQ(moved.name(), copy.name());
  EXPECT_EQ(tensor.elements(), 0u);  // NOLINT(*-use-after-move,*.Move): it is Tensor()
  moved.set_name("b");
  EXPECT_THAT(copy.tags(), ElementsAre("weights"));
  EXPECT_THAT(moved.tags(), ElementsAre("weights"));
  EXPECT_THAT(copy.name(), HasSubstr("longer"));
}

TEST(Tensor, SaysWhatItIs) {
  SystemResource memory;
  Tensor tensor = *Tensor::zeros(shape_of({4096, 512}), DType::kI8, memory);
  tensor.set_name("blk.0.w");
  tensor.set_tags({"weights", "attention"});
  EXPECT_EQ(tensor.to_string(), "Tensor 'blk.0.w' [4096, 512] i8 (q8_0, 8.5 bits) cpu 2.1 MiB");
  const TensorMetadata m = tensor.metadata();
  EXPECT_EQ(m.id, tensor.id());
  EXPECT_EQ(m.name, "blk.0.w");
  EXPECT_THAT(m.tags, ElementsAre("weights", "attention"));
  EXPECT_THAT(m.strides, ElementsAre(512, 1));
  EXPECT_EQ(m.dtype, DType::kI8);
  EXPECT_EQ(m.bytes, 4096u * 16 * 34);
  EXPECT_EQ(m.owners, 1u);
  EXPECT_LE(m.created, std::chrono::system_clock::now());
  EXPECT_GT(m.created, std::chrono::system_clock::now() - std::chrono::minutes(1));
  EXPECT_GE(m.last_access, m.created);

  std::ostringstream out;
  out << *Tensor::from_values(numbered(3), shape_of({3}), DType::kF16, memory);
  EXPECT_EQ(out.str(), "Tensor [3] f16 cpu 6 B");
  EXPECT_EQ(Tensor::from_values(numbered(3), shape_of({3}), kF16, memory)->to_string(3),
            "Tensor [3] f16 cpu 6 B: 0.5, -1.5, 2.5");
  const Tensor rows = *Tensor::from_values(numbered(60), shape_of({2, 30}), kF32, memory);
  EXPECT_EQ(rows.transpose()->to_string(2), "Tensor [30, 2] f32 cpu 240 B: 0.5, 30.5, ..., -29.5, -59.5");
  const Tensor ternary =
      *Tensor::full(shape_of({2, 100}), -2.0f, ValueFormat{kTQ2_0, ScaleGroup::kRow}, memory);
  EXPECT_EQ(ternary.to_string(1), "Tensor [2, 100] bitnet158 per row (2.4 bits) cpu 60 B: -2, ..., -2");
  EXPECT_EQ(Tensor::empty(shape_of({256}), kQ4_K, memory)->to_string(),
            "Tensor [256] q4_k (4.5 bits) cpu 144 B");
  EXPECT_EQ(Tensor().to_string(1), "Tensor [0] f32 cpu 0 B");
}

TEST(Tensor, HasAnIdOfItsOwnUnlessItIsACopy) {
  SystemResource memory;
  const Tensor first = *Tensor::zeros(shape_of({4}), kF32, memory);
  const Tensor second = *Tensor::zeros(shape_of({4}), kF32, memory);
  EXPECT_NE(first.id(), second.id());
  EXPECT_NE(first.reshape(shape_of({2, 2}))->id(), first.id());
  EXPECT_NE(first.clone(memory)->id(), first.id());
  EXPECT_EQ(first.contiguous(memory)->id(), first.id());
  EXPECT_NE(first.content_key(), second.content_key());
  EXPECT_NE(first.reshape(shape_of({2, 2}))->content_key(), first.content_key());
}

TEST(Tensor, GivesBackTheResourcesErrors) {
  SystemResource system;
  FailingResource failing(system);
  Tensor tensor = *Tensor::ones(shape_of({16}), kF32, failing);
  const Tensor sharer = tensor;
  failing.set_plan({.number = 1});
  EXPECT_THAT(tensor.mutable_bytes(), fails_with(ErrorCode::kOutOfMemory));
  EXPECT_EQ(values_of(tensor), values_of(sharer));
  EXPECT_TRUE(tensor.shares_storage_with(sharer));
  failing.set_plan({.number = 1});
  EXPECT_THAT(sharer.clone(failing), fails_with(ErrorCode::kOutOfMemory));

  // Freed behind its back: the last owner is told.
  Tensor lost = *Tensor::ones(shape_of({16}), kF32, system);
  ASSERT_THAT(system.deallocate(const_cast<std::byte*>(lost.bytes()->data()), lost.capacity()), is_ok());
  Tensor other = lost;
  EXPECT_THAT(lost.release(), is_ok());
  EXPECT_THAT(other.release(), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(other.elements(), 0u);
}

TEST(Tensor, LeavesNothingBehindWhenTheHeapIsExhausted) {
  if (!heap_is_counted()) GTEST_SKIP();
  SystemResource memory;
  for (uint64_t number = 1;; ++number) {
    const FailingHeap failing(number);
    try {
      Result<Tensor> tensor = Tensor::ones(shape_of({16}), kF32, memory);
      if (!tensor) {  // the resource, which needs the heap too, was refused
        EXPECT_EQ(tensor.error().code, ErrorCode::kOutOfMemory);
        continue;
      }
      const WeakTensor weak(*tensor);
      static_cast<void>(tensor->mutable_bytes());
    } catch (const std::bad_alloc&) {
      EXPECT_EQ(memory.usage().allocated, 0u);
      continue;
    }
    EXPECT_GT(number, 3u);
    break;
  }
  EXPECT_EQ(memory.usage().allocated, 0u);
}

TEST(WeakTensor, KnowsWhenTheValuesAreGone) {
  SystemResource memory;
  Tensor tensor = *Tensor::from_values(numbered(8), shape_of({2, 4}), kF32, memory);
  tensor.set_name("w");
  const WeakTensor row(*tensor.slice(0, 1, 2));
  WeakTensor weak(tensor);
  EXPECT_EQ(tensor.metadata().owners, 1u);
  ASSERT_TRUE(weak.lock().has_value());
  EXPECT_EQ(weak.lock()->id(), tensor.id());
  EXPECT_EQ(weak.lock()->name(), "w");
  EXPECT_THAT(values_of(*row.lock()), ElementsAre(4.5f, -5.5f, 6.5f, -7.5f));
  {
    const Tensor copy = tensor;
    tensor = Tensor();
    EXPECT_FALSE(weak.expired());
  }
  EXPECT_TRUE(weak.expired());
  EXPECT_FALSE(weak.lock().has_value());
  EXPECT_EQ(memory.usage().allocated, 0u);
  EXPECT_FALSE(WeakTensor().lock().has_value());
}

TEST(WeakTensor, DoesNotSeeValuesThatReplaceIts) {
  SystemResource memory;
  Tensor tensor = *Tensor::from_values(numbered(4), shape_of({4}), kF32, memory);
  const WeakTensor weak(tensor);
  const Tensor sharer = tensor;
  tensor.mutable_values<float>().value()[0] = 9.0f;  // to a copy
  ASSERT_TRUE(weak.lock().has_value());
  EXPECT_EQ(values_of(*weak.lock())[0], 0.5f);

  const WeakTensor own(tensor);
  const std::byte* at = tensor.bytes()->data();
  tensor.mutable_values<float>().value()[0] = 10.0f;  // in place
  EXPECT_TRUE(own.expired());
  EXPECT_EQ(tensor.bytes()->data(), at);
  EXPECT_EQ(values_of(tensor)[0], 10.0f);
}

}  // namespace
}  // namespace lobit
