// The order in which transformers 4.34.1 (PreTrainedTokenizerBase._from_pretrained) reads a folder:
// tokenizer_config.json; if that has an added_tokens_decoder, nothing else counts. Otherwise
// special_tokens_map.json overrides the named tokens, then added_tokens.json and the added_tokens
// of tokenizer.json give ids. Difference: named tokens written as plain objects are accepted where
// the reference fails. Unknown keys are ignored: these files hold settings of many programs.
#include "text/slow_llama_config.h"

#include "core/error.h"
#include "io/json.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace tessera::text {
namespace {

using io::Json;

constexpr uint64_t kMaxJsonBytes = uint64_t{1} << 30;

struct NamedKey {
  const char* key;
  std::optional<NamedToken> SlowLlamaConfig::*member;
};

constexpr std::array<NamedKey, 7> kNamedKeys = {{{"bos_token", &SlowLlamaConfig::bos},
                                                 {"eos_token", &SlowLlamaConfig::eos},
                                                 {"unk_token", &SlowLlamaConfig::unk},
                                                 {"sep_token", &SlowLlamaConfig::sep},
                                                 {"pad_token", &SlowLlamaConfig::pad},
                                                 {"cls_token", &SlowLlamaConfig::cls},
                                                 {"mask_token", &SlowLlamaConfig::mask}}};

/// Reads one folder; keeps what must be remembered between its files.
class ConfigReader {
 public:
  explicit ConfigReader(const io::fs::path& folder) : folder_(folder) {}

  SlowLlamaConfig read();

 private:
  std::optional<Json> open(const char* name);
  [[noreturn]] void fail(std::string_view key, std::string_view expected) const;
  void read_flag(const Json& json, const char* key, bool& out) const;
  bool flag_of(const Json& token, const char* key) const;
  NamedToken named_token(const Json& json, std::string_view key) const;
  int32_t id_of(const Json& json, std::string_view key) const;
  void read_named(const Json& json);
  void read_additional(const Json& list);
  void read_added_decoder(const Json& decoder);
  void read_added_files();

  const io::fs::path& folder_;
  io::fs::path file_;  // the one being read, for errors
  SlowLlamaConfig config_;
  std::unordered_map<std::string, SlowToken> flagged_;  // tokens whose flags the files give
};

std::optional<Json> ConfigReader::open(const char* name) {
  file_ = folder_ / name;
  if (!io::fs::exists(file_)) {
    return std::nullopt;
  }
  Json json = io::parse_json(io::read_file(file_, kMaxJsonBytes), file_.string());
  if (!json.is_object()) {
    fail("(the whole file)", "an object");
  }
  return json;
}

void ConfigReader::fail(std::string_view key, std::string_view expected) const {
  throw CorruptFile("{}: \"{}\" has a value of the wrong kind; expected {}, correct the file",
                    file_.string(), key, expected);
}

void ConfigReader::read_flag(const Json& json, const char* key, bool& out) const {
  const auto it = json.find(key);
  if (it == json.end()) {
    return;
  }
  if (!it->is_boolean() && !it->is_null()) {
    fail(key, "true or false");
  }
  out = it->is_boolean() && it->get<bool>();
}

bool ConfigReader::flag_of(const Json& token, const char* key) const {
  bool flag = false;
  read_flag(token, key, flag);
  return flag;
}

NamedToken ConfigReader::named_token(const Json& json, std::string_view key) const {
  if (json.is_string()) {
    return {{json.get<std::string>()}, true};
  }
  const bool has_content =
      json.is_object() && json.contains("content") && json["content"].is_string();
  if (!has_content) {
    fail(key, "a string or an object with \"content\"");
  }
  return {{json["content"].get<std::string>(), flag_of(json, "single_word"),
           flag_of(json, "lstrip"), flag_of(json, "rstrip")},
          false};
}

int32_t ConfigReader::id_of(const Json& json, std::string_view key) const {
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max() - 1;
  const bool fits =
      json.is_number_integer() && json.get<int64_t>() >= 0 && json.get<int64_t>() <= kMax;
  if (!fits) {
    fail(key, "an id from 0 to 2147483646");
  }
  return static_cast<int32_t>(json.get<int64_t>());
}

void ConfigReader::read_named(const Json& json) {
  for (const auto& [key, member] : kNamedKeys) {
    const auto it = json.find(key);
    if (it == json.end()) {
      continue;
    }
    if (it->is_null()) {
      config_.*member = std::nullopt;
    } else {
      config_.*member = named_token(*it, key);
    }
  }
  if (const auto it = json.find("additional_special_tokens"); it != json.end() && !it->is_null()) {
    read_additional(*it);
  }
}

void ConfigReader::read_additional(const Json& list) {
  if (!list.is_array()) {
    fail("additional_special_tokens", "a list");
  }
  for (const Json& item : list) {
    NamedToken token = named_token(item, "additional_special_tokens");
    const auto same = [&](const NamedToken& other) {
      return other.plain == token.plain && other.token.content == token.token.content;
    };
    if (std::none_of(config_.additional.begin(), config_.additional.end(), same)) {
      config_.additional.push_back(std::move(token));
    }
  }
}

void ConfigReader::read_added_decoder(const Json& decoder) {
  if (!decoder.is_object()) {
    fail("added_tokens_decoder", "an object of ids and tokens");
  }
  for (const auto& [key, value] : decoder.items()) {
    int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 ||
        id == std::numeric_limits<int32_t>::max() || !value.is_object()) {
      fail("added_tokens_decoder", "ids as keys and objects as values");
    }
    SlowToken token = named_token(value, key).token;
    flagged_[token.content] = token;
    config_.added.emplace_back(id, std::move(token));
  }
  // The reference goes by the order of the file, which it writes sorted by id.
  std::stable_sort(config_.added.begin(), config_.added.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
}

void ConfigReader::read_added_files() {
  if (const auto json = open("special_tokens_map.json")) {
    read_named(*json);
  }
  if (const auto json = open("added_tokens.json")) {
    for (const auto& [content, id] : json->items()) {
      config_.added.emplace_back(id_of(id, content), SlowToken{content});
    }
  }
  const auto json = open("tokenizer.json");
  if (!json || !json->contains("added_tokens")) {
    return;
  }
  for (const Json& item : (*json)["added_tokens"]) {
    if (!item.is_object() || !item.contains("id")) {
      fail("added_tokens", "objects with \"id\" and \"content\"");
    }
    SlowToken token = named_token(item, "added_tokens").token;
    flagged_[token.content] = token;
    config_.added.emplace_back(id_of(item["id"], "id"), std::move(token));
  }
}

SlowLlamaConfig ConfigReader::read() {
  bool has_decoder = false;
  if (const auto json = open("tokenizer_config.json")) {
    read_flag(*json, "add_bos_token", config_.add_bos_token);
    read_flag(*json, "add_eos_token", config_.add_eos_token);
    if (json->contains("legacy") && !(*json)["legacy"].is_null()) {
      read_flag(*json, "legacy", config_.legacy);
    }
    read_flag(*json, "split_special_tokens", config_.split_special_tokens);
    read_flag(*json, "clean_up_tokenization_spaces", config_.clean_up_tokenization_spaces);
    read_named(*json);
    if (const auto it = json->find("added_tokens_decoder"); it != json->end()) {
      has_decoder = true;
      read_added_decoder(*it);
    }
  }
  if (!has_decoder) {
    read_added_files();
  }
  // A named token written as a string takes its flags from the list of added tokens.
  for (const auto& named : kNamedKeys) {
    auto& token = config_.*named.member;
    if (token && token->plain) {
      if (const auto it = flagged_.find(token->token.content); it != flagged_.end()) {
        *token = {it->second, false};
      }
    }
  }
  // The class itself turns these four into tokens without flags.
  for (auto* token : {&config_.bos, &config_.eos, &config_.unk, &config_.pad}) {
    if (*token) {
      (*token)->plain = false;
    }
  }
  return std::move(config_);
}

}  // namespace

std::vector<NamedToken> SlowLlamaConfig::special_tokens() const {
  std::vector<NamedToken> tokens;
  std::unordered_set<std::string> seen;
  for (const auto& named : kNamedKeys) {
    const auto& token = this->*named.member;
    if (token && seen.insert(token->token.content).second) {
      tokens.push_back(*token);
    }
  }
  for (const NamedToken& token : additional) {
    if (!seen.contains(token.token.content)) {
      tokens.push_back(token);
    }
  }
  return tokens;
}

SlowLlamaConfig read_slow_llama_config(const io::fs::path& folder) {
  return ConfigReader(folder).read();
}

}  // namespace tessera::text
