// Views against a model of them: the list of elements that each position stands for.
#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/dtype/half.h"
#include "lobit/memory/resource_wrapper.h"
#include "lobit/tensor/tensor.h"
#include "lobit/tensor/tensor_test_support.h"

namespace lobit {
namespace {

using enum Encoding;
using testing::HasSubstr;
using Indices = std::vector<int64_t>;

// Which element of the base each element of a view is, in order.
Indices model_of(const Shape& shape, const Indices& strides, int64_t offset) {
  Indices elements{offset};
  for (size_t axis = 0; axis < shape.rank(); ++axis) {
    Indices next;
    for (const int64_t at : elements) {
      for (int64_t i = 0; i < shape[axis]; ++i) next.push_back(at + i * strides[axis]);
    }
    elements = std::move(next);
  }
  return elements;
}

// That the view decodes to the elements that its model names, whole and in every run between two borders.
void expect_elements(const Tensor& view, const std::vector<float>& base, const Indices& elements) {
  SCOPED_TRACE(view.to_string());
  std::vector<float> want;
  for (const int64_t at : elements) want.push_back(base[static_cast<size_t>(at)]);
  ASSERT_EQ(view.elements(), want.size());
  ASSERT_EQ(values_of(view), want);
  const uint64_t columns = view.shape().row_elements();
  const uint64_t border = border_elements(view.format());
  std::mt19937 random(1);
  for (int run = 0; run < 20 && !want.empty(); ++run) {
    const auto cut = [&] {
      const uint64_t at = random() % (want.size() + 1);
      return at - at % columns % border;
    };
    const uint64_t a = cut();
    const uint64_t b = cut();
    const uint64_t first = std::min(a, b);
    std::vector<float> got(std::max(a, b) - first);
    view.decode_run(first, got.size(), got.data());
    const auto begin = want.begin() + static_cast<ptrdiff_t>(first);
    ASSERT_EQ(got, std::vector<float>(begin, begin + static_cast<ptrdiff_t>(got.size())));
  }
}

// The same for a copy in one piece, and for runs in the view's own format.
void expect_copies(const Tensor& view, MemoryResource& memory) {
  SCOPED_TRACE(view.to_string());
  const Result<Tensor> copy = view.clone(memory);
  ASSERT_THAT(copy, is_ok());
  EXPECT_TRUE(copy->is_contiguous());
  EXPECT_EQ(copy->size_bytes(), view.size_bytes());
  EXPECT_FALSE(copy->shares_storage_with(view));
  EXPECT_EQ(values_of(*copy), values_of(view));
  if (view.format().is_planar()) return;
  std::vector<std::byte> raw(view.size_bytes());
  view.read_run(0, view.elements(), raw.data());
  const auto bytes = copy->bytes().value();
  EXPECT_TRUE(std::ranges::equal(raw, bytes));
}

Indices strides_of(const Tensor& tensor) {
  return {tensor.strides().begin(), tensor.strides().end()};
}

TEST(TensorView, SaysWhereItsFirstNumberLies) {
  SystemResource memory;
  const Tensor numbers = *Tensor::from_values(numbered(12), shape_of({3, 4}), DType::kF16, memory);
  const std::byte* const first = numbers.bytes()->data();
  EXPECT_EQ(*numbers.first_number(), first);
  EXPECT_EQ(*numbers.transpose()->slice(0, 2, 4)->first_number(), first + 2 * sizeof(uint16_t));
  EXPECT_EQ(*numbers.slice(0, 1, 1)->first_number(), nullptr);
  const Tensor blocks = *Tensor::ones(shape_of({32}), ValueFormat{Encoding::kQ8_0}, memory);
  EXPECT_THAT(blocks.first_number(), fails_with(ErrorCode::kInvalidArgument));
}

TEST(TensorView, SlicesAndTransposesInEveryFormat) {
  SystemResource memory;
  for (const int64_t columns : {256, 512, 300}) {
    const Shape shape = shape_of({3, 4, columns});
    for (const ValueFormat format : formats_for(static_cast<uint64_t>(columns))) {
      const Tensor base = *Tensor::from_values(numbered(shape.elements()), shape, format, memory);
      const std::vector<float> values = values_of(base);
      const int64_t border = border_elements(format);
      const Tensor inner = base.slice(1, 1, 3)->slice(0, 1, 3).value();
      expect_elements(inner, values, model_of(shape_of({2, 2, columns}), strides_of(base), 5 * columns));
      expect_copies(inner, memory);
      const std::vector<size_t> swap{1, 0, 2};
      const Tensor swapped = base.transpose(swap).value();
      expect_elements(swapped, values, model_of(shape_of({4, 3, columns}), {columns, 4 * columns, 1}, 0));
      expect_copies(swapped, memory);
      const int64_t first = columns / border / 2 * border;
      const Tensor right = base.slice(2, first, columns).value();
      expect_elements(right, values, model_of(right.shape(), strides_of(base), first));
      expect_copies(right, memory);
      const Tensor both = swapped.slice(2, 0, first)->slice(0, 3, 4).value();
      expect_elements(both, values, model_of(both.shape(), {columns, 4 * columns, 1}, 3 * columns));
      expect_copies(both, memory);
      const Tensor repeated = base.slice(1, 2, 3)->broadcast_to(shape_of({2, 3, 5, columns})).value();
      expect_elements(repeated, values, model_of(repeated.shape(), {0, 4 * columns, 0, 1}, 2 * columns));
      expect_copies(repeated, memory);
      EXPECT_FALSE(repeated.is_contiguous());
    }
  }
}

TEST(TensorView, OfPlainNumbersGoesAnywhere) {
  SystemResource memory;
  for (const Encoding encoding : {kF32, kF16, kBF16}) {
    const Tensor base = *Tensor::from_values(numbered(60), shape_of({3, 4, 5}), encoding, memory);
    const std::vector<float> values = values_of(base);
    const Tensor turned = base.transpose().value();
    EXPECT_EQ(turned.shape(), shape_of({5, 4, 3}));
    expect_elements(turned, values, model_of(turned.shape(), {1, 5, 20}, 0));
    expect_copies(turned, memory);
    const Tensor part = turned.slice(0, 1, 4)->slice(2, 2, 3).value();
    expect_elements(part, values, model_of(part.shape(), {1, 5, 20}, 41));
    expect_copies(part, memory);
    const Tensor column = base.slice(2, 3, 4)->slice(1, 0, 1).value();
    const Tensor wide = column.broadcast_to(shape_of({2, 3, 1, 7})).value();
    expect_elements(wide, values, model_of(wide.shape(), {0, 20, 0, 0}, 3));
    expect_copies(wide, memory);
    const Tensor scalar = base.slice(0, 0, 1)->slice(1, 0, 1)->slice(2, 1, 2)->reshape(Shape()).value();
    expect_elements(scalar.broadcast_to(shape_of({600})).value(), values, Indices(600, 1));
    EXPECT_THAT(scalar.transpose(), is_ok());
  }
}

// Random chains of views of plain numbers.
TEST(TensorView, ChainsLikeItsModel) {
  SystemResource memory;
  std::mt19937 random(17);
  for (int chain = 0; chain < 200; ++chain) {
    Tensor view = *Tensor::from_values(numbered(72), shape_of({3, 4, 6}), kF16, memory);
    const std::vector<float> values = values_of(view);
    Indices elements = model_of(view.shape(), strides_of(view), 0);
    for (int step = 0; step < 4; ++step) {
      const size_t axis = random() % 3;
      const int64_t extent = view.shape()[axis];
      if (random() % 2 == 0) {
        const auto last = 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(extent));
        const auto first = static_cast<int64_t>(random() % static_cast<uint64_t>(last));
        view = view.slice(axis, first, last).value();
      } else {
        std::vector<size_t> axes{0, 1, 2};
        std::ranges::shuffle(axes, random);
        view = view.transpose(axes).value();
      }
      const Indices strides = strides_of(view);
      const auto start = static_cast<int64_t>(view.content_key().offset);
      elements = model_of(view.shape(), strides, start);
    }
    expect_elements(view, values, elements);
    expect_copies(view, memory);
    const Tensor whole = view.contiguous(memory).value();
    EXPECT_EQ(values_of(whole.reshape(shape_of({static_cast<int64_t>(whole.elements())})).value()),
              values_of(view));
  }
}

TEST(TensorView, ReshapesWhereRowsStayRows) {
  SystemResource memory;
  const auto make = [&](const Shape& shape, ValueFormat format) {
    return Tensor::from_values(numbered(shape.elements()), shape, format, memory).value();
  };
  const auto expect_same = [&](const Tensor& base, const Shape& shape, bool one_piece) {
    const Result<Tensor> view = base.reshape(shape);
    ASSERT_THAT(view, is_ok());
    EXPECT_EQ(values_of(*view), values_of(base)) << view->to_string();
    EXPECT_EQ(view->is_contiguous(), one_piece) << view->to_string();
    EXPECT_TRUE(view->shares_storage_with(base));
    expect_copies(*view, memory);
    if (one_piece) {
      // The bytes mean the same as those of a tensor made in that shape.
      const Tensor made = Tensor::from_bytes(view->bytes().value(), shape, view->format(), memory).value();
      EXPECT_EQ(values_of(made), values_of(base));
    }
  };
  const auto refused = fails_with(ErrorCode::kInvalidArgument);
  const Tensor blocks = make(shape_of({4, 96}), {kQ8_0});
  expect_same(blocks, shape_of({12, 32}), true);
  expect_same(blocks, shape_of({384}), true);
  expect_same(blocks, shape_of({2, 3, 64}), true);
  EXPECT_THAT(blocks.reshape(shape_of({8, 48})), refused);
  EXPECT_THAT(blocks.reshape(shape_of({4, 95})), refused);

  const Tensor groups = make(shape_of({4, 96}), {kQ4_0, ScaleGroup::k32});
  expect_same(groups, shape_of({6, 64}), true);
  EXPECT_THAT(groups.reshape(shape_of({8, 48})), refused);
  const Tensor short_groups = make(shape_of({4, 48}), {kQ4_0, ScaleGroup::k32});
  expect_same(short_groups, shape_of({2, 2, 48}), true);
  EXPECT_THAT(short_groups.reshape(shape_of({2, 96})), refused);
  EXPECT_THAT(short_groups.reshape(shape_of({12, 16})), refused);

  const Tensor rows = make(shape_of({4, 96}), {kTQ2_0, ScaleGroup::kRow});
  expect_same(rows, shape_of({2, 2, 96}), true);
  expect_same(rows, shape_of({8, 48}), false);
  expect_same(rows.reshape(shape_of({8, 48})).value(), shape_of({4, 96}), true);
  EXPECT_THAT(rows.reshape(shape_of({2, 192})), refused);
  EXPECT_THAT(rows.reshape(shape_of({64, 6})), refused);

  const Tensor whole = make(shape_of({4, 6}), {kQ2_0, ScaleGroup::kTensor});
  EXPECT_THAT(whole.reshape(shape_of({24})), refused);  // rows of 6 two-bit codes end within a byte
  const Tensor even = make(shape_of({4, 8}), {kQ2_0, ScaleGroup::kTensor});
  expect_same(even, shape_of({32}), true);
  expect_same(even, shape_of({8, 4}), true);
  EXPECT_THAT(even.reshape(shape_of({16, 2})), refused);

  const Tensor plain = make(shape_of({4, 6}), {kF32});
  expect_same(plain, shape_of({3, 8}), true);
  EXPECT_THAT(plain.transpose()->reshape(shape_of({24})), refused);
  EXPECT_THAT(plain.slice(1, 0, 3)->reshape(shape_of({12})), refused);
  expect_same(plain.slice(0, 1, 3).value(), shape_of({12}), true);
}

TEST(TensorView, NamesTheNearestBorders) {
  SystemResource memory;
  const auto refusal = [&](ValueFormat format, int64_t first, int64_t last) {
    const Tensor base = Tensor::zeros(shape_of({2, 256}), format, memory).value();
    const Result<Tensor> view = base.slice(1, first, last);
    EXPECT_THAT(view, fails_with(ErrorCode::kInvalidArgument));
    return view ? std::string() : view.error().message;
  };
  EXPECT_THAT(refusal({kQ8_0}, 40, 256), HasSubstr("expected 32 or 64, found 40"));
  EXPECT_THAT(refusal({kQ8_0}, 32, 65), HasSubstr("expected 64 or 96, found 65"));
  EXPECT_THAT(refusal({kTQ2_0}, 0, 128), HasSubstr("expected 0 or 256, found 128"));
  EXPECT_THAT(refusal({kQ4_0, ScaleGroup::kRow}, 3, 8), HasSubstr("expected 2 or 4, found 3"));
  EXPECT_THAT(refusal({kQ1_0, ScaleGroup::k64}, 0, 32), HasSubstr("expected 0 or 64, found 32"));
  const Tensor odd = Tensor::zeros(shape_of({2, 70}), ValueFormat{kQ1_0, ScaleGroup::k64}, memory).value();
  EXPECT_THAT(odd.slice(1, 64, 70), is_ok());
  EXPECT_THAT(odd.slice(1, 0, 69).error().message, HasSubstr("expected 64 or 70, found 69"));
}

TEST(TensorView, RefusesHostileArguments) {
  SystemResource memory;
  const auto refused = fails_with(ErrorCode::kInvalidArgument);
  const Tensor t = *Tensor::zeros(shape_of({3, 256}), kQ8_0, memory);
  EXPECT_THAT(t.slice(2, 0, 1), refused);
  EXPECT_THAT(t.slice(SIZE_MAX, 0, 1), refused);
  EXPECT_THAT(t.slice(0, -1, 1), refused);
  EXPECT_THAT(t.slice(0, 2, 1), refused);
  EXPECT_THAT(t.slice(0, 0, 4), refused);
  EXPECT_THAT(t.slice(0, INT64_MIN, INT64_MAX), refused);
  EXPECT_THAT(t.transpose(std::vector<size_t>{0}), refused);
  EXPECT_THAT(t.transpose(std::vector<size_t>{0, 0}), refused);
  EXPECT_THAT(t.transpose(std::vector<size_t>{0, 7}), refused);
  EXPECT_THAT(t.transpose(), refused);  // a row of blocks stays a row
  EXPECT_THAT(t.broadcast_to(shape_of({256})), refused);
  EXPECT_THAT(t.broadcast_to(shape_of({2, 256})), refused);
  EXPECT_THAT(t.broadcast_to(shape_of({3, 512})), refused);
  const Tensor row = *Tensor::zeros(shape_of({1, 256}), kF32, memory);
  EXPECT_THAT(row.broadcast_to(shape_of({int64_t{1} << 53, 256})), refused);  // 2^63 bytes
  EXPECT_EQ(row.broadcast_to(shape_of({int64_t{1} << 52, 256}))->size_bytes(), uint64_t{1} << 62);
  const Tensor one = *Tensor::zeros(Shape(), ValueFormat{kQ8_0, ScaleGroup::kTensor}, memory);
  EXPECT_THAT(one.broadcast_to(shape_of({4})), refused);
  EXPECT_THAT(one.broadcast_to(shape_of({1, 1})), is_ok());
  EXPECT_EQ(t.slice(0, 3, 3)->elements(), 0u);
  EXPECT_TRUE(t.slice(0, 3, 3)->bytes()->empty());
  Tensor wide = t.slice(0, 0, 1)->broadcast_to(shape_of({2, 256})).value();
  EXPECT_THAT(wide.bytes(), refused);
  EXPECT_THAT(wide.mutable_bytes(), refused);
  EXPECT_THAT(wide.reformat({kQ8_0}), refused);
}

TEST(TensorView, OfPlanarRowsIsReadInParts) {
  SystemResource memory;
  for (const ScaleGroup scales : {ScaleGroup::kRow, ScaleGroup::kTensor, ScaleGroup::k32}) {
    const ValueFormat format{Encoding::kQ4_0, scales};
    const Tensor whole = *Tensor::from_values(numbered(2 * 5 * 70), shape_of({2, 5, 70}), format, memory);
    const std::array<size_t, 3> axes{1, 0, 2};
    const Tensor view = *whole.transpose(axes);
    const Tensor expected = *view.clone(memory);
    const FormatLayout layout = *format_layout(format, 10, 70);
    std::vector<std::byte> found(expected.size_bytes());
    for (uint64_t row = 0; row < 10; row += 4) {
      const uint64_t scale = row * layout.row_scales * sizeof(float);
      view.read_rows(row, std::min<uint64_t>(4, 10 - row), found.data() + row * layout.row_bytes,
                     found.data() + layout.scale_offset + scale);
    }
    const std::span<const std::byte> bytes = *expected.bytes();
    EXPECT_TRUE(std::ranges::equal(found, bytes)) << to_string(format);
  }
}

TEST(TensorView, OfRowsHasPlanes) {
  SystemResource memory;
  const Tensor base =
      *Tensor::from_values(numbered(4 * 70), shape_of({4, 70}), ValueFormat{kQ4_0, ScaleGroup::k32}, memory);
  const Tensor part = base.slice(0, 1, 3).value();
  EXPECT_FALSE(part.is_contiguous());
  EXPECT_EQ(part.codes()->data(), base.codes()->data() + 35);
  EXPECT_EQ(part.codes()->size(), 70u);
  EXPECT_EQ(part.scales()->data(), base.scales()->data() + 3);
  EXPECT_EQ(part.scales()->size(), 6u);
  EXPECT_THAT(base.slice(1, 0, 32)->codes(), fails_with(ErrorCode::kInvalidArgument));
  const Tensor all = *Tensor::ones(shape_of({4, 3}), ValueFormat{kQ8_0, ScaleGroup::kTensor}, memory);
  EXPECT_EQ(all.slice(0, 2, 4)->scales()->data(), all.scales()->data());
  EXPECT_EQ(all.slice(0, 2, 4)->codes()->data(), all.codes()->data() + 6);
}

TEST(BitView, ShowsTheBitsAndSaysSo) {
  SystemResource memory;
  Tensor half = *Tensor::ones(shape_of({2, 4}), DType::kF16, memory);
  half.set_name("w");
  const Tensor bits = half.bit_view({kBF16}).value();
  EXPECT_EQ(bits.values<uint16_t>().value()[0], 0x3C00);
  EXPECT_EQ(values_of(bits)[0], bf16_to_f32(0x3C00));
  EXPECT_EQ(bits.name(), "w, bits as bf16");
  EXPECT_EQ(half.name(), "w");
  EXPECT_TRUE(bits.shares_storage_with(half));
  EXPECT_NE(bits.content_key(), half.content_key());
  EXPECT_EQ(half.transpose()->bit_view({kRawI16})->format(), ValueFormat{kRawI16});
  const auto refused = fails_with(ErrorCode::kInvalidArgument);
  EXPECT_THAT(half.bit_view({kF32}), refused);
  EXPECT_THAT(half.bit_view({kQ8_0, ScaleGroup::kRow}), refused);
  EXPECT_THAT(half.bit_view({static_cast<Encoding>(99)}), refused);
  const Tensor ternary = *Tensor::ones(shape_of({8}), ValueFormat{kTQ2_0, ScaleGroup::kRow}, memory);
  EXPECT_THAT(ternary.bit_view({kQ2_0, ScaleGroup::kRow}), is_ok());
  EXPECT_THAT(ternary.bit_view({kQ2_0, ScaleGroup::kTensor}), refused);
  EXPECT_THAT(ternary.bit_view({kQ4_0, ScaleGroup::kRow}), refused);
}

// The memory of the CPU under another device's name.
class ElsewhereResource final : public ResourceWrapper {
 public:
  ElsewhereResource(MemoryResource& upstream, Device device) : ResourceWrapper(upstream), device_(device) {}

 private:
  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override {
    return upstream().allocate(bytes, alignment, stream);
  }
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override {
    return upstream().deallocate(pointer, bytes, alignment, stream);
  }
  Device do_device() const override { return device_; }
  Device device_;
};

TEST(ToDevice, SharesOnTheSameAndRefusesOneThatTheBuildLacks) {
  SystemResource memory;
  ElsewhereResource cuda(memory, Device{DeviceKind::kCuda, 0});
  const Tensor tensor = *Tensor::ones(shape_of({4}), kF32, memory);
  const uint64_t before = memory.usage().allocations;
  EXPECT_TRUE(tensor.to_device(memory)->shares_storage_with(tensor));
  EXPECT_EQ(tensor.to_device(memory)->id(), tensor.id());
  const Result<Tensor> moved = tensor.to_device(cuda);
  ASSERT_THAT(moved, fails_with(ErrorCode::kUnsupported));
  EXPECT_THAT(moved.error().message, HasSubstr("LOBIT_CUDA"));
  EXPECT_THAT(tensor.clone(cuda), fails_with(ErrorCode::kUnsupported));
  EXPECT_THAT(Tensor().clone(cuda), fails_with(ErrorCode::kUnsupported));  // which has no resource
  EXPECT_THAT(Tensor().to_device(cuda), fails_with(ErrorCode::kUnsupported));
  EXPECT_EQ(memory.usage().allocations, before);

  EXPECT_THAT(Tensor::ones(shape_of({4}), kF32, cuda), fails_with(ErrorCode::kUnsupported));
  Tensor there = *Tensor::empty(shape_of({4}), kF32, cuda);
  EXPECT_EQ(there.device(), (Device{DeviceKind::kCuda, 0}));
  EXPECT_THAT(there.values<float>(), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(there.mutable_bytes(), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(there.contiguous(memory), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(there.to_device(memory), fails_with(ErrorCode::kUnsupported));
  EXPECT_EQ(there.to_string(2), "Tensor [4] f32 cuda:0 16 B");
}

}  // namespace
}  // namespace lobit
