#include "lobit/convert/file_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/convert/conversion_engine.h"
#include "lobit/convert/memory_test_support.h"
#include "lobit/convert/streaming_converter.h"
#include "lobit/convert/tensor_test_support.h"

namespace lobit {
namespace {

constexpr uint64_t kElements = 256 * 1024;

class FileStreamTest : public ::testing::Test {
 protected:
  FileStreamTest() {
    // Sixteen bytes that belong to something else, then the values.
    std::vector<std::byte> bytes(16);
    const auto encoded = test_encoded(Encoding::kF32, values_);
    bytes.insert(bytes.end(), encoded.begin(), encoded.end());
    static_cast<void>(write_file(folder_.path() / "in", bytes));
    file_.emplace(File::open(folder_.path() / "in").value());
    from_ = {.source = &*file_, .offset = 16, .encoding = Encoding::kF32, .elements = kElements, .name = "w"};
  }

  // What an engine writes behind eight bytes.
  std::string stream(ConversionEngine& engine, Encoding to, uint64_t chunk_size = 0) {
    const uint64_t bytes = encoded_bytes(to, kElements).value();
    OutputFile out = OutputFile::create(folder_.path() / "out", 8 + bytes).value();
    const auto facts =
        engine.streaming_convert(from_, {.file = &out, .offset = 8, .encoding = to}, chunk_size);
    EXPECT_THAT(facts, is_ok());
    if (facts) facts_ = *facts;
    EXPECT_THAT(out.commit(), is_ok());
    return file_text(folder_.path() / "out").substr(8);
  }

  TemporaryFolder folder_;
  std::vector<float> values_ = test_weights(kElements);
  std::optional<File> file_;
  FileValues from_;
  FileStreamFacts facts_;
  std::unique_ptr<HybridMemoryPool> pool_ = HybridMemoryPool::create().value();
};

ConversionConfig small_config(size_t threads) {
  ConversionConfig config;
  config.default_quality = ConversionQuality::kFast;
  config.worker_threads = threads;
  config.streaming = {.chunk_size = 64 << 10, .parallel_chunks = threads, .buffer_size = 256 << 10};
  return config;
}

TEST_F(FileStreamTest, GivesTheBytesOfAConversionInOnePiece) {
  for (const size_t threads : {size_t{1}, size_t{3}}) {
    const auto engine = ConversionEngine::create(small_config(threads), *pool_).value();
    for (const Encoding to : {Encoding::kF16, Encoding::kQ8_0, Encoding::kTQ2_0, Encoding::kQ4_1}) {
      const auto expected = test_encoded(to, values_);
      for (const uint64_t chunk : {uint64_t{0}, uint64_t{1}, uint64_t{100'000}}) {
        const std::string written = stream(*engine, to, chunk == 1 && to != Encoding::kTQ2_0 ? 4096 : chunk);
        EXPECT_EQ(written.size(), expected.size());
        EXPECT_TRUE(std::ranges::equal(std::as_bytes(std::span(written)), expected)) << encoding_name(to);
      }
    }
  }
}

// Codes and scales, whatever the chunks: rows that begin within a byte's codes, short last groups, one row.
class PlanarFileStreamTest : public FileStreamTest {
 protected:
  // What an engine makes of a file with the tensor's bytes.
  std::vector<std::byte> stream(ConversionEngine& engine, const Tensor& source, ValueFormat to,
                                uint64_t chunk_size) {
    const ValueFormat from = source.format();
    const uint64_t columns = source.shape().row_elements();
    static_cast<void>(write_file(folder_.path() / "planar", bytes_of(source)));
    const File file = File::open(folder_.path() / "planar").value();
    const uint64_t bytes = format_layout(to, source.shape().rows(), columns)->bytes;
    OutputFile out = OutputFile::create(folder_.path() / "out", bytes).value();
    const FileValues values{.source = &file,
                            .encoding = from.encoding,
                            .elements = source.elements(),
                            .name = "w",
                            .scales = from.scales,
                            .columns = columns};
    const auto facts = engine.streaming_convert(
        values, {.file = &out, .encoding = to.encoding, .scales = to.scales}, chunk_size);
    EXPECT_THAT(facts, is_ok());
    EXPECT_EQ(facts ? facts->target_bytes : 0, bytes);
    EXPECT_THAT(out.commit(), is_ok());
    const std::string text = file_text(folder_.path() / "out");
    const auto written = std::as_bytes(std::span(text));
    return {written.begin(), written.end()};
  }
};

constexpr ValueFormat kPlanarFormats[] = {
    {Encoding::kQ8_0, ScaleGroup::kRow},     {Encoding::kQ4_0, ScaleGroup::kRow},
    {Encoding::kQ4_0, ScaleGroup::k64},      {Encoding::kQ8_0, ScaleGroup::k32},
    {Encoding::kTQ2_0, ScaleGroup::kTensor}, {Encoding::kQ1_0, ScaleGroup::kTensor},
    {Encoding::kQ2_0, ScaleGroup::k128}};

TEST_F(PlanarFileStreamTest, GivesTheBytesOfAConversionInOnePiece) {
  for (const size_t threads : {size_t{1}, size_t{3}}) {
    const auto engine = ConversionEngine::create(small_config(threads), *pool_).value();
    for (const Shape& shape : {shape_of({57, 203}), shape_of({40, 256}), shape_of({1, 9001})}) {
      const Tensor source = test_tensor(shape, DType::kF32, *pool_);
      for (const ValueFormat format : kPlanarFormats) {
        SCOPED_TRACE(to_string(format) + " " + shape.to_string());
        const Tensor planar = engine->convert(source, format).value();
        const auto plain = bytes_of(engine->convert(planar, DType::kF16).value());
        const ValueFormat other{Encoding::kQ8_0, ScaleGroup::k64};
        const auto again = bytes_of(engine->convert(planar, other).value());
        for (const uint64_t chunk : {uint64_t{512}, uint64_t{1} << 20}) {
          EXPECT_EQ(stream(*engine, source, format, chunk), bytes_of(planar));
          EXPECT_EQ(stream(*engine, planar, {Encoding::kF16}, chunk), plain);
          EXPECT_EQ(stream(*engine, planar, other, chunk), again);
          EXPECT_EQ(stream(*engine, planar, format, chunk), bytes_of(planar));
        }
      }
    }
  }
}

TEST_F(PlanarFileStreamTest, OneScaleForAllIsForTheDirectMethod) {
  ConversionConfig config = small_config(1);
  config.default_quality = ConversionQuality::kBalanced;
  const auto engine = ConversionEngine::create(config, *pool_).value();
  OutputFile out = OutputFile::create(folder_.path() / "out", kElements * 2).value();
  FileTarget to{.file = &out, .encoding = Encoding::kQ8_0, .scales = ScaleGroup::kTensor};
  const auto refused = engine->streaming_convert(from_, to);
  ASSERT_THAT(refused, fails_with(ErrorCode::kUnsupported));
  EXPECT_THAT(refused.error().message, ::testing::HasSubstr("all values of a scale in memory at once"));
  from_.columns = 1024;
  to.scales = ScaleGroup::kRow;
  EXPECT_THAT(engine->streaming_convert(from_, to), is_ok());
}

class CountingSource final : public ByteSource {
 public:
  explicit CountingSource(const ByteSource& source) : source_(source) {}
  const std::string& name() const override { return source_.name(); }
  uint64_t size() const override { return source_.size(); }
  Status read_at(uint64_t offset, std::span<std::byte> out) const override {
    ++reads;
    return source_.read_at(offset, out);
  }
  mutable size_t reads = 0;

 private:
  const ByteSource& source_;
};

TEST_F(FileStreamTest, MeasuringIsWatchedAndStopped) {
  const auto engine = ConversionEngine::create(small_config(1), *pool_).value();
  OutputFile out = OutputFile::create(folder_.path() / "out", kElements + 4).value();
  const FileTarget to{.file = &out, .encoding = Encoding::kQ8_0, .scales = ScaleGroup::kTensor};
  constexpr uint64_t kBytes = kElements * 4;
  std::vector<Progress> seen;
  RunControl control{
      .progress = [&](const Progress& p) { seen.push_back({p.bytes_done, p.bytes_total, {}}); }};
  ASSERT_THAT(engine->streaming_convert(from_, to, 64 << 10, control), is_ok());
  // The first chunk and the end of either pass at least.
  ASSERT_GE(seen.size(), 4u);
  EXPECT_EQ(seen.front().bytes_done, 64u << 10);
  EXPECT_TRUE(std::ranges::is_sorted(seen, {}, &Progress::bytes_done));
  EXPECT_GE(std::ranges::count(seen, kBytes, &Progress::bytes_done), 1);
  for (const Progress& p : seen) EXPECT_EQ(p.bytes_total, 2 * kBytes);
  EXPECT_EQ(seen.back().bytes_done, 2 * kBytes);

  std::stop_source stop;
  control = {.progress = [&](const Progress&) { stop.request_stop(); }, .stop = stop.get_token()};
  const CountingSource counted(*from_.source);
  from_.source = &counted;
  EXPECT_THAT(engine->streaming_convert(from_, to, 64 << 10, control), fails_with(ErrorCode::kCancelled));
  EXPECT_EQ(counted.reads, 1u);
}

TEST_F(PlanarFileStreamTest, AnInfIsNamedOrMadeFinite) {
  std::vector<float> values = test_weights(1000);
  values[777] = -std::numeric_limits<float>::infinity();
  const Tensor source = Tensor::from_values(values, shape_of({10, 100}), DType::kF32, *pool_).value();
  for (const ScaleGroup scales : {ScaleGroup::kRow, ScaleGroup::kTensor, ScaleGroup::k32}) {
    const ValueFormat to{Encoding::kQ4_0, scales};
    ConversionConfig config = small_config(1);
    config.overflow = OverflowRule::kSaturate;
    const auto saturating = ConversionEngine::create(config, *pool_).value();
    EXPECT_EQ(stream(*saturating, source, to, 500), bytes_of(saturating->convert(source, to).value()));
    const auto strict = ConversionEngine::create(small_config(1), *pool_).value();
    const File file = File::open(folder_.path() / "planar").value();
    OutputFile out = OutputFile::create(folder_.path() / "out", 8000).value();
    const FileValues from{.source = &file, .elements = 1000, .name = "w", .columns = 100};
    const auto refused =
        strict->streaming_convert(from, {.file = &out, .encoding = to.encoding, .scales = scales});
    ASSERT_THAT(refused, fails_with(ErrorCode::kDataLoss));
    EXPECT_EQ(refused.error().detail.index, 777u);
  }
}

// In groups that fit a tile and in longer ones, whose values are seen piece by piece, wherever they go.
TEST_F(PlanarFileStreamTest, WhatIsMadeFiniteIsTheSameOnEveryWay) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const ConversionQuality quality : {ConversionQuality::kFast, ConversionQuality::kBalanced}) {
    ConversionConfig config = small_config(2);
    config.default_quality = quality;
    config.overflow = OverflowRule::kSaturate;
    const auto engine = ConversionEngine::create(config, *pool_).value();
    for (const Shape& shape : {shape_of({10, 100}), shape_of({3, 5003}), shape_of({1, 9001})}) {
      std::vector<float> values = test_weights(shape.elements());
      values[77] = kInf;
      values[shape.elements() / 2] = std::numeric_limits<float>::quiet_NaN();
      values[shape.elements() - 5] = -kInf;
      const Tensor source = Tensor::from_values(values, shape, DType::kF32, *pool_).value();
      for (const Encoding encoding :
           {Encoding::kQ8_0, Encoding::kQ4_0, Encoding::kQ2_0, Encoding::kTQ2_0, Encoding::kQ1_0}) {
        for (const ScaleGroup scales : {ScaleGroup::kTensor, ScaleGroup::kRow}) {
          const ValueFormat to{encoding, scales};
          SCOPED_TRACE(to_string(to) + " " + shape.to_string());
          const auto expected = bytes_of(engine->convert(source, to).value());
          EXPECT_EQ(bytes_of(engine->streaming_convert(source, to, 4096).value()), expected);
          Tensor in_place = source.clone(*pool_).value();
          ASSERT_THAT(engine->in_place_convert(in_place, to), is_ok());
          EXPECT_EQ(bytes_of(in_place), expected);
          if (quality == ConversionQuality::kBalanced && scales == ScaleGroup::kTensor) continue;
          EXPECT_EQ(stream(*engine, source, to, 500), expected);
        }
      }
    }
  }
}

TEST_F(FileStreamTest, StaysWithinTheLimitWithValuesThatAreLarger) {
  ConversionConfig config = small_config(2);
  config.max_memory_usage = 100'000;  // of a tensor of 1 MiB
  const auto engine = ConversionEngine::create(config, *pool_).value();
  const auto expected = test_encoded(Encoding::kQ8_0, values_);
  const std::string written = stream(*engine, Encoding::kQ8_0);
  EXPECT_TRUE(std::ranges::equal(std::as_bytes(std::span(written)), expected));
  EXPECT_LE(pool_->usage().peak_allocated, 100'000u);
  EXPECT_EQ(engine->stats().memory_stats.peak_memory_usage, facts_.buffer_bytes);
  EXPECT_EQ(engine->recent_events(1)[0].peak_bytes, facts_.buffer_bytes);
  EXPECT_EQ(engine->recent_events(1)[0].input_bytes, kElements * 4);
}

TEST_F(FileStreamTest, ALimitTooSmallNamesTheLeastThatWorks) {
  ConversionConfig config = small_config(1);
  config.max_memory_usage = 1000;
  const auto small = ConversionEngine::create(config, *pool_).value();
  OutputFile out =
      OutputFile::create(folder_.path() / "out", encoded_bytes(Encoding::kQ8_0, kElements).value()).value();
  const auto refused = small->streaming_convert(from_, {.file = &out, .encoding = Encoding::kQ8_0});
  ASSERT_THAT(refused, fails_with(ErrorCode::kLimit));
  config.max_memory_usage = *refused.error().detail.required;
  const auto least = ConversionEngine::create(config, *pool_).value();
  EXPECT_THAT(least->streaming_convert(from_, {.file = &out, .encoding = Encoding::kQ8_0}), is_ok());
}

TEST_F(FileStreamTest, BuffersDecideTheNumberOfWorkers) {
  ConversionConfig config = small_config(3);
  config.streaming.buffer_size = 1 << 20;
  const auto wide = ConversionEngine::create(config, *pool_).value();
  stream(*wide, Encoding::kF16);
  EXPECT_EQ(facts_.workers, 3u);
  EXPECT_LE(facts_.buffer_bytes, config.streaming.buffer_size);
  config.streaming.buffer_size = 128 << 10;
  const auto narrow = ConversionEngine::create(config, *pool_).value();
  stream(*narrow, Encoding::kF16);
  EXPECT_EQ(facts_.workers, 1u);
  EXPECT_LE(facts_.buffer_bytes, config.streaming.buffer_size);
}

TEST_F(FileStreamTest, ErrorsNameThePlace) {
  const auto engine = ConversionEngine::create(small_config(1), *pool_).value();
  OutputFile out = OutputFile::create(folder_.path() / "out", kElements * 4).value();
  FileValues values = from_;
  values.elements = kElements + 32;
  auto result = engine->streaming_convert(values, {.file = &out, .encoding = Encoding::kQ8_0});
  ASSERT_THAT(result, fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(result.error().detail.offset, 16u);
  values.elements = 33;
  result = engine->streaming_convert(values, {.file = &out, .encoding = Encoding::kQ8_0});
  EXPECT_THAT(result, fails_with(ErrorCode::kInvalidArgument));
  result = engine->streaming_convert(from_, {.file = &out, .encoding = Encoding::kQ4_K});
  ASSERT_THAT(result, fails_with(ErrorCode::kUnsupported));
  EXPECT_EQ(result.error().detail.to, "q4_k");
  EXPECT_EQ(engine->stats().failures, 3u);
}

TEST_F(FileStreamTest, EveryFailedAllocationIsReportedAndNothingStays) {
  OutputFile out = OutputFile::create(folder_.path() / "out", kElements * 2).value();
  const auto used = fail_each_allocation(
      [&](MemoryResource& memory) {
        const auto engine = ConversionEngine::create(small_config(2), memory).value();
        return engine->streaming_convert(from_, {.file = &out, .encoding = Encoding::kF16});
      },
      [] {});
  EXPECT_EQ(used.allocations, 2u);
}

TEST_F(FileStreamTest, AConverterNeedsNoEngine) {
  const auto converter = StreamingConverter::create(small_config(2).streaming).value();
  OutputFile out = OutputFile::create(folder_.path() / "out", kElements * 2).value();
  const auto facts = converter.stream_convert(from_, {.file = &out, .encoding = Encoding::kF16}, *pool_);
  ASSERT_THAT(facts, is_ok());
  EXPECT_EQ(facts->chunks, 16u);
  // Tensors, too: the same bytes on either side of the threshold.
  const Tensor source = test_tensor(shape_of({64, 256}), DType::kF32, *pool_);
  StreamingConfig all = small_config(2).streaming;
  all.streaming_threshold = 0;
  const auto streams = StreamingConverter::create(all).value();
  EXPECT_EQ(bytes_of(converter.stream_convert(source, DType::kF16, *pool_).value()),
            bytes_of(streams.stream_convert(source, DType::kF16, *pool_).value()));
  all.chunk_size = 0;
  EXPECT_THAT(StreamingConverter::create(all), fails_with(ErrorCode::kInvalidArgument));
}

}  // namespace
}  // namespace lobit
