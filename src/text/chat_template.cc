// What transformers 5.23 does around a chat template (tokenization_utils_base.apply_chat_template,
// chat_template_utils.render_jinja_template): files and names of templates, special tokens as
// variables, null fields of messages dropped, the several names of a message's reasoning, and the
// cut after a marker with which the last message is left open.
#include "text/chat_template.h"

#include "core/error.h"
#include "core/strings.h"
#include "io/gguf.h"
#include "text/hf_folder.h"
#include "text/jinja/builtins.h"

#include <algorithm>
#include <array>

namespace tessera::text {
namespace {

using io::OrderedJson;

constexpr uint64_t kMaxTemplateFile = uint64_t{4} << 20;
constexpr uint64_t kMaxConfigFile = uint64_t{256} << 20;
constexpr std::string_view kContinueTag = "CONTINUE_FINAL_MESSAGE_TAG ";
constexpr std::array<std::string_view, 3> kReasoningFields = {"reasoning_content", "thinking",
                                                              "reasoning"};

using Sources = std::map<std::string, std::string>;

std::string read_template(const io::fs::path& path) {
  return io::read_file(path, kMaxTemplateFile);
}

Sources template_files(const io::fs::path& folder) {
  Sources out;
  if (io::fs::exists(folder / "chat_template.jinja")) {
    out["default"] = read_template(folder / "chat_template.jinja");
  }
  const io::fs::path more = folder / "additional_chat_templates";
  if (io::fs::is_directory(more)) {
    for (const auto& item : io::fs::directory_iterator(more)) {
      if (item.path().extension() == ".jinja") {
        out[item.path().stem().string()] = read_template(item.path());
      }
    }
  }
  return out;
}

Sources config_templates(const io::fs::path& folder) {
  const io::fs::path path = folder / "tokenizer_config.json";
  if (!io::fs::exists(path)) {
    return {};
  }
  const OrderedJson config =
      io::parse_ordered_json(io::read_file(path, kMaxConfigFile), path.string());
  const auto found = config.find("chat_template");
  if (!config.is_object() || found == config.end() || found->is_null()) {
    return {};
  }
  if (found->is_string()) {
    return {{"default", found->get<std::string>()}};
  }
  TESSERA_CHECK(found->is_array(), CorruptFile,
                "{}: `chat_template` is {}, expected a string or a list of {{name, template}}",
                path.string(), found->type_name());
  Sources out;
  for (const OrderedJson& item : *found) {
    const bool valid = item.is_object() && item.contains("name") && item["name"].is_string() &&
                       item.contains("template") && item["template"].is_string();
    TESSERA_CHECK(valid, CorruptFile,
                  "{}: an entry of `chat_template` lacks a string `name` or `template`",
                  path.string());
    out[item["name"].get<std::string>()] = item["template"].get<std::string>();
  }
  return out;
}

// tokenizer.chat_template, and tokenizer.chat_template.NAME beside it.
Sources gguf_templates(const io::GgufFile& file) {
  constexpr std::string_view kKey = "tokenizer.chat_template";
  Sources out;
  for (const auto& [key, value] : file.metadata) {
    const auto source = value.text();
    const bool named = key.size() > kKey.size() && key[kKey.size()] == '.';
    if (key.starts_with(kKey) && source.has_value() && (named || key == kKey)) {
      out[named ? key.substr(kKey.size() + 1) : "default"] = std::string(*source);
    }
  }
  return out;
}

ChatTemplate::SpecialTokens gguf_special_tokens(const io::GgufFile& file) {
  ChatTemplate::SpecialTokens out;
  const io::GgufValue* value = file.find("tokenizer.ggml.tokens");
  const auto tokens = value != nullptr ? value->texts() : std::nullopt;
  for (const auto& [key, name] :
       {std::pair("bos", "bos_token"), std::pair("eos", "eos_token"),
        std::pair("unknown", "unk_token"), std::pair("padding", "pad_token")}) {
    const auto id = file.integer(fmt::format("tokenizer.ggml.{}_token_id", key));
    if (id && tokens && *id >= 0 && static_cast<size_t>(*id) < tokens->size()) {
      out.emplace_back(name, std::string((*tokens)[static_cast<size_t>(*id)]));
    }
  }
  return out;
}

struct Found {
  Sources sources;
  std::optional<io::GgufFile> file;  // that they come from
};

// The tokenizer comes from the same place.
Found find_templates(const io::fs::path& folder) {
  Found found{template_files(folder), std::nullopt};
  if (found.sources.empty()) {
    found.sources = config_templates(folder);
  }
  if (found.sources.empty()) {
    if (const auto path = io::find_gguf(folder, "config.json")) {
      found.file = io::open_gguf(*path);
      found.sources = gguf_templates(*found.file);
    }
  }
  return found;
}

/// `message` without null fields, its reasoning under all the names that templates read.
OrderedJson prepare_message(const OrderedJson& message) {
  TESSERA_CHECK(message.is_object(), InvalidArgument,
                "messages: found {}, expected objects with role and content", message.type_name());
  OrderedJson out = OrderedJson::object();
  for (const auto& [key, value] : message.items()) {
    if (!value.is_null()) {
      out[key] = value;
    }
  }
  for (const std::string_view field : kReasoningFields) {
    if (const auto found = out.find(field); found != out.end()) {
      const OrderedJson reasoning = *found;
      OrderedJson aliased = OrderedJson::object();
      aliased["thinking"] = reasoning;
      for (const auto& [key, value] : out.items()) {
        aliased[key] = value;
      }
      aliased["reasoning_content"] = reasoning;
      return aliased;
    }
  }
  return out;
}

void append_tag(OrderedJson& field) {
  TESSERA_CHECK(field.is_string(), InvalidArgument,
                "continue_final_message: the field is {}, expected text", field.type_name());
  field = field.get<std::string>() + std::string(kContinueTag);
}

/// Marks the end of the text that is to be continued, and returns that text.
std::string mark_final_message(OrderedJson& messages,
                               const std::string& field,
                               const std::string& source) {
  OrderedJson& last = messages.back();
  TESSERA_CHECK(last.contains(field), InvalidArgument,
                "continue_final_message: the last message has no `{}` to continue", field);
  const OrderedJson content = last[field];
  std::vector<std::string> fields = {field};
  if (std::find(kReasoningFields.begin(), kReasoningFields.end(), field) !=
      kReasoningFields.end()) {
    fields.clear();
    for (const std::string_view name : kReasoningFields) {
      if (const auto found = last.find(name); found != last.end() && *found == content) {
        fields.emplace_back(name);
      }
    }
  }
  const bool used = std::any_of(fields.begin(), fields.end(), [&](const std::string& name) {
    return source.find(name) != std::string::npos;
  });
  TESSERA_CHECK(used, InvalidArgument,
                "continue_final_message: the chat template has no field `{}`", field);
  if (content.is_array()) {
    OrderedJson& blocks = last[field];
    for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
      if (block->is_object() && block->contains("text")) {
        std::string text = (*block)["text"].is_string() ? (*block)["text"].get<std::string>() : "";
        append_tag((*block)["text"]);
        return text;
      }
    }
    throw InvalidArgument("continue_final_message: the last message has no text to continue");
  }
  for (const std::string& name : fields) {
    append_tag(last[name]);
  }
  return content.get<std::string>();
}

/// Cuts the prompt where the message that is to be continued ends.
void cut_at_tag(std::string& text, const std::string& message) {
  const std::string tag = jinja::strip(kContinueTag, nullptr, true, true);
  const size_t at = text.rfind(tag);
  TESSERA_CHECK(at != std::string::npos &&
                    text.find(jinja::strip(message, nullptr, true, true)) != std::string::npos,
                InvalidArgument,
                "continue_final_message: the last message does not appear in the prompt; the chat "
                "template drops or changes parts of it");
  const bool kept = text.compare(at, kContinueTag.size(), kContinueTag) == 0;
  text.resize(at);
  if (!kept) {  // the template trims messages
    text = jinja::strip(text, nullptr, false, true);
  }
}

void check_objects(const OrderedJson& list, std::string_view what) {
  TESSERA_CHECK(list.is_null() || list.is_array(), InvalidArgument,
                "{}: found {}, expected a list of objects", what, list.type_name());
  for (const OrderedJson& item : list) {
    TESSERA_CHECK(item.is_object(), InvalidArgument, "{}: found {}, expected objects", what,
                  item.type_name());
  }
}

}  // namespace

ChatTemplate ChatTemplate::from_folder(const io::fs::path& folder) {
  const Found found = find_templates(folder);
  TESSERA_CHECK(!found.sources.empty(), NotFound,
                "{}: no chat template; expected chat_template.jinja, `chat_template` in "
                "tokenizer_config.json, or tokenizer.chat_template of a GGUF file",
                folder.string());
  return with_context("loading the chat template of " + folder.string(), [&] {
    return ChatTemplate(found.sources,
                        found.file ? gguf_special_tokens(*found.file) : hf_special_tokens(folder));
  });
}

bool has_chat_template(const io::fs::path& folder) {
  return !find_templates(folder).sources.empty();
}

ChatTemplate::ChatTemplate(const Sources& templates, SpecialTokens special_tokens)
    : special_tokens_(std::move(special_tokens)) {
  for (const auto& [name, source] : templates) {
    templates_.emplace(
        name, Template::parse(source, templates.size() == 1 ? "chat template"
                                                            : "chat template '" + name + "'"));
  }
}

std::vector<std::string> ChatTemplate::names() const {
  std::vector<std::string> out;
  for (const auto& [name, item] : templates_) {
    out.push_back(name);
  }
  return out;
}

const std::string& ChatTemplate::source(std::string_view name) const {
  const auto found = templates_.find(name);
  TESSERA_CHECK(found != templates_.end(), NotFound,
                "no chat template named '{}'; the names are {}", name,
                tessera::join(names(), ", "));
  return found->second.source();
}

const Template& ChatTemplate::choose(const ChatRequest& request) const {
  std::string name = request.name;
  if (name.empty()) {
    name = !request.tools.is_null() && templates_.contains("tool_use") ? "tool_use" : "default";
  }
  source(name);  // throws
  return templates_.find(name)->second;
}

RenderedTemplate ChatTemplate::render(const ChatRequest& request) const {
  const Template& chosen = choose(request);
  TESSERA_CHECK(request.messages.is_array() && !request.messages.empty(), InvalidArgument,
                "messages: found {}, expected a list with at least one message",
                request.messages.is_array() ? "an empty list" : request.messages.type_name());
  TESSERA_CHECK(!request.continue_final_message || !request.add_generation_prompt, InvalidArgument,
                "continue_final_message and add_generation_prompt exclude each other");
  check_objects(request.tools, "tools");
  check_objects(request.documents, "documents");
  OrderedJson messages = OrderedJson::array();
  for (const OrderedJson& message : request.messages) {
    messages.push_back(prepare_message(message));
  }
  std::string continued;
  if (request.continue_final_message) {
    continued = mark_final_message(messages, *request.continue_final_message, chosen.source());
  }
  OrderedJson variables = OrderedJson::object();
  for (const auto& [name, token] : special_tokens_) {
    variables[name] = token;
  }
  TESSERA_CHECK(request.extra.is_object() || request.extra.is_null(), InvalidArgument,
                "extra variables: found {}, expected an object", request.extra.type_name());
  for (const auto& [name, value] : request.extra.items()) {
    variables[name] = value;
  }
  variables["messages"] = std::move(messages);
  variables["tools"] = request.tools;
  variables["documents"] = request.documents;
  variables["add_generation_prompt"] = request.add_generation_prompt;
  RenderedTemplate out = chosen.render(variables, request.now);
  if (request.continue_final_message) {
    cut_at_tag(out.text, continued);
  }
  return out;
}

}  // namespace tessera::text
