// Conventions are those of ggml-org/llama.cpp's converter: tokens that take part in no merge score
// -1000, user-defined SentencePiece pieces are written with plain spaces, missing ids are called
// "[PAD<id>]".
#include "text/gguf_vocab.h"

#include "core/error.h"
#include "core/strings.h"
#include "text/bpe.h"
#include "text/json_fields.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

#include <algorithm>
#include <set>

namespace tessera::text {
namespace {

using io::Json;

constexpr uint64_t kMaxFile = uint64_t{1} << 30;
constexpr float kNoScore = -1000.0F;

Json read_optional(const io::fs::path& path) {
  return io::fs::exists(path) ? io::read_json(path) : Json::object();
}

struct Lists {
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<int32_t> types;
};

int32_t value_of(PieceType type) {
  return static_cast<int32_t>(type);
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

/// Every id of the tokenizer, then unused ones up to `size`.
Lists make_lists(const Tokenizer& tokenizer, const std::set<std::string>& added, int64_t size) {
  TESSERA_CHECK(tokenizer.vocab_size() <= size, InvalidArgument,
                "the tokenizer has {} ids, the model {}; they are of different models",
                tokenizer.vocab_size(), size);
  Lists lists;
  for (int64_t i = 0; i < size; ++i) {
    const auto id = static_cast<int32_t>(i);
    std::string token = id < tokenizer.vocab_size() ? tokenizer.id_to_token(id) : std::string();
    const bool missing = token.empty();
    const bool control = !missing && tokenizer.is_special(id);
    const bool user = !missing && !control && added.contains(token);
    lists.tokens.push_back(missing ? fmt::format("[PAD{}]", i) : std::move(token));
    lists.scores.push_back(kNoScore);
    lists.types.push_back(value_of(missing   ? PieceType::kUnused
                                   : control ? PieceType::kControl
                                   : user    ? PieceType::kUserDefined
                                             : PieceType::kNormal));
  }
  return lists;
}

/// Spellings that the files add to the vocabulary.
std::set<std::string> added_spellings(const io::fs::path& folder, const Json& config) {
  std::set<std::string> added;
  for (const AddedToken& token :
       parse_added_tokens(member(read_optional(folder / "tokenizer.json"), "added_tokens"))) {
    added.insert(token.content);
  }
  if (const Json& decoder = member(config, "added_tokens_decoder"); decoder.is_object()) {
    for (const auto& [id, token] : decoder.items()) {
      added.insert(parse_added_token(token, "added_tokens_decoder").content);
    }
  }
  const Json listed = read_optional(folder / "added_tokens.json");
  for (const auto& [token, id] : listed.items()) {
    added.insert(token);
  }
  return added;
}

void add_lists(Lists lists, io::GgufFields& fields) {
  fields.emplace_back("tokenizer.ggml.tokens", std::move(lists.tokens));
  if (!lists.scores.empty()) {
    fields.emplace_back("tokenizer.ggml.scores", std::move(lists.scores));
  }
  fields.emplace_back("tokenizer.ggml.token_type", std::move(lists.types));
}

/// Special ids, what surrounds a text (as the tokenizer itself does it), the chat template.
void add_settings(const io::fs::path& folder,
                  const Json& config,
                  const Tokenizer& tokenizer,
                  io::GgufFields& fields) {
  const Json special = read_optional(folder / "special_tokens_map.json");
  const Json model = read_optional(folder / "config.json");
  const auto id_of = [&](const std::string& name) -> std::optional<int32_t> {
    for (const Json* source : {&config, &special}) {
      const Json& token = member(*source, name + "_token");
      const Json& content = token.is_object() ? member(token, "content") : token;
      if (content.is_string()) {
        return tokenizer.token_to_id(content.get<std::string>());
      }
    }
    const Json& id = member(model, name + "_token_id");
    const Json& first = id.is_array() && !id.empty() ? id.front() : id;
    return first.is_number_integer() && first >= 0 && first < tokenizer.vocab_size()
               ? std::optional(first.get<int32_t>())
               : std::nullopt;
  };
  std::vector<int32_t> around = tokenizer.encode("a");
  const std::vector<int32_t> bare = tokenizer.encode("a", false);
  for (const auto& [name, key] : {std::pair{"bos", "bos_token_id"},
                                  {"eos", "eos_token_id"},
                                  {"unk", "unknown_token_id"},
                                  {"pad", "padding_token_id"}}) {
    if (const auto id = id_of(name)) {
      fields.emplace_back(std::string("tokenizer.ggml.") + key, static_cast<uint32_t>(*id));
    }
  }
  const bool longer = around.size() > bare.size();
  const bool before = longer && around.front() == id_of("bos");
  const bool after = longer && around.back() == id_of("eos");
  TESSERA_CHECK(around.size() == bare.size() + (before ? 1 : 0) + (after ? 1 : 0), Unsupported,
                "{}: the tokenizer puts other ids than BOS and EOS around a text, for which GGUF "
                "has no words",
                folder.string());
  fields.emplace_back("tokenizer.ggml.add_bos_token", before);
  fields.emplace_back("tokenizer.ggml.add_eos_token", after);
  Json chat = member(config, "chat_template");
  if (chat.is_array()) {
    const auto found = std::find_if(chat.begin(), chat.end(), [](const Json& item) {
      return member(item, "name") == "default";
    });
    chat = found == chat.end() ? Json() : Json(member(*found, "template"));
  }
  if (io::fs::exists(folder / "chat_template.jinja")) {
    chat = io::read_file(folder / "chat_template.jinja", kMaxFile);
  }
  if (chat.is_string()) {
    fields.emplace_back("tokenizer.chat_template", chat.get<std::string>());
  }
}

void add_sentencepiece(const io::fs::path& path,
                       const Tokenizer& tokenizer,
                       const std::set<std::string>& added,
                       int64_t size,
                       io::GgufFields& fields) {
  const SentencePieceSpec spec = parse_sentencepiece(io::read_file(path, kMaxFile), path.string());
  TESSERA_CHECK(spec.kind == SentencePieceKind::kBpe && spec.normalizer.charsmap.empty() &&
                    !spec.treat_whitespace_as_suffix,
                Unsupported,
                "{}: GGUF has no words for this SentencePiece model; only BPE models without a "
                "character map can be written",
                path.string());
  Lists lists = make_lists(tokenizer, added, size);
  for (size_t i = 0; i < spec.pieces.size() && i < lists.tokens.size(); ++i) {
    const auto& piece = spec.pieces[i];
    if (lists.types[i] == value_of(PieceType::kControl) && piece.type != PieceType::kUnknown) {
      continue;
    }
    lists.tokens[i] =
        piece.type == PieceType::kUserDefined ? replaced(piece.text, "▁", " ") : piece.text;
    lists.scores[i] = piece.score;
    lists.types[i] = value_of(piece.type);
  }
  fields.emplace_back("tokenizer.ggml.model", std::string("llama"));
  fields.emplace_back("tokenizer.ggml.pre", std::string("default"));
  add_lists(std::move(lists), fields);
  fields.emplace_back("tokenizer.ggml.add_space_prefix", spec.normalizer.add_dummy_prefix);
  fields.emplace_back("tokenizer.ggml.remove_extra_whitespaces",
                      spec.normalizer.remove_extra_whitespaces);
}

/// Merges as GGUF writes them, "left right" in order of rank.
std::vector<std::string> merge_lines(const io::fs::path& folder, const Json& file) {
  std::vector<std::string> lines;
  if (file.empty()) {
    for (std::string& line : split(io::read_file(folder / "merges.txt", kMaxFile), '\n')) {
      if (!trim(line).empty() && !line.starts_with("#version")) {
        lines.emplace_back(trim(line));
      }
    }
    return lines;
  }
  for (const auto& [left, right] : parse_merges(member(member(file, "model"), "merges"))) {
    std::string line = left;
    line += ' ';
    line += right;
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string rule_name(const io::fs::path& folder, const Json& file, const Json& config) {
  if (file.empty()) {
    const Json& name = member(config, "tokenizer_class");
    return name.is_string() && name.get<std::string>().starts_with("Qwen2") ? "qwen2" : "gpt-2";
  }
  const auto rule = gguf_word_rule(member(file, "pre_tokenizer"));
  TESSERA_CHECK(rule, Unsupported,
                "{}: GGUF has no name known here for the pre_tokenizer of tokenizer.json",
                folder.string());
  return *rule;
}

/// Whether words are cut as if a space stood before the text.
bool has_space_prefix(const Json& file, const Json& config) {
  if (file.empty()) {
    return member(config, "add_prefix_space") == true;
  }
  const Json& pre = member(file, "pre_tokenizer");
  const Json& parts = member(pre, "pretokenizers");
  const Json single = Json::array({pre});
  for (const Json& part : parts.is_array() ? parts : single) {
    if (member(part, "type") == "ByteLevel" && member(part, "add_prefix_space") != false) {
      return true;
    }
  }
  return false;
}

}  // namespace

io::GgufFields gguf_tokenizer_fields(const io::fs::path& folder, int64_t size) {
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(folder);
  const Json config = read_optional(folder / "tokenizer_config.json");
  const std::set<std::string> added = added_spellings(folder, config);
  io::GgufFields fields;
  const bool has_model = io::fs::exists(folder / "tokenizer.model");
  const Json file = read_optional(folder / "tokenizer.json");
  const Json& model = member(file, "model");
  const bool byte_fallback = member(model, "byte_fallback") == true;
  if (has_model && (file.empty() || byte_fallback)) {
    add_sentencepiece(folder / "tokenizer.model", *tokenizer, added, size, fields);
  } else {
    TESSERA_CHECK(file.empty() || (member(model, "merges").is_array() && !byte_fallback),
                  Unsupported,
                  "{}: only byte-level BPE and SentencePiece tokenizers can be written to GGUF; "
                  "put the tokenizer.model beside the tokenizer.json",
                  folder.string());
    fields.emplace_back("tokenizer.ggml.model", std::string("gpt2"));
    fields.emplace_back("tokenizer.ggml.pre", rule_name(folder, file, config));
    Lists lists = make_lists(*tokenizer, added, size);
    lists.scores.clear();
    add_lists(std::move(lists), fields);
    fields.emplace_back("tokenizer.ggml.merges", merge_lines(folder, file));
    if (has_space_prefix(file, config)) {
      fields.emplace_back("tokenizer.ggml.add_space_prefix", true);
    }
  }
  add_settings(folder, config, *tokenizer, fields);
  return fields;
}

}  // namespace tessera::text
