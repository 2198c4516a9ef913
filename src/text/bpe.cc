// Byte pair encoding as in huggingface/tokenizers 0.23. Short words are merged by scanning the
// ranks of their pairs, long ones with a heap over a linked list, so that a word of a megabyte
// costs n log n. Merges live in one open-addressed table keyed by the two ids. There is no word
// cache: encoding keeps no state and needs no lock.
#include "text/bpe.h"

#include "core/error.h"
#include "core/log.h"
#include "core/strings.h"
#include "text/json_fields.h"

#include <algorithm>
#include <bit>
#include <queue>

namespace tessera::text {
namespace {

constexpr int64_t kMaxId = int64_t{1} << 30;
constexpr size_t kShortWord = 24;  // symbols; below this scanning beats the heap
constexpr uint32_t kNoRank = UINT32_MAX;

uint64_t key_of(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

uint64_t mix(uint64_t key) {
  key *= 0x9E3779B97F4A7C15ull;
  return key ^ (key >> 29);
}

}  // namespace

void Vocabulary::add(std::string token, int64_t id) {
  TESSERA_CHECK(id >= 0 && id <= kMaxId, CorruptFile,
                "vocabulary: token '{}' has id {}, expected 0 to {}", token, id, kMaxId);
  const auto it = ids_.insert_or_assign(std::move(token), static_cast<int32_t>(id)).first;
  tokens_[it->second] = &it->first;
  longest_ = std::max(longest_, it->first.size());
  max_id_ = std::max(max_id_, it->second);
}

std::optional<int32_t> Vocabulary::id(std::string_view token) const {
  const auto it = ids_.find(token);
  return it == ids_.end() ? std::nullopt : std::optional<int32_t>(it->second);
}

const std::string* Vocabulary::token(int32_t id) const {
  const auto it = tokens_.find(id);
  return it == tokens_.end() ? nullptr : it->second;
}

Vocabulary Vocabulary::from_json(const io::Json& json, std::string_view what) {
  TESSERA_CHECK(json.is_object(), CorruptFile, "{}: found {}, expected an object {{token: id}}",
                what, json.type_name());
  Vocabulary vocabulary;
  vocabulary.ids_.reserve(json.size());
  vocabulary.tokens_.reserve(json.size());
  for (const auto& [token, id] : json.items()) {
    TESSERA_CHECK(id.is_number_integer(), CorruptFile,
                  "{}: token '{}' has {} as id, expected an integer", what, token, id.type_name());
    vocabulary.add(token, id.get<int64_t>());
  }
  return vocabulary;
}

BpeModel::BpeModel(Vocabulary vocabulary,
                   const std::vector<std::pair<std::string, std::string>>& merges,
                   BpeOptions options)
    : TokenModel(std::move(vocabulary)), options_(std::move(options)) {
  TESSERA_CHECK(merges.size() < kNoRank / 2, CorruptFile, "merges: {} entries are too many",
                merges.size());
  table_.resize(std::bit_ceil(merges.size() * 2 + 2));
  mask_ = table_.size() - 1;
  const size_t prefix = options_.continuing_subword_prefix.size();
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    TESSERA_CHECK(right.size() >= prefix, CorruptFile,
                  "merges: '{} {}' lacks the continuing_subword_prefix '{}'", left, right,
                  options_.continuing_subword_prefix);
    const std::string whole = left + right.substr(prefix);
    const auto left_id = vocabulary_.id(left);
    const auto right_id = vocabulary_.id(right);
    const auto id = vocabulary_.id(whole);
    TESSERA_CHECK(left_id && right_id && id, CorruptFile,
                  "merges: '{} {}' at rank {} has no '{}' in the vocabulary; expected both parts "
                  "and the result",
                  left, right, rank,
                  !left_id    ? left
                  : !right_id ? right
                              : whole);
    insert(*left_id, *right_id, static_cast<uint32_t>(rank), *id);
  }
  if (options_.unk_token) {
    unk_id_ = vocabulary_.id(*options_.unk_token);
  }
  for (char32_t c = 0; c < 0x200; ++c) {
    std::string text;
    utf8_append(text, c);
    character_ids_.push_back(vocabulary_.id(text).value_or(-1));
  }
  for (int byte = 0; byte < 256; ++byte) {
    byte_ids_.push_back(vocabulary_.id(fmt::format("<0x{:02X}>", byte)).value_or(-1));
  }
}

void BpeModel::insert(int32_t left, int32_t right, uint32_t rank, int32_t id) {
  const uint64_t key = key_of(left, right);
  uint64_t slot = mix(key) & mask_;
  while (table_[slot].pair != UINT64_MAX && table_[slot].pair != key) {
    slot = (slot + 1) & mask_;
  }
  table_[slot] = {key, rank, id};  // of a repeated pair the last rank counts
}

const BpeModel::Merge* BpeModel::find(int32_t left, int32_t right) const {
  const uint64_t key = key_of(left, right);
  for (uint64_t slot = mix(key) & mask_;; slot = (slot + 1) & mask_) {
    const Merge& merge = table_[slot];
    if (merge.pair == key) {
      return &merge;
    }
    if (merge.pair == UINT64_MAX) {
      return nullptr;
    }
  }
}

std::optional<int32_t> BpeModel::symbol_id(std::string_view text, bool first, bool last) const {
  const bool prefixed = !first && !options_.continuing_subword_prefix.empty();
  const bool suffixed = last && !options_.end_of_word_suffix.empty();
  if (!prefixed && !suffixed) {
    if (text.size() <= 2) {
      int length = 0;
      const char32_t c = utf8_decode(text, &length);
      if (c < character_ids_.size()) {
        const int32_t id = character_ids_[c];
        return id < 0 ? std::nullopt : std::optional<int32_t>(id);
      }
    }
    return vocabulary_.id(text);
  }
  return vocabulary_.id((prefixed ? options_.continuing_subword_prefix : "") + std::string(text) +
                        (suffixed ? options_.end_of_word_suffix : ""));
}

bool BpeModel::append_bytes(std::string_view text, std::vector<int32_t>& symbols) const {
  for (const char byte : text) {
    if (byte_ids_[static_cast<unsigned char>(byte)] < 0) {
      return false;
    }
  }
  for (const char byte : text) {
    symbols.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
  }
  return true;
}

void BpeModel::start_symbols(std::string_view word, std::vector<int32_t>& symbols) const {
  bool unknown = false;  // an unknown token waits for the next known symbol, as in the reference
  for (size_t i = 0; i < word.size();) {
    int length = 0;
    utf8_decode(word.substr(i), &length);
    const std::string_view text = word.substr(i, static_cast<size_t>(length));
    const bool first = i == 0;
    i += text.size();
    const bool last = i == word.size();
    if (const auto id = symbol_id(text, first, last)) {
      if (unknown) {
        symbols.push_back(*unk_id_);
        unknown = false;
      }
      symbols.push_back(*id);
      continue;
    }
    if (options_.byte_fallback) {
      const std::string whole = (first ? "" : options_.continuing_subword_prefix) +
                                std::string(text) + (last ? options_.end_of_word_suffix : "");
      if (append_bytes(whole, symbols)) {
        continue;
      }
    }
    if (options_.unk_token) {
      TESSERA_CHECK(unk_id_, CorruptFile, "model BPE: unk_token '{}' is not in the vocabulary",
                    *options_.unk_token);
      if (unknown && !options_.fuse_unk) {
        symbols.push_back(*unk_id_);
      }
      unknown = true;
    }
  }
  if (unknown) {
    symbols.push_back(*unk_id_);
  }
}

void BpeModel::merge_short(std::vector<int32_t>& symbols) const {
  const Merge* merges[kShortWord];
  size_t count = symbols.size();
  for (size_t i = 0; i + 1 < count; ++i) {
    merges[i] = find(symbols[i], symbols[i + 1]);
  }
  while (count > 1) {
    size_t best = 0;
    uint32_t best_rank = kNoRank;
    for (size_t i = 0; i + 1 < count; ++i) {
      if (merges[i] != nullptr && merges[i]->rank < best_rank) {
        best = i;
        best_rank = merges[i]->rank;
      }
    }
    if (best_rank == kNoRank) {
      break;
    }
    symbols[best] = merges[best]->id;
    std::copy(symbols.begin() + static_cast<ptrdiff_t>(best) + 2,
              symbols.begin() + static_cast<ptrdiff_t>(count),
              symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
    std::copy(merges + best + 1, merges + count - 1, merges + best);
    --count;
    if (best > 0) {
      merges[best - 1] = find(symbols[best - 1], symbols[best]);
    }
    if (best + 1 < count) {
      merges[best] = find(symbols[best], symbols[best + 1]);
    }
  }
  symbols.resize(count);
}

void BpeModel::merge_long(std::vector<int32_t>& ids) const {
  struct Candidate {
    uint32_t rank;
    int32_t position;
    int32_t id;
    bool operator<(const Candidate& other) const {  // the best on top
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  TESSERA_CHECK(ids.size() < INT32_MAX, InvalidArgument,
                "a word of {} symbols is too long; expected less than 2^31", ids.size());
  const auto size = static_cast<int32_t>(ids.size());
  std::vector<Symbol> symbols(ids.size());
  std::vector<Candidate> storage;
  storage.reserve(ids.size());
  std::priority_queue<Candidate> queue(std::less<Candidate>{}, std::move(storage));
  const auto offer = [&](int32_t left, int32_t right) {
    if (const Merge* merge = find(symbols[left].id, symbols[right].id)) {
      queue.push({merge->rank, left, merge->id});
    }
  };
  for (int32_t i = 0; i < size; ++i) {
    symbols[i] = {ids[i], i - 1, i + 1 < size ? i + 1 : -1};
  }
  for (int32_t i = 0; i + 1 < size; ++i) {
    offer(i, i + 1);
  }
  constexpr int32_t kDead = -2;
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbols[top.position];
    if (left.next < 0) {  // dead, or the last one
      continue;
    }
    const int32_t right_position = left.next;
    Symbol& right = symbols[right_position];
    const Merge* merge = find(left.id, right.id);
    if (merge == nullptr || merge->id != top.id) {  // stale
      continue;
    }
    left.id = top.id;
    left.next = right.next;
    right.next = kDead;
    if (left.next >= 0) {
      symbols[left.next].previous = top.position;
      offer(top.position, left.next);
    }
    if (left.previous >= 0) {
      offer(left.previous, top.position);
    }
  }
  ids.clear();
  for (int32_t i = 0; i >= 0; i = symbols[i].next) {
    ids.push_back(symbols[i].id);
  }
}

void BpeModel::encode(std::string_view word, std::vector<int32_t>& ids) const {
  if (word.empty()) {
    return;
  }
  if (options_.ignore_merges) {
    if (const auto id = vocabulary_.id(word)) {
      ids.push_back(*id);
      return;
    }
  }
  thread_local std::vector<int32_t> symbols;
  symbols.clear();
  start_symbols(word, symbols);
  if (symbols.size() > kShortWord) {
    merge_long(symbols);
  } else {
    merge_short(symbols);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.end());
  constexpr size_t kKeep = 1 << 16;
  if (symbols.capacity() > kKeep) {
    symbols = {};
  }
}

std::vector<std::pair<std::string, std::string>> parse_merges(const io::Json& json) {
  TESSERA_CHECK(json.is_array(), CorruptFile, "model BPE: `merges` is {}, expected a list",
                json.type_name());
  std::vector<std::pair<std::string, std::string>> merges;
  merges.reserve(json.size());
  for (const io::Json& merge : json) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      continue;
    }
    TESSERA_CHECK(merge.is_string(), CorruptFile,
                  "model BPE: merge {} is {}, expected \"a b\" or [a, b]", merges.size(),
                  merge.type_name());
    const auto& text = merge.get_ref<const std::string&>();
    if (text.starts_with("#version")) {
      continue;
    }
    const size_t space = text.find(' ');
    TESSERA_CHECK(space != std::string::npos && text.find(' ', space + 1) == std::string::npos,
                  CorruptFile, "model BPE: merge {} is '{}', expected two parts with one space",
                  merges.size(), text);
    merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  }
  return merges;
}

namespace {

std::unique_ptr<TokenModel> make_bpe(const io::Json& json) {
  constexpr std::string_view kWhat = "model BPE";
  BpeOptions options;
  if (!member(json, "unk_token").is_null()) {
    options.unk_token = string_field(json, "unk_token", kWhat);
  }
  options.continuing_subword_prefix = string_field(json, "continuing_subword_prefix", kWhat, "");
  options.end_of_word_suffix = string_field(json, "end_of_word_suffix", kWhat, "");
  options.fuse_unk = bool_field(json, "fuse_unk", kWhat, false);
  options.byte_fallback = bool_field(json, "byte_fallback", kWhat, false);
  options.ignore_merges = bool_field(json, "ignore_merges", kWhat, false);
  const io::Json& dropout = member(json, "dropout");
  if (dropout.is_number() && dropout.get<double>() > 0) {
    log::warning("model BPE: dropout {} is for training; encoding without it", dropout.dump());
  }
  return std::make_unique<BpeModel>(
      Vocabulary::from_json(member(json, "vocab"), "model BPE: vocab"),
      parse_merges(member(json, "merges")), std::move(options));
}

}  // namespace

std::unique_ptr<TokenModel> make_model(const io::Json& json) {
  const std::string type = type_of(json, "model");
  if (type == "BPE" || (type.empty() && json.contains("merges"))) {
    return make_bpe(json);
  }
  if (type == "WordPiece" || (type.empty() && json.contains("continuing_subword_prefix"))) {
    return make_wordpiece(json);
  }
  if (type == "WordLevel") {
    return make_wordlevel(json);
  }
  if (type == "Unigram" || (type.empty() && member(json, "vocab").is_array())) {
    return make_unigram(json);
  }
  throw Unsupported("model '{}' is not supported; expected BPE, WordPiece, WordLevel or Unigram",
                    type);
}

}  // namespace tessera::text
