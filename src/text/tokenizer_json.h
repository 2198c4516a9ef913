// The pipeline of a tokenizer.json: added tokens, normalizer, pre-tokenizer, model, post-processor,
// and the decoder for the way back (format of huggingface/tokenizers).
#pragma once

#include "io/json.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoders.h"
#include "text/normalize.h"
#include "text/pretokenize.h"
#include "text/tokenizer.h"

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::text {

class JsonTokenizer : public Tokenizer {
 public:
  /// Builds every section of `json` (null sections are skipped) but `added_tokens`, `truncation`
  /// and `padding`. Throws Unsupported for an unknown component, CorruptFile for bad fields.
  explicit JsonTokenizer(const io::Json& json);
  /// The same with a model that comes from elsewhere.
  JsonTokenizer(const io::Json& json, std::unique_ptr<TokenModel> model);

  /// Adds tokens after those there are; see AddedVocabulary::add.
  void add_tokens(std::span<const AddedToken> tokens);
  bool is_added(std::string_view content) const { return added_.id(content).has_value(); }
  void set_encode_special_tokens(bool value) { added_.set_encode_special_tokens(value); }
  /// Ids put before and after every text.
  void set_template(std::vector<int32_t> before, std::vector<int32_t> after);
  /// After decode, the spaces before punctuation go (transformers' clean_up_tokenization_spaces).
  void set_clean_up_spaces(bool value) { clean_up_spaces_ = value; }

  std::vector<int32_t> encode(std::string_view text, bool add_special = true) const override;
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const override;
  std::optional<int32_t> token_to_id(std::string_view token) const override;
  std::string id_to_token(int32_t id) const override;
  std::string token_bytes(int32_t id) const override;
  int32_t vocab_size() const override;
  bool is_special(int32_t id) const override;

 private:
  void encode_run(std::string run, bool at_start, std::vector<int32_t>& ids) const;
  void make_post_processor(const io::Json& json, int depth);
  void make_template(const io::Json& json);

  std::unique_ptr<Normalizer> normalizer_;
  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  std::unique_ptr<TokenModel> model_;
  std::unique_ptr<Decoder> decoder_;
  AddedVocabulary added_;
  /// What the post-processor makes of a text: ids, or the text's own where `kText` stands.
  static constexpr int32_t kText = -1;
  std::vector<int32_t> template_ = {kText};
  bool clean_up_spaces_ = false;
};

/// Reads the list `added_tokens`.
std::vector<AddedToken> parse_added_tokens(const io::Json& json);
/// Reads one {content, single_word, lstrip, rstrip, normalized, special}.
AddedToken parse_added_token(const io::Json& json, std::string_view what);

/// A tokenizer from the text of a tokenizer.json alone, as Tokenizer.from_file opens it; `source`
/// names it in errors.
std::unique_ptr<JsonTokenizer> parse_tokenizer_json(std::string_view text, std::string_view source);

}  // namespace tessera::text
