// What transformers 5.23 does around a tokenizer.json. Two things differ from opening the file
// alone. Classes with a pipeline of their own (GPT2Tokenizer, Qwen2Tokenizer, LlamaTokenizer,
// GPTNeoXTokenizer) take vocabulary, merges and post-processor from the file and replace the rest.
// And the special tokens that the config files name are added with the flags given there, numbered
// on from the vocabulary. With vocab.json + merges.txt the class decides everything; without a
// known class the folder is taken for GPT-2.
#include "text/hf_folder.h"

#include "core/error.h"
#include "core/strings.h"
#include "text/json_fields.h"
#include "text/tokenizer_json.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

namespace tessera::text {
namespace {

using io::Json;
using io::OrderedJson;

constexpr uint64_t kMaxFile = uint64_t{1} << 30;
constexpr std::array<std::string_view, 7> kNamedTokens = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};
constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

enum class Family { kGeneric, kGpt2, kQwen2, kLlama, kGptNeoX };

/// A special token as a config file spells it: a string, or an object with flags.
struct NamedToken {
  std::string name;  // "bos_token"; "" for tokens of added_tokens_decoder and extra tokens
  AddedToken token;
  bool plain = false;           // a bare string
  bool normalized_set = false;  // otherwise normalized = not special
};

struct Folder {
  io::fs::path path;
  OrderedJson config;   // tokenizer_config.json, {} without
  OrderedJson special;  // special_tokens_map.json
  OrderedJson added;    // added_tokens.json
  Json model_config;    // config.json
  bool has_json = false;
};

OrderedJson read_optional(const io::fs::path& path) {
  if (!io::fs::exists(path)) {
    return OrderedJson::object();
  }
  OrderedJson json = io::parse_ordered_json(io::read_file(path, kMaxFile), path.string());
  TESSERA_CHECK(json.is_object(), CorruptFile, "{}: found {}, expected an object", path.string(),
                json.type_name());
  return json;
}

const OrderedJson& at(const OrderedJson& object, std::string_view key) {
  static const OrderedJson kNull;
  const auto it = object.find(key);
  return it == object.end() ? kNull : *it;
}

std::string text_of(const OrderedJson& json) {
  return json.is_string() ? json.get<std::string>() : std::string();
}

bool flag(const OrderedJson& config, std::string_view key, bool fallback) {
  const OrderedJson& value = at(config, key);
  return value.is_boolean() ? value.get<bool>() : fallback;
}

/// The class without its "Fast".
std::string base_class(std::string name) {
  if (name.ends_with("Fast") && name != "PreTrainedTokenizerFast") {
    name.resize(name.size() - 4);
  }
  return name;
}

Family family_of_class(std::string_view name) {
  if (name == "GPT2Tokenizer") {
    return Family::kGpt2;
  }
  if (name == "Qwen2Tokenizer") {
    return Family::kQwen2;
  }
  if (name == "LlamaTokenizer") {
    return Family::kLlama;
  }
  return name == "GPTNeoXTokenizer" ? Family::kGptNeoX : Family::kGeneric;
}

/// The class that transformers registers for a model type; "" when none that matters here.
std::string_view class_of_model(std::string_view model_type) {
  constexpr std::array<std::string_view, 12> kQwen2 = {
      "qwen2", "qwen2_moe", "qwen2_vl", "qwen2_5_vl",     "qwen2_audio", "qwen2_5_omni",
      "qwen3", "qwen3_moe", "internvl", "audioflamingo3", "qwen3_vl",    "colqwen2"};
  constexpr std::array<std::string_view, 7> kGpt2 = {"gpt2", "gpt_neo", "gptj",        "codegen",
                                                     "opt",  "blip-2",  "instructblip"};
  constexpr std::array<std::string_view, 7> kGptNeoX = {"gpt_neox", "mamba", "mamba2",      "xlstm",
                                                        "olmo",     "olmoe", "falcon_mamba"};
  constexpr std::array<std::string_view, 5> kGeneric = {"mistral", "mixtral", "mistral3",
                                                        "ministral", "ministral3"};
  const auto in = [model_type](const auto& list) {
    return std::find(list.begin(), list.end(), model_type) != list.end();
  };
  if (in(kQwen2)) {
    return "Qwen2Tokenizer";
  }
  if (in(kGpt2)) {
    return "GPT2Tokenizer";
  }
  if (in(kGptNeoX)) {
    return "GPTNeoXTokenizer";
  }
  return in(kGeneric) ? "TokenizersBackend" : "";
}

/// Which pipeline AutoTokenizer builds. `file`: the text of tokenizer.json.
Family choose_family(const Folder& folder, std::string_view file) {
  const Json& type = member(folder.model_config, "model_type");
  const std::string model_type = type.is_string() ? type.get<std::string>() : std::string();
  std::string name = text_of(at(folder.config, "tokenizer_class"));
  if (name.empty()) {
    const Json& other = member(folder.model_config, "tokenizer_class");
    name = other.is_string() ? other.get<std::string>() : std::string();
  }
  name = base_class(name);
  const std::string_view registered = class_of_model(model_type);
  if (name.empty()) {
    return family_of_class(registered);
  }
  // Llama 3 folders name LlamaTokenizer over a byte-level file.
  if (name == "LlamaTokenizer" && registered != "TokenizersBackend" &&
      file.find("\"ByteLevel\"") != std::string_view::npos) {
    return Family::kGeneric;
  }
  if (!registered.empty() && registered != name) {
    if (registered == "TokenizersBackend") {
      return Family::kGeneric;
    }
    if (model_type == "qwen2") {  // known to be wrong in published files
      return Family::kQwen2;
    }
  }
  return family_of_class(name);
}

NamedToken parse_named(std::string name, const OrderedJson& json, bool force_special) {
  NamedToken named;
  named.name = std::move(name);
  if (json.is_string()) {
    named.token.content = json.get<std::string>();
    named.token.special = true;
    named.token.normalized = false;
    named.plain = true;
    return named;
  }
  named.token = parse_added_token(Json(json), named.name.empty() ? "added token" : named.name);
  named.token.special = named.token.special || force_special;
  named.normalized_set = at(json, "normalized").is_boolean();
  if (!named.normalized_set) {
    named.token.normalized = !named.token.special;
  }
  return named;
}

/// The special tokens that the config files and the class name.
struct SpecialTokens {
  std::vector<NamedToken> named;  // in transformers' order
  std::vector<NamedToken> extra;
  std::map<int64_t, NamedToken> added;  // added_tokens_decoder by id

  const NamedToken* find(std::string_view name) const {
    const auto it = std::find_if(named.begin(), named.end(),
                                 [name](const NamedToken& t) { return t.name == name; });
    return it == named.end() ? nullptr : &*it;
  }
};

/// Defaults of a class: names with tokens.
std::vector<std::pair<std::string_view, std::string_view>> class_defaults(Family family) {
  constexpr std::string_view kEnd = "<|endoftext|>";
  switch (family) {
    case Family::kGpt2:
      return {{"bos_token", kEnd}, {"eos_token", kEnd}, {"unk_token", kEnd}};
    case Family::kQwen2:
      return {{"eos_token", kEnd}, {"unk_token", kEnd}, {"pad_token", kEnd}};
    case Family::kLlama:
      return {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}};
    case Family::kGptNeoX:
      return {{"bos_token", kEnd},
              {"eos_token", kEnd},
              {"unk_token", kEnd},
              {"pad_token", "<|padding|>"}};
    case Family::kGeneric:
      break;
  }
  return {};
}

bool is_named_attribute(std::string_view key) {
  return std::find(kNamedTokens.begin(), kNamedTokens.end(), key) != kNamedTokens.end();
}

/// tokenizer_config.json with special_tokens_map.json laid over it (only older folders without
/// added_tokens_decoder are read that way).
OrderedJson merged_config(const Folder& folder) {
  OrderedJson config = folder.config;
  constexpr const char* kExtra = "extra_special_tokens";
  constexpr const char* kOlder = "additional_special_tokens";
  if (config.contains(kOlder) && (at(config, kExtra).is_null() || at(config, kExtra).empty())) {
    config[kExtra] = config[kOlder];
    config.erase(kOlder);
  }
  if (at(config, "added_tokens_decoder").is_object()) {
    return config;
  }
  for (const auto& [key, value] : folder.special.items()) {
    if (key == kExtra && value.is_array()) {
      OrderedJson& list = config[kExtra];
      list = list.is_array() ? list : OrderedJson::array();
      for (const OrderedJson& token : value) {
        if (std::find(list.begin(), list.end(), token) == list.end()) {
          list.push_back(token);
        }
      }
      continue;
    }
    config[key] = value;
    if (value.is_object() && key != kExtra) {
      config[key]["special"] = true;
    }
  }
  return config;
}

/// The ids of added_tokens_decoder, or of added_tokens.json and tokenizer.json.
void collect_added(const Folder& folder,
                   const OrderedJson& config,
                   const Json& file,
                   SpecialTokens& tokens) {
  if (const OrderedJson& decoder = at(config, "added_tokens_decoder"); decoder.is_object()) {
    for (const auto& [key, value] : decoder.items()) {
      int64_t id = 0;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
      TESSERA_CHECK(error == std::errc() && end == key.data() + key.size(), CorruptFile,
                    "added_tokens_decoder: '{}' is no token id", key);
      TESSERA_CHECK(value.is_object(), CorruptFile,
                    "added_tokens_decoder: token {} is {}, expected an object", key,
                    value.type_name());
      tokens.added[id] = parse_named("", value, false);
    }
    return;
  }
  const OrderedJson& extra = at(config, "extra_special_tokens");
  for (const auto& [content, id] : folder.added.items()) {
    TESSERA_CHECK(id.is_number_integer(), CorruptFile,
                  "added_tokens.json: token '{}' has {} as id, expected an integer", content,
                  id.type_name());
    NamedToken token;
    token.token.content = content;
    token.normalized_set = true;
    const auto same = [&](const OrderedJson& value) { return text_of(value) == content; };
    token.token.special =
        std::any_of(kNamedTokens.begin(), kNamedTokens.end(),
                    [&](std::string_view key) {
                      const OrderedJson& value = at(config, key);
                      return same(value) || (value.is_object() && at(value, "special") == true &&
                                             same(at(value, "content")));
                    }) ||
        std::any_of(extra.begin(), extra.end(), same);
    token.token.normalized = !token.token.special;
    tokens.added[id.get<int64_t>()] = std::move(token);
  }
  const Json& list = member(file, "added_tokens");
  const std::vector<AddedToken> parsed = parse_added_tokens(list);
  for (size_t i = 0; i < parsed.size(); ++i) {
    tokens.added[int_field(list[i], "id", "added_tokens", 0)] = {"", parsed[i], false, true};
  }
}

void collect_extra(const OrderedJson& config, SpecialTokens& tokens) {
  const OrderedJson& list =
      at(config, config.contains("extra_special_tokens") ? "extra_special_tokens"
                                                         : "additional_special_tokens");
  if (list.is_object()) {  // named tokens of a multimodal model
    for (const auto& [key, value] : list.items()) {
      if (value.is_string() || value.is_object()) {
        tokens.named.push_back(parse_named(key, value, true));
      }
    }
  } else if (list.is_array()) {
    for (const OrderedJson& value : list) {
      TESSERA_CHECK(value.is_string() || value.is_object(), CorruptFile,
                    "additional_special_tokens: found {}, expected strings", value.type_name());
      tokens.extra.push_back(parse_named("", value, false));
    }
  }
}

SpecialTokens collect_tokens(const Folder& folder, Family family, const Json& file) {
  const OrderedJson config = merged_config(folder);
  SpecialTokens tokens;
  const auto defaults = class_defaults(family);
  for (const std::string_view name : kNamedTokens) {
    if (const OrderedJson& value = at(config, name); value.is_string() || value.is_object()) {
      tokens.named.push_back(parse_named(std::string(name), value, false));
    } else if (!config.contains(name)) {
      for (const auto& [key, content] : defaults) {
        if (key == name) {
          tokens.named.push_back(
              parse_named(std::string(name), OrderedJson(std::string(content)), false));
        }
      }
    }
  }
  for (const auto& [key, value] : config.items()) {  // "image_token": "<image>"
    if (key.ends_with("_token") && !is_named_attribute(key) && value.is_string()) {
      tokens.named.push_back(parse_named(key, value, true));
    }
  }
  collect_extra(config, tokens);
  collect_added(folder, config, file, tokens);
  for (NamedToken& named : tokens.named) {  // the flags of the added token count
    if (!is_named_attribute(named.name) || !config.contains(named.name)) {
      continue;
    }
    for (const auto& [id, added] : tokens.added) {
      if (added.token.content == named.token.content) {
        const std::string name = named.name;
        named = added;
        named.name = name;
      }
    }
  }
  return tokens;
}

/// The tokens that transformers hands to add_tokens, in order.
std::vector<AddedToken> tokens_to_add(const SpecialTokens& tokens, const JsonTokenizer& tokenizer) {
  std::vector<NamedToken> chosen;
  for (const auto& [id, named] : tokens.added) {
    chosen.push_back(named);
  }
  const size_t listed = chosen.size();
  // A string and an object of one content are two tokens here: the later one's flags win.
  const auto known = [&](const NamedToken& named) {
    const std::string& content = named.token.content;
    for (size_t i = 0; i < chosen.size(); ++i) {
      const bool same = chosen[i].plain == named.plain && chosen[i].token == named.token;
      if (chosen[i].token.content == content && (i < listed || same)) {
        return true;
      }
    }
    return tokenizer.is_added(content);
  };
  for (const auto* list : {&tokens.named, &tokens.extra}) {
    for (const NamedToken& named : *list) {
      if (!known(named)) {
        chosen.push_back(named);
      }
    }
  }
  std::vector<AddedToken> out;
  for (const NamedToken& named : chosen) {
    AddedToken token = named.token;
    const bool is_named =
        std::any_of(tokens.named.begin(), tokens.named.end(),
                    [&](const NamedToken& other) { return other.token.content == token.content; });
    if (!token.special && is_named) {
      token.special = true;
      token.normalized = named.normalized_set && token.normalized;
    }
    out.push_back(std::move(token));
  }
  return out;
}

Json byte_level(bool add_prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

/// The pipeline of a class over vocabulary and merges, as the sections of a tokenizer.json.
Json class_pipeline(const Folder& folder, Family family, Json vocabulary, Json merges) {
  const bool llama = family == Family::kLlama;
  const bool prefix = flag(folder.config, "add_prefix_space", llama);
  Json json;
  json["model"] = {{"type", "BPE"},
                   {"fuse_unk", llama},
                   {"byte_fallback", llama},
                   {"dropout", nullptr},
                   {"unk_token", nullptr}};
  json["model"]["vocab"] = std::move(vocabulary);
  json["model"]["merges"] = std::move(merges);
  if (llama) {
    const bool legacy = flag(folder.config, "legacy", false);
    json["pre_tokenizer"] = {{"type", "Metaspace"},
                             {"replacement", "▁"},
                             {"prepend_scheme", !prefix  ? "never"
                                                : legacy ? "always"
                                                         : "first"},
                             {"split", false}};
    Json decoders =
        Json::array({{{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}},
                     {{"type", "ByteFallback"}},
                     {{"type", "Fuse"}}});
    if (prefix) {
      decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
    }
    json["decoder"] = {{"type", "Sequence"}, {"decoders", std::move(decoders)}};
    return json;
  }
  json["decoder"] = byte_level(true, true);
  if (family == Family::kQwen2) {
    json["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers", Json::array({{{"type", "Split"},
                                        {"pattern", {{"Regex", std::string(kQwen2Pattern)}}},
                                        {"behavior", "Isolated"},
                                        {"invert", false}},
                                       byte_level(prefix, false)})}};
  } else {
    json["pre_tokenizer"] = byte_level(prefix, true);
  }
  if (family != Family::kGpt2) {
    json["normalizer"] = {{"type", "NFC"}};
  }
  return json;
}

/// merges.txt: "a b" a line, lines that begin with #version left out.
Json read_merges(const io::fs::path& path) {
  Json merges = Json::array();
  const std::string text = io::read_file(path, kMaxFile);
  for (std::string& line : split(text, '\n')) {
    if (line.ends_with('\r')) {
      line.pop_back();
    }
    if (!line.empty() && !line.starts_with("#version")) {
      merges.push_back(std::move(line));
    }
  }
  return merges;
}

/// Puts bos and eos around every text, as update_post_processor does.
void set_bos_eos(JsonTokenizer& tokenizer,
                 const Folder& folder,
                 const SpecialTokens& tokens,
                 bool from_config) {
  const auto id_of = [&](std::string_view name, std::string_view wanted) -> std::vector<int32_t> {
    const NamedToken* token = tokens.find(name);
    if (!from_config || !flag(folder.config, wanted, false) || token == nullptr) {
      return {};
    }
    const auto id = tokenizer.token_to_id(token->token.content);
    return id ? std::vector<int32_t>{*id} : std::vector<int32_t>{};
  };
  tokenizer.set_template(id_of("bos_token", "add_bos_token"), id_of("eos_token", "add_eos_token"));
}

std::unique_ptr<JsonTokenizer> build(const Folder& folder) {
  Json file = Json::object();
  Family family = Family::kGeneric;
  if (folder.has_json) {
    const std::string text = io::read_file(folder.path / "tokenizer.json", kMaxFile);
    file = io::parse_json(text, "tokenizer.json");
    family = choose_family(folder, text);
    if (type_of(member(file, "model"), "model") != "BPE") {
      family = Family::kGeneric;
    }
  } else {
    family = choose_family(folder, "");
    if (family == Family::kGeneric) {
      family = Family::kGpt2;
    }
  }
  const SpecialTokens tokens = collect_tokens(folder, family, file);
  std::unique_ptr<JsonTokenizer> tokenizer;
  const bool has_post = !member(file, "post_processor").is_null();
  if (family == Family::kGeneric) {
    tokenizer = std::make_unique<JsonTokenizer>(file);
    tokenizer->add_tokens(parse_added_tokens(member(file, "added_tokens")));
  } else {
    Json json = folder.has_json
                    ? class_pipeline(folder, family, std::move(file["model"]["vocab"]),
                                     std::move(file["model"]["merges"]))
                    : class_pipeline(folder, family, io::read_json(folder.path / "vocab.json"),
                                     read_merges(folder.path / "merges.txt"));
    if (has_post) {
      json["post_processor"] = std::move(file["post_processor"]);
    }
    tokenizer = std::make_unique<JsonTokenizer>(json);
  }
  tokenizer->add_tokens(tokens_to_add(tokens, *tokenizer));
  if (!has_post || family == Family::kGptNeoX) {
    set_bos_eos(*tokenizer, folder, tokens, !folder.has_json);
  }
  if (family == Family::kQwen2) {  // named and extra tokens lose their flags
    std::vector<AddedToken> plain;
    for (const auto* list : {&tokens.named, &tokens.extra}) {
      for (const NamedToken& named : *list) {
        plain.push_back({named.token.content, false, false, false, false, true});
      }
    }
    tokenizer->add_tokens(plain);
  }
  tokenizer->set_encode_special_tokens(flag(folder.config, "split_special_tokens", false));
  const bool bpe = family != Family::kGeneric || type_of(member(file, "model"), "model") == "BPE";
  tokenizer->set_clean_up_spaces(!bpe &&
                                 flag(folder.config, "clean_up_tokenization_spaces", false));
  return tokenizer;
}

}  // namespace

namespace {

Folder read_folder(const io::fs::path& folder) {
  Folder files;
  files.path = folder;
  files.has_json = io::fs::exists(folder / "tokenizer.json");
  files.config = read_optional(folder / "tokenizer_config.json");
  files.special = read_optional(folder / "special_tokens_map.json");
  files.added = read_optional(folder / "added_tokens.json");
  files.model_config = Json(read_optional(folder / "config.json"));
  return files;
}

}  // namespace

std::unique_ptr<Tokenizer> load_hf_tokenizer(const io::fs::path& folder) {
  TESSERA_CHECK(
      io::fs::exists(folder / "tokenizer.json") ||
          (io::fs::exists(folder / "vocab.json") && io::fs::exists(folder / "merges.txt")),
      NotFound, "{}: expected tokenizer.json, or vocab.json and merges.txt", folder.string());
  return with_context("loading the tokenizer of " + folder.string(),
                      [&] { return build(read_folder(folder)); });
}

std::vector<std::pair<std::string, std::string>> hf_special_tokens(const io::fs::path& folder) {
  const Folder files = read_folder(folder);
  const std::string text =
      files.has_json ? io::read_file(folder / "tokenizer.json", kMaxFile) : std::string();
  std::vector<std::pair<std::string, std::string>> out;
  for (const NamedToken& named :
       collect_tokens(files, choose_family(files, text), Json::object()).named) {
    out.emplace_back(named.name, named.token.content);
  }
  return out;
}

}  // namespace tessera::text
