#include "bench/trace/transformer.h"

#include <algorithm>
#include <vector>

namespace lobit::bench {
namespace {

constexpr size_t kLayers = 16;
constexpr size_t kHidden = 1024;
constexpr size_t kFeedForward = 4096;
constexpr size_t kHeads = 16;
constexpr size_t kVocabulary = 20'000;
constexpr size_t kHalf = 2;  // bytes of an F16
constexpr size_t kFloat = 4;
constexpr size_t kHeaderBytes = 176;
constexpr size_t kActive = 8;
constexpr size_t kConcatTokens = 32;
constexpr size_t kPageTokens = 16;

struct Tensor {
  uint32_t data;
  uint32_t header;
};

struct Range {
  size_t least;
  size_t most;
};
constexpr Range kPromptTokens{128, 1024};
constexpr Range kAnswerTokens{64, 308};

// The keys or the values of one layer of a request.
struct KvCache {
  std::vector<Tensor> tensors;
  size_t capacity = 0;  // tokens
};

struct Request {
  size_t tokens;  // in the context
  size_t answer;  // still to decode
  std::vector<KvCache> caches = std::vector<KvCache>(2 * kLayers);
};

class Transformer {
 public:
  explicit Transformer(KvGrowth growth) : growth_(growth) {}

  BlockTrace serve(size_t requests) && {
    load_weights();
    while (requests > 0 || !active_.empty()) {
      while (requests > 0 && active_.size() < kActive) {
        --requests;
        active_.push_back({.tokens = pick(kPromptTokens), .answer = pick(kAnswerTokens)});
        prefill(active_.back());
      }
      decode();
      drop_finished();
    }
    return std::move(builder_).finish();
  }

 private:
  Tensor make(size_t bytes) { return {builder_.allocate(bytes), builder_.allocate(kHeaderBytes)}; }
  Tensor make_rows(size_t rows, size_t width) { return make(rows * width * kHalf); }
  void drop(Tensor tensor) {
    builder_.free(tensor.data);
    builder_.free(tensor.header);
  }

  size_t pick(Range range) {
    random_ = random_ * 6364136223846793005u + 1442695040888963407u;
    return range.least + static_cast<size_t>((random_ >> 33) % (range.most - range.least + 1));
  }

  void load_weights() {
    make_rows(kVocabulary, kHidden);  // the output layer uses it too
    for (size_t layer = 0; layer < kLayers; ++layer) {
      make_rows(1, kHidden);
      for (int matrix = 0; matrix < 4; ++matrix) make_rows(kHidden, kHidden);
      make_rows(1, kHidden);
      for (int matrix = 0; matrix < 3; ++matrix) make_rows(kHidden, kFeedForward);
    }
    make_rows(1, kHidden);
  }

  void grow(KvCache& cache, size_t tokens) {
    if (growth_ == KvGrowth::kPaged) {
      for (; cache.capacity < tokens; cache.capacity += kPageTokens) {
        cache.tensors.push_back(make_rows(kPageTokens, kHidden));
      }
    } else if (cache.capacity < tokens) {
      cache.capacity = (tokens + kConcatTokens - 1) / kConcatTokens * kConcatTokens;
      const Tensor longer = make_rows(cache.capacity, kHidden);
      if (!cache.tensors.empty()) drop(cache.tensors.front());
      cache.tensors = {longer};
    }
  }

  // One layer for `rows` tokens of some requests, whose queries meet `scores` keys in all. Returns its output
  // and frees its input.
  Tensor run_layer(size_t layer, Tensor input, size_t rows, size_t scores,
                   const std::vector<Request*>& requests) {
    const Tensor normed = make_rows(rows, kHidden);
    const Tensor query = make_rows(rows, kHidden);
    const Tensor key = make_rows(rows, kHidden);
    const Tensor value = make_rows(rows, kHidden);
    drop(normed);
    for (Request* request : requests) {
      grow(request->caches[2 * layer], request->tokens);
      grow(request->caches[2 * layer + 1], request->tokens);
    }
    drop(key);
    drop(value);
    const Tensor weights = make_rows(scores, kHeads);
    drop(query);
    const Tensor mixed = make_rows(rows, kHidden);
    drop(weights);
    const Tensor attended = make_rows(rows, kHidden);
    drop(mixed);
    drop(input);
    return feed_forward(attended, rows);
  }

  Tensor feed_forward(Tensor input, size_t rows) {
    const Tensor normed = make_rows(rows, kHidden);
    const Tensor gate = make_rows(rows, kFeedForward);
    const Tensor up = make_rows(rows, kFeedForward);
    drop(normed);
    const Tensor product = make_rows(rows, kFeedForward);
    drop(gate);
    drop(up);
    const Tensor output = make_rows(rows, kHidden);
    drop(product);
    drop(input);
    return output;
  }

  // `rows` tokens through the model; the last one of each request becomes a new token.
  void run_model(size_t rows, size_t scores, const std::vector<Request*>& requests) {
    const Tensor tokens = make(rows * kFloat);
    const Tensor positions = make(rows * kFloat);
    Tensor state = make_rows(rows, kHidden);
    drop(tokens);
    for (size_t layer = 0; layer < kLayers; ++layer) state = run_layer(layer, state, rows, scores, requests);
    drop(positions);
    const Tensor normed = make_rows(requests.size(), kHidden);
    drop(state);
    const Tensor logits = make_rows(requests.size(), kVocabulary);
    drop(normed);
    const Tensor chances = make(requests.size() * kVocabulary * kFloat);
    drop(logits);
    const Tensor chosen = make(requests.size() * kFloat);
    drop(chances);
    drop(chosen);
  }

  void prefill(Request& request) { run_model(request.tokens, request.tokens * request.tokens, {&request}); }

  void decode() {
    std::vector<Request*> requests;
    size_t scores = 0;
    for (Request& request : active_) {
      ++request.tokens;
      --request.answer;
      scores += request.tokens;
      requests.push_back(&request);
    }
    run_model(requests.size(), scores, requests);
  }

  void drop_finished() {
    for (Request& request : active_) {
      if (request.answer > 0) continue;
      for (KvCache& cache : request.caches) {
        for (const Tensor tensor : cache.tensors) drop(tensor);
      }
    }
    std::erase_if(active_, [](const Request& request) { return request.answer == 0; });
  }

  KvGrowth growth_;
  BlockTraceBuilder builder_;
  std::vector<Request> active_;
  uint64_t random_ = 1;
};

}  // namespace

BlockTrace transformer_trace(KvGrowth growth, size_t requests) {
  return Transformer(growth).serve(requests);
}

}  // namespace lobit::bench
