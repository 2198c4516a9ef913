// /v1/embeddings: all inputs are one request of the backend, answered when the last of them is
// there. As base64 an embedding is its numbers as little-endian fp32, which is what OpenAI's Python
// client asks for by default.
#include "core/base64.h"
#include "serve/openai_answer.h"

#include <bit>

namespace tessera::serve {
namespace {

using Json = io::OrderedJson;

std::string little_endian(std::span<const float> values) {
  std::string bytes;
  bytes.reserve(4 * values.size());
  for (const float value : values) {
    const auto bits = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) {
      bytes += static_cast<char>(bits >> shift & 0xFF);
    }
  }
  return bytes;
}

class EmbeddingAnswer : public Answer {
 public:
  EmbeddingAnswer(std::shared_ptr<Exchange> exchange, AnswerTools tools, EmbeddingCall call)
      : Answer(std::move(exchange), std::move(tools)), call_(std::move(call)) {}

  void begin() { start({std::move(call_.request)}); }

 protected:
  void on_text(size_t, std::string_view) override {}
  void on_part(size_t, const Part&) override {}

  void on_embedding(size_t, std::span<const float> values) override {
    Json embedding = call_.base64 ? Json(base64(little_endian(values)))
                                  : Json(std::vector<float>(values.begin(), values.end()));
    data_.push_back(
        {{"object", "embedding"}, {"index", data_.size()}, {"embedding", std::move(embedding)}});
  }

  void on_end(size_t, const Outcome& outcome, const std::string&) override {
    tokens_ = outcome.prompt_tokens;
  }

  void on_all_ended() override {
    exchange_->respond(
        {.body = dump({{"object", "list"},
                       {"data", std::move(data_)},
                       {"model", tools_.backend.card().id},
                       {"usage", {{"prompt_tokens", tokens_}, {"total_tokens", tokens_}}}})});
  }

 private:
  EmbeddingCall call_;
  Json data_ = Json::array();
  int64_t tokens_ = 0;
};

}  // namespace

void answer_embeddings(const std::shared_ptr<Exchange>& exchange,
                       const AnswerTools& tools,
                       EmbeddingCall call) {
  std::make_shared<EmbeddingAnswer>(exchange, tools, std::move(call))->begin();
}

}  // namespace tessera::serve
