// Listeners, requests and small models for the tests of engines.
#pragma once

#include "pipelines/complete.h"
#include "serve/tensor/engines.h"
#include "unit/pipelines/any_to_any_folder.h"
#include "unit/temporary_folder.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

namespace tessera::serve {

struct Heard : GenerationListener {
  void on_text(std::string_view piece) override { text += piece; }
  void on_sound(Modality, const Audio& chunk) override {
    ++chunks;
    sound.insert(sound.end(), chunk.samples.begin(), chunk.samples.end());
  }
  void on_token(const TokenReport& token) override { tokens.push_back(token); }
  void on_part(const Part& part) override { parts.push_back(part); }
  void on_done(const Outcome&) override {}

  std::string text;
  int chunks = 0;
  std::vector<float> sound;
  std::vector<Part> parts;
  std::vector<TokenReport> tokens;
};

inline constexpr const char* kTemplate =
    "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}";

// A reference model with a tokenizer of bytes, of which it has ids enough for ASCII.
inline std::string golden(const std::string& name, bool chat = true) {
  const io::fs::path folder = temporary_path("served-" + name);
  io::fs::remove_all(folder);
  io::fs::copy(io::fs::path(TESSERA_GOLDENS) / "llama" / name, folder);
  io::write_file(folder / "tokenizer.json", byte_tokenizer({}).dump());
  io::write_file(
      folder / "tokenizer_config.json",
      R"({"bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast"})");
  if (chat) {
    io::write_file(folder / "chat_template.jinja", kTemplate);
  }
  return folder.string();
}

// Hears a request from the queue's thread.
struct Waiter : Heard {
  void on_text(std::string_view piece) override {
    const std::lock_guard lock(mutex);
    text += piece;
    ++pieces;
  }
  void on_done(const Outcome& result) override {
    const std::lock_guard lock(mutex);
    outcome = result;
    ++ends;
    changed.notify_all();
  }
  Outcome wait() {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(60), [&] { return ends > 0; }));
    return outcome;
  }

  std::mutex mutex;
  std::condition_variable changed;
  Outcome outcome;
  int pieces = 0, ends = 0;
};

template <class Condition>
bool soon(const Condition& condition) {
  for (int i = 0; i < 6000 && !condition(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return condition();
}

inline GenerationRequest prompt_of(const std::string& text, int64_t most, uint64_t seed) {
  GenerationRequest request;
  request.task = CompletionTask{.text = text, .ids = {}};
  request.max_new_tokens = most;
  request.sampling.temperature = 0.8;
  request.sampling.seed = seed;
  return request;
}

inline GenerationRequest talk_of(const std::string& text, int64_t most, uint64_t seed) {
  GenerationRequest request = prompt_of("", most, seed);
  request.task = ChatTask{.messages = {{.role = Role::kSystem, .parts = {Part::text("Be brief.")}},
                                       {.role = Role::kUser, .parts = {Part::text(text)}}},
                          .to = std::nullopt};
  return request;
}

// What the model makes of a prompt by itself, without any queue or engine.
inline pipelines::Completion alone(pipelines::TextCompleter& model,
                                   const std::string& prompt,
                                   int64_t most,
                                   uint64_t seed) {
  nn::GenerationOptions options = model.defaults();
  options.sampling.greedy = false;
  options.sampling.temperature = 0.8;
  options.max_new_tokens = most;
  options.seed = seed;
  return model.complete(model.tokenizer().encode(prompt, false), options, {}, {});
}

/// One request alone.
inline Outcome run(Engine& engine,
                   const GenerationRequest& request,
                   GenerationListener& listener,
                   const std::function<bool()>& go_on) {
  std::optional<Outcome> outcome;
  engine.begin({request, nullptr, listener, go_on, [&](const Outcome& over) { outcome = over; }});
  while (!outcome.has_value()) {
    engine.step();
  }
  return *outcome;
}

}  // namespace tessera::serve
