// Text generation for C++ programs: open a model, continue prompts. Needs no other header; link
// libtessera.so.
//
//   tessera::Generator model("models/llama");
//   tessera::GenerateSettings settings;
//   settings.max_new_tokens = 64;
//   const tessera::Generated reply = model.generate("Once upon a time", settings);
//   std::cout << reply.text << "\n";
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

/// How a model is opened.
struct OpenSettings {
  std::string device = "cpu";  // or "cuda"
  std::string dtype = {};      // "fp32", "bf16", "fp16"; empty: as stored
  int threads = 0;             // of the whole process; 0 = as libtorch chooses
};

/// What a reply may look like. Values that are left out are the model's own.
struct GenerateSettings {
  int64_t max_new_tokens = 128;
  std::optional<bool> greedy = {};         // true: always the most likely token
  std::optional<double> temperature = {};  // 0: greedy; naming it, top_k or top_p: drawing
  std::optional<int64_t> top_k = {};       // 0 = off
  std::optional<double> top_p = {};        // (0, 1]
  std::optional<double> repetition_penalty = {};
  uint64_t seed = 0;
  std::vector<std::string> stop = {};  // the text ends before the first of these

  /// At most one of these: the output is a value that a JSON Schema allows, a text of a grammar in
  /// GBNF, or a text that the whole of a regular expression matches.
  std::string json_schema = {};
  std::string grammar = {};
  std::string regex = {};
};

/// A reply.
struct Generated {
  std::string text;
  std::vector<int64_t> ids;  // new ids, end token included
  int64_t prompt_tokens = 0;
  std::string reason;  // "stop", "length" (max_new_tokens) or "context" (the model's limit)
};

/// A loaded language model with its tokenizer. One thread at a time; errors leave as std::exception
/// whose what() is one line that names what was found and what to do.
class Generator {
 public:
  /// A folder, a GGUF file beside its tokenizer, or a hub-cache name (org/name).
  explicit Generator(const std::string& model, const OpenSettings& open = {});
  ~Generator();
  Generator(Generator&&) noexcept;
  Generator& operator=(Generator&&) noexcept;

  /// Called with each piece of text as it comes; whole characters. False ends the reply.
  using TextCallback = std::function<bool(std::string_view piece)>;
  Generated generate(std::string_view prompt,
                     const GenerateSettings& settings = {},
                     const TextCallback& on_text = {});

  /// Continues many prompts, up to `batch` of them at once; replies in the order of the prompts, as
  /// each would be alone. `on_reply` is called as soon as one is through.
  using ReplyCallback = std::function<void(size_t prompt, const Generated& reply)>;
  std::vector<Generated> generate_all(const std::vector<std::string>& prompts,
                                      const GenerateSettings& settings = {},
                                      int64_t batch = 8,
                                      const ReplyCallback& on_reply = {});

  /// Ids of a text as a prompt begins with it, and the text of ids.
  std::vector<int32_t> encode(std::string_view text) const;
  std::string decode(const std::vector<int32_t>& ids) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tessera
