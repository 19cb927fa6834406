#include "lobit/ops/op_profiler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/base/thread_pool.h"
#include "lobit/tensor/tensor_test_support.h"

namespace lobit {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::SizeIs;

// A call of `op` that is said to read `bytes` and to last as many nanoseconds.
OpRecord call_of(std::string_view op, uint64_t bytes) {
  OpRecord call;
  call.op = op;
  call.input_count = 1;
  call.inputs[0] = {shape_of({8}), ValueFormat{Encoding::kQ8_0}};
  call.output = {shape_of({8}), ValueFormat{Encoding::kF32}};
  call.bytes_read = bytes;
  call.bytes_written = 2 * bytes;
  call.arithmetic = 3 * bytes;
  call.duration_ns = bytes;
  return call;
}

TEST(OpProfiler, AddsUpCallsOfOneKind) {
  OpProfiler profiler;
  profiler.record(call_of("exp", 10));
  profiler.record(call_of("add", 100));
  profiler.record(call_of("exp", 30));
  const OpProfile profile = profiler.profile();
  ASSERT_THAT(profile.totals, ElementsAre(Field(&OpTotals::op, "add"), Field(&OpTotals::op, "exp")));
  const OpTotals& exp = profile.totals[1];
  EXPECT_EQ(exp.formats, "q8_0 -> f32");
  EXPECT_EQ(exp.calls, 2);
  EXPECT_EQ(exp.bytes_read, 40);
  EXPECT_EQ(exp.bytes_written, 80);
  EXPECT_EQ(exp.arithmetic, 120);
  EXPECT_EQ(exp.duration_ns, 40);
  EXPECT_EQ(exp.longest_ns, 30);
  EXPECT_THAT(profile.calls, SizeIs(3));
  EXPECT_EQ(profile.calls_left_out, 0);
}

TEST(OpProfiler, KeepsTheFirstCallsAndTheTotalsOfAll) {
  OpProfiler profiler(2);
  for (uint64_t i = 1; i <= 5; ++i) profiler.record(call_of("exp", i));
  const OpProfile profile = profiler.profile();
  EXPECT_THAT(profile.calls, ElementsAre(Field(&OpRecord::bytes_read, 1), Field(&OpRecord::bytes_read, 2)));
  EXPECT_EQ(profile.calls_left_out, 3);
  ASSERT_THAT(profile.totals, SizeIs(1));
  EXPECT_EQ(profile.totals[0].bytes_read, 15);
  profiler.clear();
  EXPECT_THAT(profiler.profile().totals, SizeIs(0));
  EXPECT_EQ(profiler.profile().calls_left_out, 0);
}

TEST(OpScope, TellsWhatWasReadAndWritten) {
  SystemResource memory;
  const Tensor row = *Tensor::ones(shape_of({1, 64}), DType::kF32, memory);
  const Tensor repeated = *row.broadcast_to(shape_of({10, 64}));
  OpProfiler profiler;
  {
    OpScope scope(&profiler, "add", 2);
    scope.reads(repeated);
    scope.reads(row);
    scope.writes(shape_of({10, 64}), ValueFormat{Encoding::kF16});
    scope.counts(640);
  }
  const OpProfile profile = profiler.profile();
  ASSERT_THAT(profile.calls, SizeIs(1));
  const OpRecord& call = profile.calls[0];
  EXPECT_EQ(call.op, "add");
  EXPECT_EQ(call.bytes_read, 2 * 64 * sizeof(float)) << "what is repeated is read once";
  EXPECT_EQ(call.bytes_written, 10 * 64 * 2);
  EXPECT_EQ(call.inputs[0].shape, shape_of({10, 64}));
  EXPECT_EQ(call.arithmetic, 640);
  EXPECT_EQ(call.threads, 2);
  EXPECT_EQ(profile.totals[0].formats, "f32, f32 -> f16");
}

TEST(OpScope, TimesItsLife) {
  OpProfiler profiler;
  const uint64_t before = profiler.now();
  {
    OpScope scope(&profiler, "wait");
    while (profiler.now() < before + 100'000) {
    }
  }
  const uint64_t after = profiler.now();
  const OpRecord call = profiler.profile().calls.at(0);
  EXPECT_GE(call.start_ns, before);
  EXPECT_GE(call.start_ns + call.duration_ns, before + 100'000);
  EXPECT_LE(call.start_ns + call.duration_ns, after);
}

TEST(OpScope, SaysNothingOfWhatFailedOrWithoutAProfiler) {
  OpProfiler profiler;
  {
    OpScope scope(&profiler, "add");
    scope.drop();
    OpScope none(nullptr, "add");
    none.writes(shape_of({1}), ValueFormat{});
  }
  EXPECT_THAT(profiler.profile().calls, SizeIs(0));
}

TEST(OpProfiler, TakesReportsFromSeveralThreads) {
  OpProfiler profiler(100);
  ThreadPool pool = *ThreadPool::create(3);
  pool.run([&](size_t) {
    for (int i = 0; i < 100; ++i) {
      const OpScope scope(&profiler, "exp");
      static_cast<void>(profiler.profile());
    }
  });
  const OpProfile profile = profiler.profile();
  EXPECT_EQ(profile.totals.at(0).calls, 300);
  EXPECT_EQ(profile.calls.size() + profile.calls_left_out, 300);
}

}  // namespace
}  // namespace lobit
