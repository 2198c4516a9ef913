// Syntaxes: the chat templates of NousResearch/Hermes-2-Pro and Qwen 2.5 (tags), Llama 3.1 (JSON as
// the whole reply, after <|python_tag|> or not), Mistral 7B v0.3 (a list after [TOOL_CALLS]). Calls
// are given out when they are whole: a reply that breaks off leaves text, never half a call.
#include "text/tool_calls.h"

#include "core/error.h"
#include "io/json_text.h"
#include "text/marks.h"

#include <algorithm>
#include <array>

namespace tessera::text {
namespace {

using io::OrderedJson;

constexpr std::string_view kHermesOpen = "<tool_call>";
constexpr std::string_view kHermesClose = "</tool_call>";
constexpr std::string_view kMistralOpen = "[TOOL_CALLS]";
constexpr std::string_view kLlamaTag = "<|python_tag|>";

bool holds(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// Where the JSON object or array that begins at `at` ends; npos when it does not.
size_t json_end(std::string_view text, size_t at) {
  JsonDepth depth;
  for (; at < text.size() && !depth.broken(); ++at) {
    if (depth.ends(text[at])) {
      return at + 1;
    }
  }
  return std::string_view::npos;
}

std::optional<OrderedJson> parse(std::string_view text) {
  try {
    return io::parse_small_json(text, "a call");
  } catch (const CorruptFile&) {
    return std::nullopt;
  }
}

// Arguments stay as they are written: another spelling of a number may be another number.
std::optional<ToolCall> call_of(std::string_view text) {
  const auto json = parse(text);
  if (!json.has_value() || !json->is_object()) {
    return std::nullopt;
  }
  const auto name = json->find("name");
  const char* const key = json->contains("arguments") ? "arguments" : "parameters";
  const auto arguments = json->find(key);
  if (name == json->end() || !name->is_string() || name->get_ref<const std::string&>().empty()) {
    return std::nullopt;
  }
  ToolCall call{.id = {}, .name = name->get<std::string>(), .arguments = "{}"};
  if (arguments == json->end() || arguments->is_null()) {
    return call;
  }
  if (arguments->is_string()) {  // JSON within JSON
    const auto inner = parse(arguments->get_ref<const std::string&>());
    call.arguments = arguments->get<std::string>();
    return inner.has_value() && inner->is_object() ? std::optional(call) : std::nullopt;
  }
  call.arguments = io::member_text(text, key);
  return arguments->is_object() ? std::optional(call) : std::nullopt;
}

// The calls of objects, one after the other or in a list; empty when there is anything else.
std::vector<ToolCall> calls_of(std::string_view text) {
  constexpr std::string_view kBetween = " \t\r\n;,[]";
  std::vector<ToolCall> calls;
  for (size_t at = 0; (at = text.find_first_not_of(kBetween, at)) != std::string_view::npos;) {
    const size_t end = text[at] == '{' ? json_end(text, at) : std::string_view::npos;
    std::optional<ToolCall> call =
        end == std::string_view::npos ? std::nullopt : call_of(text.substr(at, end - at));
    if (!call.has_value()) {
      return {};
    }
    calls.push_back(std::move(*call));
    at = end;
  }
  return calls;
}

}  // namespace

std::optional<ToolSyntax> tool_syntax_of(std::string_view chat_template) {
  if (!holds(chat_template, "tools")) {
    return std::nullopt;
  }
  // Qwen3-Coder and GLM write XML in these tags, newer Mistral models name[ARGS]{…}.
  for (const std::string_view other : {"<function=", "<arg_key>", "[ARGS]"}) {
    if (holds(chat_template, other)) {
      return std::nullopt;
    }
  }
  if (holds(chat_template, kHermesOpen)) {
    return ToolSyntax::kHermes;
  }
  if (holds(chat_template, kMistralOpen)) {
    return ToolSyntax::kMistral;
  }
  const bool llama = holds(chat_template, kLlamaTag) || (holds(chat_template, "{\"name\": ") &&
                                                         holds(chat_template, "\"parameters\": "));
  return llama ? std::optional(ToolSyntax::kLlama) : std::nullopt;
}

std::string_view call_opening(ToolSyntax syntax) {
  switch (syntax) {
    case ToolSyntax::kHermes:
      return "<tool_call>\n";
    case ToolSyntax::kMistral:
      return kMistralOpen;
    case ToolSyntax::kLlama:
      break;
  }
  return "";
}

std::span<const std::string_view> call_marks(ToolSyntax syntax) {
  static constexpr std::array kHermes = {kHermesOpen, kHermesClose};
  static constexpr std::array kMistral = {kMistralOpen};
  static constexpr std::array kLlama = {kLlamaTag};
  switch (syntax) {
    case ToolSyntax::kHermes:
      return kHermes;
    case ToolSyntax::kMistral:
      return kMistral;
    case ToolSyntax::kLlama:
      break;
  }
  return kLlama;
}

bool JsonDepth::ends(char c) {
  if (in_string_) {
    in_string_ = escaped_ || c != '"';
    escaped_ = !escaped_ && c == '\\';
  } else if (c == '"') {
    in_string_ = true;
  } else if (c == '{' || c == '[') {
    ++depth_;
  } else if (c == '}' || c == ']') {
    broken_ = depth_ == 0;
    return depth_ > 0 && --depth_ == 0;
  }
  return false;
}

// The mark may also stand in a string of the call.
size_t ToolCallReader::CallScan::look(std::string_view text) {
  if (step_ == Step::kSpace) {
    at_ = std::min(text.find_first_not_of(kSpace, at_), text.size());
    if (at_ < text.size()) {
      step_ = text[at_] == '{' ? Step::kJson : Step::kMark;
    }
  }
  while (step_ == Step::kJson && at_ < text.size()) {
    step_ = json_.ends(text[at_]) ? Step::kMark : Step::kJson;
    ++at_;
  }
  if (step_ != Step::kMark) {
    return std::string_view::npos;
  }
  const size_t found = text.find(kHermesClose, at_);
  if (found == std::string_view::npos && text.size() >= kHermesClose.size()) {
    at_ = std::max(at_, text.size() - kHermesClose.size() + 1);
  }
  return found;
}

ToolCallReader::ToolCallReader(ToolSyntax syntax, std::vector<std::string> names, bool opened)
    : syntax_(syntax),
      names_(std::move(names)),
      place_(opened                         ? Place::kCall
             : syntax == ToolSyntax::kLlama ? Place::kStart
                                            : Place::kText) {}

ToolCallReader::Piece ToolCallReader::push(std::string_view piece) {
  Piece out;
  pending_ += piece;
  if (place_ == Place::kStart) {
    read_start();
  }
  if (syntax_ == ToolSyntax::kLlama) {
    if (place_ == Place::kText) {
      out.text += std::exchange(pending_, {});
    }
    return out;
  }
  if (syntax_ == ToolSyntax::kMistral) {
    read_text(out, kMistralOpen);  // what follows the mark is read at the end
    return out;
  }
  do {
    read_text(out, kHermesOpen);
  } while (read_hermes(out));
  return out;
}

// Llama's reply is a call or a text from its first character on.
void ToolCallReader::read_start() {
  blank_ = std::min(pending_.find_first_not_of(kSpace, blank_), pending_.size());
  const std::string_view words = std::string_view(pending_).substr(blank_);
  if (words.starts_with(kLlamaTag)) {
    opening_ = pending_.substr(0, blank_ + kLlamaTag.size());
    pending_.erase(0, opening_.size());
    place_ = Place::kCall;
  } else if (words.starts_with('{')) {
    place_ = Place::kCall;
  } else if (!kLlamaTag.starts_with(words)) {
    place_ = Place::kText;
  }
}

// Shows what stands before the mark; behind it a call is open.
void ToolCallReader::read_text(Piece& out, std::string_view mark) {
  if (place_ != Place::kText) {
    return;
  }
  const size_t at = pending_.find(mark, blank_);
  const std::string_view before = std::string_view(pending_).substr(0, at);
  const size_t shown = at == std::string::npos ? pending_.size() - held_back(pending_, mark, blank_)
                                               : before.find_last_not_of(kSpace) + 1;
  if (shown > 0) {
    out.text.append(pending_, 0, shown);
    after_call_ = false;
  }
  if (at != std::string::npos) {
    opening_ = pending_.substr(shown, at + mark.size() - shown);
    pending_.erase(0, at + mark.size());
    place_ = Place::kCall;
    blank_ = 0;
    scan_ = {};
  } else {
    pending_.erase(0, shown);
    blank_ = std::min(pending_.find_first_not_of(kSpace, shown > 0 ? 0 : blank_), pending_.size());
  }
}

// Takes a call that is whole; false when there is none.
bool ToolCallReader::read_hermes(Piece& out) {
  if (place_ != Place::kCall) {
    return false;
  }
  const size_t end = scan_.look(pending_);
  if (end == std::string::npos) {
    return false;
  }
  const std::string rest = pending_.substr(end + kHermesClose.size());
  const std::vector<ToolCall> calls = calls_of(std::string_view(pending_).substr(0, end));
  if (calls.empty()) {
    out.text += opening_ + pending_.substr(0, end) + std::string(kHermesClose);
  }
  out.calls.insert(out.calls.end(), calls.begin(), calls.end());
  after_call_ = !calls.empty();
  opening_.clear();
  pending_ = rest;
  place_ = Place::kText;
  return true;
}

// At the end of the reply: what is open is a call, or was text all the time.
void ToolCallReader::end_call(Piece& out) {
  std::vector<ToolCall> calls;
  if (syntax_ == ToolSyntax::kMistral) {  // words may follow the list
    const size_t begin = pending_.find_first_not_of(kSpace);
    const size_t end = begin == std::string::npos ? begin : json_end(pending_, begin);
    calls = calls_of(std::string_view(pending_).substr(0, end));
    const std::string rest = calls.empty() || end == std::string::npos ? "" : pending_.substr(end);
    out.text += rest.find_first_not_of(kSpace) == std::string::npos ? "" : rest;
  } else {
    calls = calls_of(pending_);
  }
  const bool known = syntax_ != ToolSyntax::kLlama ||
                     std::all_of(calls.begin(), calls.end(), [&](const ToolCall& call) {
                       return std::find(names_.begin(), names_.end(), call.name) != names_.end();
                     });
  if (calls.empty() || !known) {
    out.text += opening_ + pending_;
    return;
  }
  out.calls.insert(out.calls.end(), calls.begin(), calls.end());
}

ToolCallReader::Piece ToolCallReader::finish() {
  Piece out;
  if (place_ == Place::kCall) {
    end_call(out);
  } else if (!after_call_ || pending_.find_first_not_of(kSpace) != std::string::npos) {
    out.text = pending_;
  }
  pending_.clear();
  opening_.clear();
  place_ = Place::kText;
  return out;
}

}  // namespace tessera::text
