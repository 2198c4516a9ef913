// Templates of very different syntaxes speak of <tool_call> or of {"name": …, "parameters": …}:
// Cohere's actions, lists in <tool_calls> (Apriel, Hunyuan), tools under another variable
// (SmolLM3). Only trying them tells these apart.
#include "text/tool_syntax.h"

#include "core/error.h"
#include "text/marks.h"

#include <algorithm>

namespace tessera::text {
namespace {

using io::OrderedJson;

constexpr const char* kName = "tessera_probe";
constexpr const char* kPlace = "tessera probes";

OrderedJson probe_tools() {
  const OrderedJson place = {{"type", "string"}, {"description", "A place."}};
  const OrderedJson function = {{"name", kName},
                                {"description", "Looks at a place."},
                                {"parameters",
                                 {{"type", "object"},
                                  {"properties", {{"place", place}}},
                                  {"required", OrderedJson::array({"place"})}}}};
  return OrderedJson::array({{{"type", "function"}, {"function", function}}});
}

// A question, and the call that answers it.
OrderedJson probe_messages(bool call) {
  OrderedJson messages = OrderedJson::array({{{"role", "user"}, {"content", "Look."}}});
  if (call) {
    const OrderedJson function = {{"name", kName}, {"arguments", {{"place", kPlace}}}};
    const OrderedJson item = {{"id", "000000000"}, {"type", "function"}, {"function", function}};
    messages.push_back(
        {{"role", "assistant"}, {"content", ""}, {"tool_calls", OrderedJson::array({item})}});
  }
  return messages;
}

// Nothing where the template refuses.
std::optional<std::string> try_render(const ChatTemplate& chat, bool call) {
  ChatRequest request;
  request.messages = probe_messages(call);
  request.tools = probe_tools();
  request.add_generation_prompt = !call;
  try {
    return chat.render(request).text;
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string_view trimmed(std::string_view text) {
  return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

// Takes `mark` and the white space after it from the end.
bool take_mark(std::string_view& text, std::string_view mark) {
  const std::string_view rest = trimmed(text);
  if (!rest.ends_with(mark)) {
    return false;
  }
  text = rest.substr(0, rest.size() - mark.size());
  return true;
}

// Whether the name of a function may follow `before` in this syntax; `prompt` is what stands before
// the assistant's turn.
bool opens_call(ToolSyntax syntax, std::string_view before, std::string_view prompt) {
  for (const std::string_view mark : {"\"", ":", "\"name\"", "{"}) {
    if (!take_mark(before, mark)) {
      return false;
    }
  }
  switch (syntax) {
    case ToolSyntax::kHermes:
      return take_mark(before, "<tool_call>");
    case ToolSyntax::kMistral:
      return take_mark(before, "[") && take_mark(before, "[TOOL_CALLS]");
    case ToolSyntax::kLlama:
      break;
  }
  take_mark(before, "<|python_tag|>");
  return trimmed(before) == trimmed(prompt);
}

}  // namespace

std::optional<ToolSyntax> tool_syntax_of(const ChatTemplate& chat) {
  const std::vector<std::string> names = chat.names();
  const auto has = [&](const char* name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (!has("tool_use") && !has("default")) {
    return std::nullopt;
  }
  const auto syntax = tool_syntax_of(chat.source(has("tool_use") ? "tool_use" : "default"));
  if (!syntax.has_value()) {
    return std::nullopt;
  }
  const std::optional<std::string> prompt = try_render(chat, false);
  if (!prompt.has_value() || prompt->find(kName) == std::string::npos) {
    return std::nullopt;
  }
  const std::string written = try_render(chat, true).value_or("");
  const size_t place = written.rfind(kPlace);
  if (place == std::string::npos) {
    return syntax;  // it shows no calls of earlier turns
  }
  const std::string_view before = std::string_view(written).substr(0, written.rfind(kName, place));
  return opens_call(*syntax, before, *prompt) ? syntax : std::nullopt;
}

}  // namespace tessera::text
