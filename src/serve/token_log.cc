// JSON has no infinity: what cannot come has -9999, as OpenAI writes it.
#include "serve/token_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace tessera::serve {
namespace {

using Json = io::OrderedJson;

double finite(double logprob) {
  return std::isfinite(logprob) ? logprob : -9999.0;
}

Json choice_json(const TokenChoice& choice) {
  Json bytes = Json::array();
  for (const char c : choice.bytes) {
    bytes.push_back(static_cast<unsigned char>(c));
  }
  return {{"token", choice.bytes}, {"logprob", finite(choice.logprob)}, {"bytes", bytes}};
}

bool is_text(const std::string& bytes) {
  try {
    Json(bytes).dump();  // throws for broken UTF-8
    return true;
  } catch (const Json::type_error&) {
    return false;
  }
}

// Completions have names alone: parts of characters are spelled out.
std::string name_of(const std::string& bytes) {
  if (is_text(bytes)) {
    return bytes;
  }
  std::string name = "bytes:";
  for (const char c : bytes) {
    name += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return name;
}

}  // namespace

void TokenLog::text(std::string_view piece) {
  bytes_ += piece.size();
  characters_ += static_cast<size_t>(std::count_if(piece.begin(), piece.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::vector<TokenLog::Entry> TokenLog::take(size_t shown) {
  std::vector<Entry> entries;
  while (!waiting_.empty() && waiting_.front().byte < shown) {
    entries.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return entries;
}

std::vector<TokenLog::Entry> TokenLog::take_all() {
  std::vector<Entry> entries(waiting_.begin(), waiting_.end());
  waiting_.clear();
  return entries;
}

Json chat_logprobs(const std::vector<TokenLog::Entry>& entries) {
  Json content = Json::array();
  for (const TokenLog::Entry& entry : entries) {
    Json token = choice_json(entry.token.chosen);
    token["top_logprobs"] = Json::array();
    for (const TokenChoice& other : entry.token.top) {
      token["top_logprobs"].push_back(choice_json(other));
    }
    content.push_back(std::move(token));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

Json completion_logprobs(const std::vector<TokenLog::Entry>& entries, bool top) {
  Json result = {{"tokens", Json::array()},
                 {"token_logprobs", Json::array()},
                 {"top_logprobs", top ? Json::array() : Json(nullptr)},
                 {"text_offset", Json::array()}};
  for (const TokenLog::Entry& entry : entries) {
    const TokenChoice& chosen = entry.token.chosen;
    result["tokens"].push_back(name_of(chosen.bytes));
    result["token_logprobs"].push_back(finite(chosen.logprob));
    result["text_offset"].push_back(entry.character);
    if (top) {
      Json others = Json::object();
      for (const TokenChoice& other : entry.token.top) {  // of equal names the likelier one
        others.emplace(name_of(other.bytes), finite(other.logprob));
      }
      others.emplace(name_of(chosen.bytes), finite(chosen.logprob));
      result["top_logprobs"].push_back(std::move(others));
    }
  }
  return result;
}

}  // namespace tessera::serve
