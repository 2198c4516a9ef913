// Byte pair encoding's training (Sennrich et al. 2016) after tokenizers/src/models/bpe/trainer.rs
// and word.rs of huggingface/tokenizers, whose results it repeats to the last merge: counts of a
// merged pair stay in the table, a pair whose count has changed goes back into the queue, and equal
// counts are resolved by the smaller pair of ids.
#include "text/bpe_trainer.h"

#include "core/error.h"
#include "core/strings.h"

#include <algorithm>
#include <queue>
#include <set>
#include <unordered_map>

namespace tessera::text {
namespace {

constexpr const char* kSpecial[] = {"<unk>", "<s>", "</s>"};
constexpr int64_t kBytes = 256;
constexpr int64_t kMostPieces = 1 << 20;

uint64_t key_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// A pair that may be merged, with the words that hold it.
struct Candidate {
  uint64_t pair;
  int64_t count;
  std::set<size_t> words;

  // Of a queue whose top is the largest.
  bool operator<(const Candidate& other) const {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

// Where a merge changed the number of a pair.
struct Change {
  uint64_t pair;
  int64_t by;
};

struct Word {
  std::vector<int32_t> symbols;
  int64_t count;

  void merge(uint64_t pair, int32_t merged, std::vector<Change>& changes);
};

void Word::merge(uint64_t pair, int32_t merged, std::vector<Change>& changes) {
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    const int32_t left = symbols[i];
    const int32_t right = symbols[i + 1];
    if (key_of(left, right) != pair) {
      continue;
    }
    symbols[i] = merged;
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(i) + 1);
    if (i > 0) {
      changes.push_back({key_of(symbols[i - 1], left), -count});
      changes.push_back({key_of(symbols[i - 1], merged), count});
    }
    if (i + 1 < symbols.size()) {
      changes.push_back({key_of(right, symbols[i + 1]), -count});
      changes.push_back({key_of(merged, symbols[i + 1]), count});
    }
  }
}

class Training {
 public:
  Training(const std::map<std::string, uint64_t, std::less<>>& counts,
           const BpeTrainerOptions& options);
  BpePieces run();

 private:
  int32_t id_of(const std::string& piece);
  void merge(const Candidate& top);
  // Queues the pairs that have new places.
  void queue_new();

  BpeTrainerOptions options_;
  BpePieces result_;
  std::unordered_map<std::string, int32_t> ids_;
  std::vector<Word> words_;
  std::unordered_map<uint64_t, int64_t> counts_;
  std::unordered_map<uint64_t, std::set<size_t>> places_;
  std::priority_queue<Candidate> queue_;
};

int32_t Training::id_of(const std::string& piece) {
  const auto [found, added] = ids_.emplace(piece, static_cast<int32_t>(result_.pieces.size()));
  if (added) {
    result_.pieces.push_back(piece);
  }
  return found->second;
}

Training::Training(const std::map<std::string, uint64_t, std::less<>>& counts,
                   const BpeTrainerOptions& options)
    : options_(options) {
  for (const char* special : kSpecial) {
    id_of(special);
  }
  std::vector<char32_t> alphabet(byte_to_char().begin(), byte_to_char().end());
  std::sort(alphabet.begin(), alphabet.end());
  for (const char32_t character : alphabet) {
    std::string piece;
    utf8_append(piece, character);
    id_of(piece);
  }
  for (const auto& [text, count] : counts) {
    Word word{.symbols = {}, .count = static_cast<int64_t>(count)};
    for (std::string_view rest = text; !rest.empty();) {
      int length = 0;
      utf8_decode(rest, &length);
      word.symbols.push_back(id_of(std::string(rest.substr(0, static_cast<size_t>(length)))));
      rest.remove_prefix(static_cast<size_t>(length));
    }
    for (size_t i = 0; i + 1 < word.symbols.size(); ++i) {
      const uint64_t pair = key_of(word.symbols[i], word.symbols[i + 1]);
      counts_[pair] += word.count;
      places_[pair].insert(words_.size());
    }
    words_.push_back(std::move(word));
  }
  queue_new();
}

void Training::queue_new() {
  for (auto& [pair, words] : places_) {
    const int64_t count = counts_[pair];
    if (count > 0) {
      queue_.push({pair, count, std::move(words)});
    }
  }
  places_.clear();
}

void Training::merge(const Candidate& top) {
  const std::string& left = result_.pieces[top.pair >> 32];
  const std::string& right = result_.pieces[top.pair & UINT32_MAX];
  result_.merges.emplace_back(left, right);
  const int32_t merged = id_of(left + right);
  std::vector<Change> changes;
  for (const size_t index : top.words) {
    changes.clear();
    words_[index].merge(top.pair, merged, changes);
    for (const Change& change : changes) {
      counts_[change.pair] += change.by;
      if (change.by > 0) {
        places_[change.pair].insert(index);
      }
    }
  }
  queue_new();
}

BpePieces Training::run() {
  while (static_cast<int64_t>(result_.pieces.size()) < options_.vocab_size && !queue_.empty()) {
    Candidate top = queue_.top();
    queue_.pop();
    const int64_t count = counts_[top.pair];
    if (top.count != count) {
      top.count = count;
      queue_.push(std::move(top));
      continue;
    }
    if (count < std::max<int64_t>(1, options_.min_frequency)) {
      break;
    }
    merge(top);
  }
  return std::move(result_);
}

io::OrderedJson added_token(const std::string& content, size_t id, bool special) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

io::OrderedJson tokenizer_json(const BpePieces& pieces, std::span<const std::string> added) {
  io::OrderedJson tokens = io::OrderedJson::array();
  for (size_t i = 0; i < std::size(kSpecial); ++i) {
    tokens.push_back(added_token(kSpecial[i], i, true));
  }
  io::OrderedJson vocabulary = io::OrderedJson::object();
  for (size_t i = 0; i < pieces.pieces.size(); ++i) {
    vocabulary[pieces.pieces[i]] = i;
  }
  std::set<std::string_view> seen;
  for (size_t i = 0; i < added.size(); ++i) {
    TESSERA_CHECK(
        !added[i].empty() && !vocabulary.contains(added[i]) && seen.insert(added[i]).second,
        InvalidArgument, "the added token '{}' is empty, a piece already or given twice", added[i]);
    tokens.push_back(added_token(added[i], pieces.pieces.size() + i, false));
  }
  const auto part = [](const char* kind, const char* id) -> io::OrderedJson {
    return {{kind, {{"id", id}, {"type_id", 0}}}};
  };
  const io::OrderedJson byte_level = {{"type", "ByteLevel"},
                                      {"add_prefix_space", false},
                                      {"trim_offsets", true},
                                      {"use_regex", true}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", tokens},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single", {part("SpecialToken", "<s>"), part("Sequence", "A")}},
            {"pair",
             {part("SpecialToken", "<s>"),
              part("Sequence", "A"),
              part("SpecialToken", "<s>"),
              {{"Sequence", {{"id", "B"}, {"type_id", 1}}}}}},
            {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {1}}, {"tokens", {"<s>"}}}}}}}},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", vocabulary},
            {"merges", pieces.merges}}}};
}

}  // namespace

BpeTrainer::BpeTrainer()
    : pre_tokenizer_(make_pretokenizer(
          {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}})) {}

BpeTrainer::~BpeTrainer() = default;

void BpeTrainer::add(std::string_view text, uint64_t times) {
  Words words;
  words.text = utf8_lossy(text);
  if (words.text.empty() || times == 0) {
    return;
  }
  words.pieces = {{0, words.text.size(), true}};
  pre_tokenizer_->apply(words);
  for (size_t i = 0; i < words.pieces.size(); ++i) {
    const auto found = counts_.find(words[i]);
    if (found != counts_.end()) {
      found->second += times;
    } else {
      counts_.emplace(words[i], times);
    }
  }
}

BpePieces BpeTrainer::train(const BpeTrainerOptions& options) const {
  const int64_t least = static_cast<int64_t>(std::size(kSpecial)) + kBytes;
  TESSERA_CHECK(options.vocab_size >= least && options.vocab_size <= kMostPieces, InvalidArgument,
                "a byte-level vocabulary has {} to {} pieces, {} are asked for", least, kMostPieces,
                options.vocab_size);
  return Training(counts_, options).run();
}

void write_tokenizer(const io::fs::path& folder,
                     const BpePieces& pieces,
                     std::span<const std::string> added) {
  const io::OrderedJson json = tokenizer_json(pieces, added);
  const io::OrderedJson config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                                  {"bos_token", "<s>"},
                                  {"eos_token", "</s>"},
                                  {"unk_token", "<unk>"},
                                  {"pad_token", "<unk>"},
                                  {"add_prefix_space", false},
                                  {"clean_up_tokenization_spaces", false}};
  std::error_code failed;
  io::fs::create_directories(folder, failed);
  TESSERA_CHECK(!failed, Io, "{}: cannot be made: {}", folder.string(), failed.message());
  io::write_file(folder / "tokenizer.json", json.dump(1) + "\n");
  io::write_file(folder / "tokenizer_config.json", config.dump(2) + "\n");
}

}  // namespace tessera::text
