// Keys: ggml-org/ggml docs/gguf.md; names of pre-tokenizers: ggml-org/llama.cpp (llama-vocab).
// Their patterns are those of the published tokenizer.json files that the names stand for. Control
// tokens are cut out of the text as special tokens, user-defined ones as added tokens.
#include "text/gguf_tokenizer.h"

#include "core/error.h"
#include "core/strings.h"
#include "text/gguf_vocab.h"
#include "text/json_fields.h"
#include "text/sentencepiece.h"
#include "text/slow_llama.h"
#include "text/slow_llama_config.h"
#include "text/tokenizer_json.h"

#include <algorithm>

namespace tessera::text {
namespace {

using io::GgufFile;
using io::Json;

constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";

/// What the file says, checked: lists of one length, types in range.
struct Vocab {
  std::vector<std::string_view> tokens;
  std::vector<PieceType> types;
  std::vector<double> scores;  // empty when the file has none
};

std::string key(std::string_view name) {
  return "tokenizer.ggml." + std::string(name);
}

Vocab read_vocab(const GgufFile& file, const std::string& source) {
  const io::GgufValue* tokens = file.find(key("tokens"));
  const auto texts = tokens == nullptr ? std::nullopt : tokens->texts();
  TESSERA_CHECK(texts && !texts->empty() && texts->size() < size_t{1} << 30, CorruptFile,
                "{}: tokenizer.ggml.tokens must be a list of texts", source);
  Vocab vocab{*texts, std::vector<PieceType>(texts->size(), PieceType::kNormal), {}};
  if (const io::GgufValue* types = file.find(key("token_type"))) {
    const auto values = types->integers();
    TESSERA_CHECK(values && values->size() == texts->size(), CorruptFile,
                  "{}: tokenizer.ggml.token_type must have {} numbers", source, texts->size());
    for (size_t i = 0; i < values->size(); ++i) {
      const int64_t type = (*values)[i];
      TESSERA_CHECK(type >= 0 && type <= 6, CorruptFile,
                    "{}: tokenizer.ggml.token_type has {}, expected 0 to 6", source, type);
      vocab.types[i] = type == 0 ? PieceType::kNormal : static_cast<PieceType>(type);
    }
  }
  if (const io::GgufValue* scores = file.find(key("scores"))) {
    const auto values = scores->numbers();
    TESSERA_CHECK(values && values->size() == texts->size(), CorruptFile,
                  "{}: tokenizer.ggml.scores must have {} numbers", source, texts->size());
    vocab.scores = *values;
  }
  return vocab;
}

/// The id that the file gives for "bos", "eos" …; nothing when it is absent or out of range.
std::optional<int32_t> special_id(const GgufFile& file, const Vocab& vocab, std::string_view name) {
  const auto id = file.integer(key(std::string(name) + "_token_id"));
  const bool good = id && *id >= 0 && *id < static_cast<int64_t>(vocab.tokens.size());
  return good ? std::optional(static_cast<int32_t>(*id)) : std::nullopt;
}

// ---- llama: SentencePiece ----

/// User-defined pieces are written with plain spaces.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    out += c == ' ' ? std::string(kSpaceSymbol) : std::string(1, c);
  }
  return out;
}

std::unique_ptr<Tokenizer> make_llama(const GgufFile& file,
                                      const Vocab& vocab,
                                      const std::string& source) {
  SentencePieceSpec spec;
  spec.kind = SentencePieceKind::kBpe;
  spec.normalizer.add_dummy_prefix = file.boolean(key("add_space_prefix")).value_or(true);
  spec.normalizer.remove_extra_whitespaces =
      file.boolean(key("remove_extra_whitespaces")).value_or(false);
  SlowLlamaConfig config;
  config.add_bos_token = file.boolean(key("add_bos_token")).value_or(true);
  config.add_eos_token = file.boolean(key("add_eos_token")).value_or(false);
  // Phi-3's files do not say that its special tokens take the white space behind them.
  const bool rstrip = file.text("general.architecture") == "phi3";
  constexpr std::string_view kKeep[] = {"<unk>", "<s>", "<|endoftext|>"};
  for (size_t i = 0; i < vocab.tokens.size(); ++i) {
    const std::string_view text = vocab.tokens[i];
    const PieceType type = vocab.types[i];
    spec.byte_fallback = spec.byte_fallback || type == PieceType::kByte;
    const bool user = type == PieceType::kUserDefined;
    spec.pieces.push_back({user ? escaped(text) : std::string(text),
                           vocab.scores.empty() ? 0.0F : static_cast<float>(vocab.scores[i]),
                           type});
    const bool added =
        type == PieceType::kControl || (user && spec.normalizer.add_dummy_prefix && !text.empty());
    if (!added) {
      continue;
    }
    const bool strip =
        rstrip && std::find(std::begin(kKeep), std::end(kKeep), text) == std::end(kKeep);
    const SlowToken token{.content = std::string(text), .rstrip = strip};
    config.added.emplace_back(static_cast<int32_t>(i), token);
    if (type == PieceType::kControl) {
      config.additional.push_back({token, false});
    }
  }
  const auto named = [&](std::string_view name, int32_t fallback) -> std::optional<NamedToken> {
    const int32_t id = special_id(file, vocab, name).value_or(fallback);
    if (id < 0 || id >= static_cast<int32_t>(vocab.tokens.size())) {
      return std::nullopt;
    }
    const std::string content(vocab.tokens[static_cast<size_t>(id)]);
    const auto it = std::find_if(config.added.begin(), config.added.end(),
                                 [&](const auto& entry) { return entry.first == id; });
    return NamedToken{it == config.added.end() ? SlowToken{content} : it->second, false};
  };
  config.bos = named("bos", 1);
  config.eos = named("eos", 2);
  config.unk = named("unknown", 0);
  config.pad = named("padding", -1);
  return make_slow_llama(SentencePiece::from_spec(std::move(spec), source), std::move(config));
}

// ---- gpt2: byte-level BPE ----

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekkenPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt4oPattern =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// One rule that cuts words, by the names that files give it.
struct WordRule {
  std::vector<std::string_view> names;
  std::vector<std::string_view> patterns;  // one after the other
  bool ignore_merges = false;              // a word that is a token is not merged
  bool add_bos = false;                    // unless the file says otherwise
  bool nfc = false;
};

const std::vector<WordRule>& word_rules() {
  static const std::vector<WordRule> rules = {
      {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2"},
       {kLlama3Pattern},
       true,
       true},
      {{"smaug-bpe", "dbrx", "chatglm-bpe"}, {kLlama3Pattern}},
      {{"glm4"}, {kLlama3Pattern}, true},
      {{"qwen2", "deepseek-r1-qwen", "megrez"}, {kQwen2Pattern}, false, false, true},
      {{"stablelm2"}, {kQwen2Pattern}},
      {{"gpt-2", "phi-2", "mpt", "olmo", "jais", "exaone4", "modern-bert"}, {kGpt2Pattern}},
      {{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"},
       {R"(\p{N})", kGpt2Pattern}},
      {{"falcon"}, {R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2Pattern, "[0-9][0-9][0-9]"}},
      {{"tekken"}, {kTekkenPattern}, true, true},
      {{"gpt-4o", "llama4"}, {kGpt4oPattern}},
      {{"deepseek-v3"},
       {R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+",
        R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
        R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
      {{"deepseek-coder"},
       {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[一-龥ࠀ-一가-퟿]+", R"(\p{N})"}},
      {{"default"}, {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Pattern, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
  };
  return rules;
}

const WordRule& rule_of(const GgufFile& file, const std::string& source) {
  const std::string_view name = file.text(key("pre")).value_or("default");
  std::vector<std::string> known;
  for (const WordRule& rule : word_rules()) {
    if (std::find(rule.names.begin(), rule.names.end(), name) != rule.names.end()) {
      return rule;
    }
    known.emplace_back(rule.names.front());
  }
  throw Unsupported("{}: tokenizer.ggml.pre '{}' is not known here; known: {}", source,
                    utf8_lossy(name), join(known, ", "));
}

Json byte_level(bool trim) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", trim},
          {"use_regex", false}};
}

/// Every section of a tokenizer.json but the model.
Json pipeline_of(const WordRule& rule, bool space_prefix) {
  Json parts = Json::array();
  // ByteLevel's own rule, where it is the last: a space before the text goes before the cutting.
  const bool own_rule = rule.patterns.back() == kGpt2Pattern;
  for (size_t i = 0; i + (own_rule ? 1 : 0) < rule.patterns.size(); ++i) {
    parts.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", std::string(rule.patterns[i])}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  }
  Json last = byte_level(false);
  last["add_prefix_space"] = space_prefix;
  last["use_regex"] = own_rule;
  parts.push_back(std::move(last));
  Json json = {{"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", std::move(parts)}}},
               {"decoder", byte_level(true)}};
  if (rule.nfc) {
    json["normalizer"] = {{"type", "NFC"}};
  }
  return json;
}

std::vector<std::pair<std::string, std::string>> read_merges(const GgufFile& file,
                                                             const std::string& source) {
  const io::GgufValue* value = file.find(key("merges"));
  const auto lines = value == nullptr ? std::nullopt : value->texts();
  TESSERA_CHECK(lines, CorruptFile, "{}: tokenizer.ggml.merges must be a list of texts", source);
  std::vector<std::pair<std::string, std::string>> merges;
  merges.reserve(lines->size());
  for (const std::string_view line : *lines) {
    const size_t space = line.find(' ', 1);
    TESSERA_CHECK(space != std::string_view::npos, CorruptFile,
                  "{}: the merge '{}' has no two parts", source, utf8_lossy(line));
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

std::unique_ptr<Tokenizer> make_gpt2(const GgufFile& file,
                                     const Vocab& vocab,
                                     const std::string& source) {
  const WordRule& rule = rule_of(file, source);
  Vocabulary vocabulary;
  std::vector<AddedToken> added;
  for (size_t i = 0; i < vocab.tokens.size(); ++i) {
    vocabulary.add(std::string(vocab.tokens[i]), static_cast<int64_t>(i));
    const bool control = vocab.types[i] == PieceType::kControl;
    if ((control || vocab.types[i] == PieceType::kUserDefined) && !vocab.tokens[i].empty()) {
      added.push_back(
          {.content = std::string(vocab.tokens[i]), .normalized = false, .special = control});
    }
  }
  auto tokenizer = std::make_unique<JsonTokenizer>(
      pipeline_of(rule, file.boolean(key("add_space_prefix")).value_or(false)),
      std::make_unique<BpeModel>(std::move(vocabulary), read_merges(file, source),
                                 BpeOptions{.unk_token = {},
                                            .continuing_subword_prefix = {},
                                            .end_of_word_suffix = {},
                                            .ignore_merges = rule.ignore_merges}));
  tokenizer->add_tokens(added);
  const auto ids = [&](const char* flag, bool fallback, const char* name) {
    const auto id = special_id(file, vocab, name);
    const bool wanted = file.boolean(key(flag)).value_or(fallback) && id;
    return wanted ? std::vector<int32_t>{*id} : std::vector<int32_t>();
  };
  tokenizer->set_template(ids("add_bos_token", rule.add_bos, "bos"),
                          ids("add_eos_token", false, "eos"));
  return tokenizer;
}

}  // namespace

std::optional<std::string> gguf_word_rule(const Json& pre_tokenizer) {
  std::vector<std::string> patterns;
  const Json single = Json::array({pre_tokenizer});
  const Json& list = member(pre_tokenizer, "pretokenizers");
  for (const Json& part : list.is_array() ? list : single) {
    const Json& type = member(part, "type");
    if (type == "Split" && member(member(part, "pattern"), "Regex").is_string()) {
      patterns.push_back(part["pattern"]["Regex"].get<std::string>());
    } else if (type == "Digits" && member(part, "individual_digits") == true) {
      patterns.emplace_back(R"(\p{N})");
    } else if (type == "ByteLevel") {
      if (member(part, "use_regex") != false) {  // true where it is absent
        patterns.emplace_back(kGpt2Pattern);
      }
    } else {
      return std::nullopt;
    }
  }
  for (const WordRule& rule : word_rules()) {
    if (std::equal(rule.patterns.begin(), rule.patterns.end(), patterns.begin(), patterns.end())) {
      return std::string(rule.names.front());
    }
  }
  return std::nullopt;
}

std::unique_ptr<Tokenizer> load_gguf_tokenizer(const io::fs::path& path) {
  const GgufFile file = io::open_gguf(path);
  const std::string source = path.string();
  const auto model = file.text(key("model"));
  TESSERA_CHECK(model && *model != "none" && *model != "no_vocab", NotFound,
                "{}: the file has no tokenizer (tokenizer.ggml.model)", source);
  return with_context("loading the tokenizer of " + source, [&] {
    if (*model == "llama") {
      return make_llama(file, read_vocab(file, source), source);
    }
    if (*model == "gpt2") {
      return make_gpt2(file, read_vocab(file, source), source);
    }
    throw Unsupported("{}: tokenizer.ggml.model '{}' is not known here; known: llama, gpt2", source,
                      utf8_lossy(*model));
  });
}

}  // namespace tessera::text
