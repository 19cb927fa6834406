#include <utility>

#include <fmt/format.h>

#include "lobit/base/fp_env.h"
#include "lobit/convert/conversion_context_internal.h"
#include "lobit/convert/conversion_plan.h"

namespace lobit::detail {
namespace {

// Where in a call the parts of a conversion are decided.
struct Decision {
  ValueFormat to;
  ConversionStrategy strategy = ConversionStrategy::kStandard;
  FormatLayout layout = {};  // of new values
};

Result<Decision> decide(const ConversionContext& context, const Tensor& source, FormatChoice choice,
                        const ConversionRequest& request, bool may_overwrite) {
  LOBIT_RETURN_IF_ERROR(request.refusal);
  Decision decision{choice.for_shape(source.shape()), request.strategy};
  ConversionQuery query{
      .from = source.format(), .to = decision.to, .shape = source.shape(), .from_bytes = source.size_bytes()};
  query.same = is_converted(source, choice, decision.to);
  if (query.same) {
    decision.to = source.format();
    decision.strategy = ConversionStrategy::kZeroCopy;
    return decision;
  }
  LOBIT_TRY(decision.layout, check_convertible(source, decision.to, request.memory->device()));
  query.may_overwrite = may_overwrite && source.is_exclusive() && source.is_contiguous();
  LOBIT_TRY(decision.strategy, choose_strategy(query, request.strategy, context.config));
  return decision;
}

TensorJobSpec job_spec(ConversionContext& context, ValueFormat to, ConversionStrategy strategy,
                       const ConversionRequest& request) {
  const uint64_t streamed =
      request.chunk_bytes > 0 ? request.chunk_bytes : context.config.streaming.chunk_size;
  return {.to = to,
          .method = quantize_method(request.quality),
          .overflow = context.config.overflow,
          .chunk_bytes = strategy == ConversionStrategy::kStreaming ? streamed : 0,
          .memory = request.memory,
          .account = &context.account};
}

size_t threads_of(const ConversionContext& context, ConversionStrategy strategy) {
  return strategy == ConversionStrategy::kStreaming ? context.config.streaming.parallel_chunks
                                                    : context.config.worker_threads;
}

const RunControl& control_of(const ConversionRequest& request) {
  static const RunControl kNone;
  return request.control == nullptr ? kNone : *request.control;
}

void log_decision(const ConversionContext& context, const Tensor& source, const Decision& decision) {
  context.log([&] {
    return fmt::format("tensor '{}' {}: {} -> {}: {}", source.name(), source.shape().to_string(),
                       to_string(source.format()), to_string(decision.to),
                       conversion_strategy_name(decision.strategy));
  });
}

void record(EventScope& event, const Result<Tensor>& result, const TensorJobFacts& facts) {
  if (result) {
    event.succeed(result->format(), result->size_bytes(), facts);
  } else {
    event.fail(result.error());
  }
}

Result<Tensor> into_new_storage(ConversionContext& context, const Tensor& source, const Decision& decision,
                                const ConversionRequest& request, TensorJobFacts& facts) {
  TensorJob job(source, decision.layout, job_spec(context, decision.to, decision.strategy, request));
  LOBIT_RETURN_IF_ERROR(job.take_memory());
  if (job.is_small()) {
    LOBIT_RETURN_IF_ERROR(job.run({}, control_of(request)));
  } else {
    const ThreadLease lease(context, threads_of(context, decision.strategy));
    LOBIT_RETURN_IF_ERROR(job.run(lease.workers(), control_of(request)));
  }
  facts = job.facts();
  return job.take_result();
}

Status where_it_lies(ConversionContext& context, Tensor& tensor, const Decision& decision,
                     const ConversionRequest& request, TensorJobFacts& facts) {
  const ThreadLease lease(context, threads_of(context, decision.strategy));
  LOBIT_TRY(facts, convert_in_place(tensor, job_spec(context, decision.to, decision.strategy, request),
                                    request.checks, lease.workers(), control_of(request)));
  return {};
}

}  // namespace

Result<std::shared_ptr<ConversionContext>> ConversionContext::create(ConversionConfig config,
                                                                     MemoryResource* memory,
                                                                     const PressureMonitor* pressure) {
  LOBIT_RETURN_IF_ERROR(config.validate());
  LOBIT_TRY(ThreadPool threads, ThreadPool::create(config.worker_threads));
  return std::make_shared<ConversionContext>(std::move(config), memory, std::move(threads), pressure);
}

EventSource::EventSource(const FileValues& values)
    : format{values.encoding, values.scales}, elements(values.elements) {
  const uint64_t columns = values.columns > 0 ? values.columns : std::max<uint64_t>(1, values.elements);
  if (const auto layout = format_layout(format, values.elements / columns, columns)) bytes = layout->bytes;
}

EventScope::EventScope(ConversionContext& context, const EventSource& source, ValueFormat to,
                       ConversionStrategy strategy, ConversionQuality quality)
    : context_(context), enabled_(context.config.enable_metrics) {
  if (!enabled_) return;
  start_ = std::chrono::steady_clock::now();
  event_.strategy = strategy == ConversionStrategy::kAuto ? ConversionStrategy::kStandard : strategy;
  event_.quality = quality;
  event_.device = source.device;
  event_.source_format = source.format;
  event_.target_format = to;
  event_.source_dtype = dtype_of(source.format.encoding);
  event_.target_dtype = dtype_of(to.encoding);
  event_.elements = source.elements;
  event_.input_bytes = source.bytes;
}

void EventScope::succeed(ValueFormat format, uint64_t bytes, const TensorJobFacts& facts) {
  if (!enabled_) return;
  event_.success = true;
  event_.target_format = format;
  event_.output_bytes = bytes;
  event_.allocated_bytes = facts.allocated_bytes;
  event_.peak_bytes = facts.peak_bytes;
  event_.flushed = facts.counts.encode.flushed;
  event_.saturated = facts.counts.saturated;
  event_.chunks = facts.chunks;
  record();
}

void EventScope::fail(const Error& error) {
  if (!enabled_) return;
  event_.success = false;
  event_.error_code = error.code;
  event_.error_message = error.message;
  record();
}

void EventScope::record() {
  event_.duration =
      duration_
          ? *duration_
          : std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start_);
  context_.stats.record(std::move(event_), start_);
}

bool is_converted(const Tensor& tensor, FormatChoice choice, ValueFormat to) {
  if (tensor.format() == to) return true;
  const std::optional<DType> wanted = choice.dtype();
  return wanted && tensor.dtype() == wanted;
}

Result<Tensor> convert_tensor(ConversionContext& context, const Tensor& source, FormatChoice to,
                              const ConversionRequest& request) {
  const ScopedFpEnv fp_env;
  EventScope event(context, EventSource(source), to.for_shape(source.shape()), request.strategy,
                   request.quality);
  TensorJobFacts facts;
  const auto convert = [&]() -> Result<Tensor> {
    LOBIT_TRY(const Decision decision, decide(context, source, to, request, false));
    event.set_strategy(decision.strategy);
    log_decision(context, source, decision);
    if (decision.strategy == ConversionStrategy::kZeroCopy) return source;
    return into_new_storage(context, source, decision, request, facts);
  };
  Result<Tensor> result = convert();
  record(event, result, facts);
  return result;
}

Result<Tensor> convert_consumed(ConversionContext& context, Tensor tensor, FormatChoice to,
                                const ConversionRequest& request) {
  const ScopedFpEnv fp_env;
  EventScope event(context, EventSource(tensor), to.for_shape(tensor.shape()), request.strategy,
                   request.quality);
  TensorJobFacts facts;
  const auto convert = [&]() -> Result<Tensor> {
    LOBIT_TRY(const Decision decision, decide(context, tensor, to, request, true));
    event.set_strategy(decision.strategy);
    log_decision(context, tensor, decision);
    if (decision.strategy == ConversionStrategy::kZeroCopy) return std::move(tensor);
    if (decision.strategy != ConversionStrategy::kInPlace) {
      return into_new_storage(context, tensor, decision, request, facts);
    }
    LOBIT_RETURN_IF_ERROR(where_it_lies(context, tensor, decision, request, facts));
    return std::move(tensor);
  };
  Result<Tensor> result = convert();
  record(event, result, facts);
  return result;
}

Status convert_where_it_lies(ConversionContext& context, Tensor& tensor, FormatChoice choice,
                             const ConversionRequest& request) {
  const ScopedFpEnv fp_env;
  const ValueFormat to = choice.for_shape(tensor.shape());
  EventScope event(context, EventSource(tensor), to, ConversionStrategy::kInPlace, request.quality);
  TensorJobFacts facts;
  const auto convert = [&]() -> Status {
    Decision decision{to, ConversionStrategy::kInPlace};
    if (is_converted(tensor, choice, to)) decision = {tensor.format(), ConversionStrategy::kZeroCopy};
    event.set_strategy(decision.strategy);
    log_decision(context, tensor, decision);
    if (decision.strategy == ConversionStrategy::kZeroCopy) return {};
    LOBIT_RETURN_IF_ERROR(check_convertible(tensor, to, request.memory->device()));
    return where_it_lies(context, tensor, decision, request, facts);
  };
  Status status = convert();
  if (status) {
    event.succeed(tensor.format(), tensor.size_bytes(), facts);
  } else {
    event.fail(status.error());
  }
  return status;
}

Result<FileStreamFacts> convert_file(ConversionContext& context, const FileValues& from, const FileTarget& to,
                                     const ConversionRequest& request) {
  const ScopedFpEnv fp_env;
  EventScope event(context, EventSource(from), {to.encoding, to.scales}, ConversionStrategy::kStreaming,
                   request.quality);
  const StreamingConfig& config = context.config.streaming;
  const ThreadLease lease(context, config.parallel_chunks);
  Result<FileStreamFacts> result =
      stream_file(from, to,
                  {.method = quantize_method(request.quality),
                   .overflow = context.config.overflow,
                   .chunk_bytes = request.chunk_bytes > 0 ? request.chunk_bytes : config.chunk_size,
                   .buffer_bytes = config.buffer_size,
                   .workers = lease.workers(),
                   .control = control_of(request),
                   .memory = request.memory,
                   .account = &context.account});
  if (!result) {
    event.fail(result.error());
    return result;
  }
  TensorJobFacts facts;
  facts.counts = {.encode = {.flushed = result->flushed}, .saturated = result->saturated};
  facts.allocated_bytes = result->buffer_bytes;
  facts.peak_bytes = result->buffer_bytes;
  facts.chunks = result->chunks;
  event.succeed({to.encoding, to.scales}, result->target_bytes, facts);
  return result;
}

tl::unexpected<Error> fail_within(std::string_view place, uint64_t index, Error error) {
  error.message = fmt::format("{}: {}", place, error.message);
  error.detail.index = index;
  return lobit::fail(std::move(error));
}

}  // namespace lobit::detail
