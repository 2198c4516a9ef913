// The tokenizer.json pipeline as in huggingface/tokenizers 0.23. `truncation` and `padding` are
// left out on purpose: they belong to batches for training. Post-processors only matter through the
// ids they put around a text, so all of them become one template.
#include "text/tokenizer_json.h"

#include "core/error.h"
#include "core/strings.h"
#include "text/json_fields.h"

#include <algorithm>

namespace tessera::text {
namespace {

constexpr int kMaxDepth = 16;
constexpr size_t kMaxTemplate = 4096;

int32_t checked_id(const io::Json& json, std::string_view what) {
  TESSERA_CHECK(
      json.is_number_integer() && json.get<int64_t>() >= 0 && json.get<int64_t>() <= INT32_MAX,
      CorruptFile, "{}: {} is no token id", what, json.dump());
  return json.get<int32_t>();
}

}  // namespace

AddedToken parse_added_token(const io::Json& json, std::string_view what) {
  AddedToken token;
  token.content = string_field(json, "content", what);
  token.single_word = bool_field(json, "single_word", what, false);
  token.lstrip = bool_field(json, "lstrip", what, false);
  token.rstrip = bool_field(json, "rstrip", what, false);
  token.special = bool_field(json, "special", what, false);
  token.normalized = bool_field(json, "normalized", what, !token.special);
  return token;
}

std::vector<AddedToken> parse_added_tokens(const io::Json& json) {
  std::vector<AddedToken> tokens;
  if (json.is_null()) {
    return tokens;
  }
  TESSERA_CHECK(json.is_array(), CorruptFile, "added_tokens: found {}, expected a list",
                json.type_name());
  for (const io::Json& token : json) {
    tokens.push_back(parse_added_token(token, "added_tokens"));
  }
  return tokens;
}

JsonTokenizer::JsonTokenizer(const io::Json& json)
    : JsonTokenizer(json, make_model(member(json, "model"))) {}

JsonTokenizer::JsonTokenizer(const io::Json& json, std::unique_ptr<TokenModel> model)
    : model_(std::move(model)) {
  TESSERA_CHECK(json.is_object(), CorruptFile, "found {}, expected the object of a tokenizer.json",
                json.type_name());
  normalizer_ = make_normalizer(member(json, "normalizer"));
  pre_tokenizer_ = make_pretokenizer(member(json, "pre_tokenizer"));
  decoder_ = make_decoder(member(json, "decoder"));
  if (const io::Json& post = member(json, "post_processor"); !post.is_null()) {
    make_post_processor(post, 0);
  }
}

void JsonTokenizer::make_post_processor(const io::Json& json, int depth) {
  const std::string type = type_of(json, "post_processor");
  if (type == "ByteLevel") {  // offsets only
    return;
  }
  if (type == "TemplateProcessing") {
    make_template(json);
    return;
  }
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    const std::string what = "post_processor " + type;
    const io::Json& cls = list_field(json, "cls", what);
    const io::Json& sep = list_field(json, "sep", what);
    TESSERA_CHECK(cls.size() == 2 && sep.size() == 2, CorruptFile,
                  "{}: cls and sep must be [token, id]", what);
    template_.insert(template_.begin(), checked_id(cls[1], what));
    template_.push_back(checked_id(sep[1], what));
    return;
  }
  if (type == "Sequence") {
    TESSERA_CHECK(depth < kMaxDepth, Unsupported,
                  "post_processor: sequences nested deeper than {} are not supported", kMaxDepth);
    for (const io::Json& part : list_field(json, "processors", "post_processor Sequence")) {
      make_post_processor(part, depth + 1);
    }
    return;
  }
  throw Unsupported(
      "post_processor '{}' is not supported; expected TemplateProcessing, ByteLevel, "
      "BertProcessing, RobertaProcessing or Sequence",
      type);
}

void JsonTokenizer::make_template(const io::Json& json) {
  constexpr std::string_view kWhat = "post_processor TemplateProcessing";
  std::vector<int32_t> result;
  for (const io::Json& piece : list_field(json, "single", kWhat)) {
    if (const io::Json& sequence = member(piece, "Sequence"); !sequence.is_null()) {
      TESSERA_CHECK(string_field(sequence, "id", kWhat) == "A", CorruptFile,
                    "{}: the template for one text uses sequence {}", kWhat, sequence.dump());
      result.insert(result.end(), template_.begin(), template_.end());
    } else {
      const std::string name = string_field(member(piece, "SpecialToken"), "id", kWhat);
      const io::Json& token = member(member(json, "special_tokens"), name);
      for (const io::Json& id : list_field(token, "ids", kWhat)) {
        result.push_back(checked_id(id, kWhat));
      }
    }
    TESSERA_CHECK(result.size() <= kMaxTemplate, Unsupported,
                  "{}: more than {} ids are not supported", kWhat, kMaxTemplate);
  }
  template_ = std::move(result);
}

void JsonTokenizer::add_tokens(std::span<const AddedToken> tokens) {
  added_.add(tokens, *model_, normalizer_.get());
}

void JsonTokenizer::set_template(std::vector<int32_t> before, std::vector<int32_t> after) {
  template_ = std::move(before);
  template_.push_back(kText);
  template_.insert(template_.end(), after.begin(), after.end());
}

void JsonTokenizer::encode_run(std::string run, bool at_start, std::vector<int32_t>& ids) const {
  if (run.empty()) {
    return;
  }
  Words words;
  words.text = std::move(run);
  words.pieces.push_back({0, words.text.size(), at_start});
  if (pre_tokenizer_) {
    pre_tokenizer_->apply(words);
  }
  for (size_t i = 0; i < words.pieces.size(); ++i) {
    model_->encode(words[i], ids);
  }
}

std::vector<int32_t> JsonTokenizer::encode(std::string_view text, bool add_special) const {
  const bool valid = [&] {
    for (size_t i = 0; i < text.size();) {
      const int length = utf8_length(text.substr(i));
      if (length == 0) {
        return false;
      }
      i += static_cast<size_t>(length);
    }
    return true;
  }();
  std::string repaired;
  if (!valid) {
    repaired = utf8_lossy(text);
    text = repaired;
  }
  std::vector<int32_t> ids;
  added_.extract(
      text, normalizer_.get(), [&](int32_t id) { ids.push_back(id); },
      [&](std::string run, bool at_start) { encode_run(std::move(run), at_start, ids); });
  if (!add_special || (template_.size() == 1 && template_.front() == kText)) {
    return ids;
  }
  std::vector<int32_t> whole;
  for (const int32_t id : template_) {
    if (id == kText) {
      whole.insert(whole.end(), ids.begin(), ids.end());
    } else {
      whole.push_back(id);
    }
  }
  return whole;
}

std::string JsonTokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int32_t id : ids) {
    const std::string* token = added_.decode_form(id);
    if (token == nullptr) {
      token = model_->vocabulary().token(id);
    }
    TESSERA_CHECK(token != nullptr, InvalidArgument,
                  "token id {} is not in the vocabulary; expected 0 to {}", id, vocab_size() - 1);
    if (!skip_special || !added_.is_special(*token)) {
      tokens.push_back(*token);
    }
  }
  if (tokens.empty()) {
    return {};
  }
  std::string text;
  if (decoder_) {
    for (const std::string& part : decoder_->apply(std::move(tokens))) {
      text += part;
    }
  } else {
    text = join(tokens, " ");
  }
  return clean_up_spaces_ ? clean_up_spaces(std::move(text), false) : text;
}

std::optional<int32_t> JsonTokenizer::token_to_id(std::string_view token) const {
  const auto id = added_.id(token);
  return id ? id : model_->vocabulary().id(token);
}

std::string JsonTokenizer::id_to_token(int32_t id) const {
  if (const AddedToken* token = added_.token(id)) {
    return token->content;
  }
  const std::string* token = model_->vocabulary().token(id);
  return token == nullptr ? std::string() : *token;
}

std::string JsonTokenizer::token_bytes(int32_t id) const {
  const std::string* token = added_.decode_form(id);
  if (token == nullptr) {
    token = model_->vocabulary().token(id);
  }
  if (token == nullptr) {
    return {};
  }
  return decoder_ ? decoder_->token_bytes(*token) : " " + *token;
}

int32_t JsonTokenizer::vocab_size() const {
  return std::max(model_->vocabulary().max_id(), added_.max_id()) + 1;
}

bool JsonTokenizer::is_special(int32_t id) const {
  const AddedToken* token = added_.token(id);
  return token != nullptr && added_.is_special(token->content);
}

std::unique_ptr<JsonTokenizer> parse_tokenizer_json(std::string_view text,
                                                    std::string_view source) {
  const io::Json json = io::parse_json(text, source);
  return with_context(source, [&] {
    auto tokenizer = std::make_unique<JsonTokenizer>(json);
    tokenizer->add_tokens(parse_added_tokens(member(json, "added_tokens")));
    return tokenizer;
  });
}

}  // namespace tessera::text
