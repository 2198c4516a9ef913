// The rule of transformers 4.34.1 (tokenization_utils.Trie): walk the characters with one state for
// each place where a token may have begun. As soon as a token is complete, the states that began
// no later look ahead, earliest first; the first that completes a token wins with its longest one.
// A known oddity is kept, because ids depend on it: an earlier state that has just failed still
// looks ahead from the next character, so that with the tokens "abcd" and "b" the text "abXcd" is
// cut as one run.
#include "text/added_token_splitter.h"

#include "core/strings.h"

#include <string>

namespace tessera::text {

struct AddedTokenSplitter::Text {
  std::vector<char32_t> characters;
  std::vector<size_t> offsets;  // byte where each character begins; one more for the end
};

struct AddedTokenSplitter::Match {
  size_t begin;
  size_t end;
};

struct AddedTokenSplitter::State {
  size_t begin;
  uint32_t node;
};

void AddedTokenSplitter::add(std::string_view token) {
  if (token.empty()) {
    return;
  }
  uint32_t node = kRoot;
  while (!token.empty()) {
    int length = 0;
    const char32_t character = utf8_decode(token, &length);
    token.remove_prefix(static_cast<size_t>(length));
    const auto next = static_cast<uint32_t>(ends_.size());
    const auto [it, added] = edges_.emplace(uint64_t{node} << 32 | character, next);
    if (added) {
      ends_.push_back(false);
    }
    node = it->second;
  }
  ends_[node] = true;
}

uint32_t AddedTokenSplitter::child(uint32_t node, char32_t character) const {
  const auto it = edges_.find(uint64_t{node} << 32 | character);
  return it == edges_.end() ? kRoot : it->second;
}

/// `states[which]` ends a token before character `at`: which token is taken?
AddedTokenSplitter::Match AddedTokenSplitter::resolve(const Text& text,
                                                      const std::vector<State>& states,
                                                      size_t which,
                                                      size_t at) const {
  for (size_t i = 0; i <= which; ++i) {
    uint32_t node = states[i].node;
    size_t next = i == which ? at : at + 1;
    size_t end = ends_[node] ? next : 0;
    while (next < text.characters.size()) {
      node = child(node, text.characters[next]);
      if (node == kRoot) {
        break;
      }
      ++next;
      end = ends_[node] ? next : end;
    }
    if (end > 0) {
      return {states[i].begin, end};
    }
  }
  return {states[which].begin, at};
}

std::vector<AddedTokenSplitter::Match> AddedTokenSplitter::find(const Text& text) const {
  std::vector<Match> matches;
  std::vector<State> states;
  size_t skip = 0;
  for (size_t at = 0; at < text.characters.size(); ++at) {
    if (at < skip) {
      continue;
    }
    const char32_t character = text.characters[at];
    std::vector<State> alive;
    bool matched = false;
    for (size_t i = 0; i < states.size() && !matched; ++i) {
      if (ends_[states[i].node]) {
        matches.push_back(resolve(text, states, i, at));
        skip = matches.back().end;
        matched = true;
      } else if (const uint32_t next = child(states[i].node, character); next != kRoot) {
        states[i].node = next;
        alive.push_back(states[i]);
      }
    }
    states = matched ? std::vector<State>() : std::move(alive);
    if (const uint32_t first = child(kRoot, character); at >= skip && first != kRoot) {
      states.push_back({at, first});
    }
  }
  for (const State& state : states) {
    if (ends_[state.node]) {
      matches.push_back({state.begin, text.characters.size()});
      break;
    }
  }
  return matches;
}

std::vector<std::string_view> AddedTokenSplitter::split(std::string_view text) const {
  Text decoded;
  for (size_t at = 0; at < text.size();) {
    int length = 0;
    decoded.offsets.push_back(at);
    decoded.characters.push_back(utf8_decode(text.substr(at), &length));
    at += static_cast<size_t>(length);
  }
  decoded.offsets.push_back(text.size());
  std::vector<std::string_view> parts;
  size_t done = 0;
  const auto cut = [&](size_t character) {
    const size_t byte = decoded.offsets[character];
    if (byte > done) {
      parts.push_back(text.substr(done, byte - done));
      done = byte;
    }
  };
  for (const Match& match : find(decoded)) {
    cut(match.begin);
    cut(match.end);
  }
  cut(decoded.characters.size());
  return parts;
}

}  // namespace tessera::text
