// Two passes as in huggingface/tokenizers 0.23: tokens with normalized = false on the raw text,
// then the others on each run after the normalizer. A match that is refused (single_word) is
// skipped as a whole; the search goes on behind it. A token that takes white space on its right
// does not move the search on, so a next token may begin inside that white space.
#include "text/added_tokens.h"

#include "core/strings.h"
#include "text/unicode.h"

#include <algorithm>

namespace tessera::text {
namespace {

char32_t last_character(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) {
    --begin;
  }
  int length = 0;
  return utf8_decode(text.substr(begin), &length);
}

char32_t first_character(std::string_view text) {
  int length = 0;
  return utf8_decode(text, &length);
}

size_t left_of_spaces(std::string_view text, size_t end, size_t limit) {
  while (end > limit) {
    const std::string_view head = text.substr(0, end);
    const char32_t c = last_character(head);
    if (!is_whitespace(c)) {
      break;
    }
    std::string bytes;
    utf8_append(bytes, c);
    end -= bytes.size();
  }
  return std::max(end, limit);
}

size_t right_of_spaces(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    int length = 0;
    if (!is_whitespace(utf8_decode(text.substr(begin), &length))) {
      break;
    }
    begin += static_cast<size_t>(length);
  }
  return begin;
}

}  // namespace

void TokenTrie::add(std::string_view text, int32_t id) {
  if (!text.empty()) {
    starts_[static_cast<unsigned char>(text.front())] = true;
  }
  uint32_t at = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    auto& next = nodes_[at].next;
    const auto it =
        std::lower_bound(next.begin(), next.end(), std::pair<unsigned char, uint32_t>(byte, 0));
    if (it != next.end() && it->first == byte) {
      at = it->second;
    } else {
      const auto fresh = static_cast<uint32_t>(nodes_.size());
      next.insert(it, {byte, fresh});
      nodes_.emplace_back();
      at = fresh;
    }
  }
  if (nodes_[at].id < 0) {  // of tokens with one normalized form the first counts
    nodes_[at].id = id;
  }
}

int32_t TokenTrie::match(std::string_view text, size_t* length) const {
  int32_t found = -1;
  uint32_t at = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto& next = nodes_[at].next;
    const auto it =
        std::lower_bound(next.begin(), next.end(), std::pair<unsigned char, uint32_t>(byte, 0));
    if (it == next.end() || it->first != byte) {
      break;
    }
    at = it->second;
    if (nodes_[at].id >= 0) {
      found = nodes_[at].id;
      *length = i + 1;
    }
  }
  return found;
}

void AddedVocabulary::add(std::span<const AddedToken> tokens,
                          const TokenModel& model,
                          const Normalizer* normalizer) {
  const auto model_size = static_cast<int32_t>(model.vocabulary().size());
  int32_t next_id = std::max(model_size, max_id() + 1);
  for (const AddedToken& token : tokens) {
    if (token.content.empty()) {
      continue;
    }
    std::optional<int32_t> id = this->id(token.content);
    if (!id) {
      id = model.vocabulary().id(token.content);
    }
    if (!id) {
      id = next_id++;
    }
    Entry entry{token, token.content};
    if (token.normalized && normalizer != nullptr) {
      bool at_start = true;
      normalizer->apply(entry.form, at_start);
    }
    ids_[token.content] = *id;
    if (token.special) {
      special_.insert(token.content);
    }
    by_id_[*id] = std::move(entry);
  }
  rebuild();
}

void AddedVocabulary::rebuild() {
  raw_ = TokenTrie();
  normalized_ = TokenTrie();
  for (const auto& [id, entry] : by_id_) {
    if (entry.token.normalized) {
      normalized_.add(entry.form, id);
    } else {
      raw_.add(entry.token.content, id);
    }
  }
}

std::optional<int32_t> AddedVocabulary::id(std::string_view content) const {
  const auto it = ids_.find(content);
  return it == ids_.end() ? std::nullopt : std::optional<int32_t>(it->second);
}

const AddedToken* AddedVocabulary::token(int32_t id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &it->second.token;
}

const std::string* AddedVocabulary::decode_form(int32_t id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &it->second.form;
}

std::vector<AddedVocabulary::Cut> AddedVocabulary::cut(std::string_view text,
                                                       const TokenTrie& trie) const {
  std::vector<Cut> cuts;
  size_t done = 0;
  for (size_t i = 0; i < text.size() && !trie.empty();) {
    size_t length = 0;
    const int32_t id = trie.may_start(text[i]) ? trie.match(text.substr(i), &length) : -1;
    if (id < 0) {
      ++i;
      continue;
    }
    const AddedToken& token = by_id_.at(id).token;
    size_t begin = i;
    size_t end = i + length;
    i = end;
    if (encode_special_tokens_ && special_.contains(token.content)) {
      continue;
    }
    if (token.single_word && ((begin > 0 && is_word(last_character(text.substr(0, begin)))) ||
                              (end < text.size() && is_word(first_character(text.substr(end)))))) {
      continue;
    }
    if (token.lstrip) {
      begin = left_of_spaces(text, begin, done);
    }
    if (token.rstrip) {
      end = right_of_spaces(text, end);
    }
    if (done < begin) {
      cuts.push_back({done, begin, -1});
    }
    cuts.push_back({begin, end, id});
    done = end;
  }
  if (done < text.size()) {
    cuts.push_back({done, text.size(), -1});
  }
  return cuts;
}

void AddedVocabulary::extract(std::string_view text,
                              const Normalizer* normalizer,
                              const std::function<void(int32_t)>& on_token,
                              const std::function<void(std::string, bool)>& on_run) const {
  for (const Cut& outer : cut(text, raw_)) {
    if (outer.id >= 0) {
      on_token(outer.id);
      continue;
    }
    std::string run(text.substr(outer.begin, outer.end - outer.begin));
    bool at_start = outer.begin == 0;
    if (normalizer != nullptr) {
      normalizer->apply(run, at_start);
    }
    const std::vector<Cut> inner = cut(run, normalized_);
    if (inner.size() == 1 && inner.front().id < 0) {
      on_run(std::move(run), at_start);
      continue;
    }
    for (const Cut& part : inner) {
      if (part.id >= 0) {
        on_token(part.id);
      } else {
        on_run(run.substr(part.begin, part.end - part.begin), at_start && part.begin == 0);
      }
    }
  }
}

}  // namespace tessera::text
