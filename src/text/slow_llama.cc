// The slow LlamaTokenizer of transformers 4.34.1 (tokenization_utils.py, tokenization_llama.py),
// with its oddities, because published ids depend on them: a token's "special" flag in the files
// does not count, only being named as bos, eos, unk, sep, pad, cls, mask or additional; in legacy
// mode a special token puts a space before the ordinary text that it ends (unless it comes first).
// Left out: truncation, padding, pairs of texts, sp_model_kwargs.
#include "text/slow_llama.h"

#include "core/error.h"
#include "core/strings.h"
#include "text/added_token_splitter.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <unordered_set>

namespace tessera::text {
namespace {

constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";

/// Python's str.isspace for one character.
bool is_python_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

std::string_view strip_left(std::string_view text) {
  int length = 0;
  while (!text.empty() && is_python_space(utf8_decode(text, &length))) {
    text.remove_prefix(static_cast<size_t>(length));
  }
  return text;
}

std::string_view strip_right(std::string_view text) {
  while (!text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) {
      --begin;
    }
    int length = 0;
    if (!is_python_space(utf8_decode(text.substr(begin), &length))) {
      break;
    }
    text = text.substr(0, begin);
  }
  return text;
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  while (true) {
    const size_t at = text.find(from);
    out += text.substr(0, at);
    if (at == std::string_view::npos) {
      return out;
    }
    out += to;
    text.remove_prefix(at + from.size());
  }
}

/// clean_up_tokenization_spaces: English punctuation and contractions move to the word before.
std::string clean_up(std::string text) {
  constexpr std::pair<std::string_view, std::string_view> kRules[] = {
      {" .", "."},     {" ?", "?"},   {" !", "!"},   {" ,", ","},     {" ' ", "'"},
      {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kRules) {
    text = replace_all(text, from, to);
  }
  return text;
}

class SlowLlamaTokenizer : public Tokenizer {
 public:
  SlowLlamaTokenizer(SentencePiece model, SlowLlamaConfig config);

  std::vector<int32_t> encode(std::string_view text, bool add_special) const override;
  std::string decode(std::span<const int32_t> ids, bool skip_special) const override;
  std::optional<int32_t> token_to_id(std::string_view token) const override;
  std::string id_to_token(int32_t id) const override;
  std::string token_bytes(int32_t id) const override;
  int32_t vocab_size() const override { return vocab_size_; }
  bool is_special(int32_t id) const override { return special_ids_.contains(id); }

 private:
  /// Spellings; decoding looks them up without a copy.
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using StringSet = std::unordered_set<std::string, Hash, std::equal_to<>>;

  void add_listed_tokens();
  void add_special_tokens(const std::vector<NamedToken>& tokens);
  void index_tokens(const std::vector<NamedToken>& tokens);

  std::vector<std::string> tokenize(std::string_view text) const;
  std::vector<std::string> split(std::string_view text) const;
  void apply_flags(std::vector<std::string>& parts, size_t i, const SlowToken& token) const;
  void tokenize_run(const std::string& run, std::vector<std::string>& tokens) const;
  /// The added token of this text, or null.
  const SlowToken* find_added(const std::string& text) const;
  int32_t id_of(const std::string& token) const;
  std::string_view spelling(int32_t id) const;
  void append_group(std::string& out, std::vector<std::string_view> tokens) const;

  SlowLlamaConfig config_;
  SentencePiece model_;
  std::unordered_map<int32_t, SlowToken> added_;
  std::unordered_map<std::string, int32_t> added_ids_;
  AddedTokenSplitter splitter_;
  StringSet special_;
  StringSet separate_;  // decoded apart from the text around them
  std::unordered_set<int32_t> special_ids_;
  size_t unk_pieces_ = 0;  // pieces that the text of the unknown token is encoded to
  int32_t vocab_size_ = 0;
};

SlowLlamaTokenizer::SlowLlamaTokenizer(SentencePiece model, SlowLlamaConfig config)
    : config_(std::move(config)), model_(std::move(model)) {
  const std::vector<NamedToken> special = config_.special_tokens();
  add_listed_tokens();
  add_special_tokens(special);
  index_tokens(special);
  unk_pieces_ = config_.unk ? model_.encode_pieces(config_.unk->token.content).size() : 0;
}

void SlowLlamaTokenizer::add_listed_tokens() {
  std::vector<int32_t> order;
  for (const auto& [id, token] : config_.added) {
    if (added_.insert_or_assign(id, token).second) {
      order.push_back(id);
    }
  }
  for (const int32_t id : order) {
    added_ids_[added_[id].content] = id;
  }
}

/// Tokens that are in the vocabulary keep their ids; the others are numbered from its length (of
/// distinct spellings) upwards.
void SlowLlamaTokenizer::add_special_tokens(const std::vector<NamedToken>& tokens) {
  std::unordered_map<std::string, int32_t> vocab;
  for (int32_t id = 0; id < model_.size(); ++id) {
    vocab[std::string(spelling(id))] = id;
  }
  for (const auto& [content, id] : added_ids_) {
    vocab[content] = id;
  }
  auto next = static_cast<int32_t>(vocab.size());
  for (const auto& [token, plain] : tokens) {
    if (token.content.empty() || (plain && added_ids_.contains(token.content))) {
      continue;
    }
    const auto [it, added] = vocab.emplace(token.content, next);
    next += added ? 1 : 0;
    added_[it->second] = token;
    added_ids_[token.content] = it->second;
  }
}

void SlowLlamaTokenizer::index_tokens(const std::vector<NamedToken>& tokens) {
  vocab_size_ = model_.size();
  for (const auto& [id, token] : added_) {
    splitter_.add(token.content);
    vocab_size_ = std::max(vocab_size_, id + 1);
  }
  for (const NamedToken& named : tokens) {
    special_.insert(named.token.content);
    special_ids_.insert(id_of(named.token.content));
  }
  for (const auto& [content, id] : added_ids_) {
    if (!special_.contains(content)) {
      separate_.insert(content);
    }
  }
  for (const NamedToken& named : config_.additional) {
    if (id_of(named.token.content) >= model_.size()) {
      separate_.insert(named.token.content);
    }
  }
}

const SlowToken* SlowLlamaTokenizer::find_added(const std::string& text) const {
  const auto it = added_ids_.find(text);
  return it == added_ids_.end() ? nullptr : &added_.at(it->second);
}

int32_t SlowLlamaTokenizer::id_of(const std::string& token) const {
  const auto it = added_ids_.find(token);
  return it == added_ids_.end() ? model_.piece_to_id(token) : it->second;
}

std::string_view SlowLlamaTokenizer::spelling(int32_t id) const {
  const auto it = added_.find(id);
  return it == added_.end() ? model_.id_to_piece(id) : it->second.content;
}

std::optional<int32_t> SlowLlamaTokenizer::token_to_id(std::string_view token) const {
  const auto it = added_ids_.find(std::string(token));
  return it == added_ids_.end() ? model_.find_piece(token) : it->second;
}

std::string SlowLlamaTokenizer::id_to_token(int32_t id) const {
  const bool known = (id >= 0 && id < model_.size()) || added_.contains(id);
  return known ? std::string(spelling(id)) : std::string();
}

std::string SlowLlamaTokenizer::token_bytes(int32_t id) const {
  if (added_.contains(id) || id < 0 || id >= model_.size()) {
    return id_to_token(id);
  }
  const std::string& piece = model_.id_to_piece(id);
  switch (model_.type(id)) {
    case PieceType::kByte:
      return std::string(1, static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16)));
    case PieceType::kControl:
    case PieceType::kUnknown:
      return {};
    default:
      return replace_all(piece, kSpaceSymbol, " ");
  }
}

/// White space beside the added token `parts[i]` is taken, or the token is glued to its neighbour.
void SlowLlamaTokenizer::apply_flags(std::vector<std::string>& parts,
                                     size_t i,
                                     const SlowToken& token) const {
  const std::string text = parts[i];
  const std::string left = i > 0 ? parts[i - 1] : std::string();
  const std::string right = i + 1 < parts.size() ? parts[i + 1] : std::string();
  if (token.rstrip && !right.empty()) {
    parts[i + 1] = strip_left(right);
  }
  if (token.lstrip && !left.empty()) {
    parts[i - 1] = strip_right(left);
  }
  if (token.single_word && !left.empty() && left.back() != ' ') {
    parts[i - 1] += text;
    parts[i].clear();
  } else if (token.single_word && !right.empty() && right.front() != ' ') {
    parts[i + 1] = text + parts[i + 1];
    parts[i].clear();
  }
}

/// Added tokens and the runs between them.
std::vector<std::string> SlowLlamaTokenizer::split(std::string_view text) const {
  std::vector<std::string> parts;
  for (const std::string_view part : splitter_.split(text)) {
    parts.emplace_back(part);
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    const SlowToken* token = find_added(parts[i]);
    if (token != nullptr && (token->lstrip || token->rstrip || token->single_word)) {
      apply_flags(parts, i, *token);
    }
  }
  return parts;
}

void SlowLlamaTokenizer::tokenize_run(const std::string& run,
                                      std::vector<std::string>& tokens) const {
  const bool guarded =
      !config_.legacy && config_.unk && (run.starts_with(kSpaceSymbol) || run.starts_with(' '));
  // Without a dummy prefix SentencePiece would strip a leading space: the unknown token goes in
  // front and its pieces are cut off again.
  std::vector<SentencePiece::Piece> pieces =
      model_.encode_pieces(guarded ? config_.unk->token.content + run : run);
  const size_t first = guarded && pieces.size() >= unk_pieces_ ? unk_pieces_ : 0;
  for (size_t i = first; i < pieces.size(); ++i) {
    tokens.push_back(std::move(pieces[i].text));
  }
}

std::vector<std::string> SlowLlamaTokenizer::tokenize(std::string_view text) const {
  const bool prefixed = !config_.legacy && !text.empty();
  const std::string with_prefix =
      prefixed ? std::string(kSpaceSymbol) + replace_all(text, kSpaceSymbol, " ") : std::string();
  const std::string_view input = prefixed ? std::string_view(with_prefix) : text;
  std::vector<std::string> tokens;
  if (config_.split_special_tokens) {
    tokenize_run(std::string(input), tokens);
  } else {
    for (std::string& part : split(input)) {
      if (find_added(part) != nullptr) {
        tokens.push_back(std::move(part));
      } else if (!part.empty()) {
        tokenize_run(part, tokens);
      }
    }
  }
  if (prefixed && tokens.size() > 1 && tokens[0] == kSpaceSymbol && special_.contains(tokens[1])) {
    tokens.erase(tokens.begin());
  }
  return tokens;
}

std::vector<int32_t> SlowLlamaTokenizer::encode(std::string_view text, bool add_special) const {
  std::vector<int32_t> ids;
  if (add_special && config_.add_bos_token && config_.bos) {
    ids.push_back(id_of(config_.bos->token.content));
  }
  for (const std::string& token : tokenize(text)) {
    ids.push_back(id_of(token));
  }
  if (add_special && config_.add_eos_token && config_.eos) {
    ids.push_back(id_of(config_.eos->token.content));
  }
  return ids;
}

/// Text of neighbouring tokens of which none is decoded apart.
void SlowLlamaTokenizer::append_group(std::string& out,
                                      std::vector<std::string_view> tokens) const {
  if (tokens.empty()) {
    return;
  }
  if (tokens[0].starts_with(kSpaceSymbol)) {
    tokens[0].remove_prefix(kSpaceSymbol.size());
  }
  std::vector<std::string_view> ordinary;
  bool after_special = false;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!special_.contains(tokens[i])) {
      ordinary.push_back(tokens[i]);
      after_special = false;
      continue;
    }
    if (!after_special && i != 0 && config_.legacy) {
      out += ' ';
    }
    out += model_.decode_pieces(ordinary);
    out += tokens[i];
    ordinary.clear();
    after_special = true;
  }
  out += model_.decode_pieces(ordinary);
}

std::string SlowLlamaTokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string out;
  std::vector<std::string_view> group;
  for (const int32_t id : ids) {
    if (skip_special && is_special(id)) {
      continue;
    }
    const std::string_view token = spelling(id);
    if (!separate_.contains(token)) {
      group.push_back(token);
      continue;
    }
    append_group(out, std::move(group));
    group.clear();
    out += token;
  }
  append_group(out, std::move(group));
  return config_.clean_up_tokenization_spaces ? clean_up(std::move(out)) : out;
}

}  // namespace

std::unique_ptr<Tokenizer> make_slow_llama(SentencePiece model, SlowLlamaConfig config) {
  return std::make_unique<SlowLlamaTokenizer>(std::move(model), std::move(config));
}

std::unique_ptr<Tokenizer> load_sentencepiece_tokenizer(const io::fs::path& folder) {
  io::fs::path path = folder / "tokenizer.model";
  if (!io::fs::exists(path) && io::fs::exists(folder / "spiece.model")) {
    path = folder / "spiece.model";
  }
  SlowLlamaConfig config = read_slow_llama_config(folder);
  SentencePiece::Options options;
  if (!config.legacy) {
    options.add_dummy_prefix = false;
  }
  return make_slow_llama(SentencePiece::load(path, options), std::move(config));
}

}  // namespace tessera::text
