// Calls of functions as language models write them: which syntax a chat template teaches, and
// reading calls out of a reply while it comes.
#pragma once

#include "core/message.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::text {

/// A function that a conversation may call.
struct Tool {
  std::string name;
  std::string definition;  // JSON, as templates print it: {"type": "function", "function": {…}}
  std::string parameters;  // JSON Schema of its arguments, an object

  bool operator==(const Tool&) const = default;
};

/// How a model writes calls.
enum class ToolSyntax {
  kHermes,   // <tool_call>{"name": …, "arguments": {…}}</tool_call>, any number (Hermes, Qwen)
  kLlama,    // {"name": …, "parameters": {…}} as the whole reply (Llama 3.1)
  kMistral,  // [TOOL_CALLS][{"name": …, "arguments": {…}}, …] at the end
};

/// The syntax that the text of a chat template speaks of; nothing when it has no tools, or another
/// one. text/tool_syntax.h is surer.
std::optional<ToolSyntax> tool_syntax_of(std::string_view chat_template);

/// What stands before the first call: a prompt that ends with it makes the reply a call.
std::string_view call_opening(ToolSyntax syntax);
/// The tokens by which calls are known, which must be shown in replies even where they are special.
std::span<const std::string_view> call_marks(ToolSyntax syntax);

/// How deep a place of a JSON text lies, byte by byte.
class JsonDepth {
 public:
  /// Takes the next byte; true when it ends the outermost object or array.
  bool ends(char c);
  /// Whether the last byte closed what was not open.
  bool broken() const { return broken_; }

 private:
  size_t depth_ = 0;
  bool in_string_ = false, escaped_ = false, broken_ = false;
};

/// Splits a reply into text and calls, whatever the pieces that it comes in.
///
///   ToolCallReader reader(ToolSyntax::kHermes, {"get_weather"});
///   const auto piece = reader.push("Let me see. <tool_call>");  // piece.text == "Let me see."
class ToolCallReader {
 public:
  /// `names`: the functions that there are; without marks around them (kLlama) only their calls
  /// are calls. `opened`: the prompt ended with call_opening.
  ToolCallReader(ToolSyntax syntax, std::vector<std::string> names, bool opened = false);

  struct Piece {
    std::string text;
    std::vector<ToolCall> calls;  // complete, without ids
  };
  /// What became certain: never a part of a mark, and no white space that a mark may follow.
  Piece push(std::string_view piece);
  /// The rest. What began like a call and is none comes as text.
  Piece finish();

 private:
  enum class Place { kText, kCall, kStart };
  // Looks for the end of a Hermes call; every byte is looked at once.
  class CallScan {
   public:
    /// Where the closing mark stands in `text`, which begins behind the opening one and only grows
    /// from one look to the next; npos as long as it does not.
    size_t look(std::string_view text);

   private:
    enum class Step { kSpace, kJson, kMark };
    Step step_ = Step::kSpace;
    size_t at_ = 0;
    JsonDepth json_;
  };
  void read_text(Piece& out, std::string_view mark);
  bool read_hermes(Piece& out);
  void read_start();
  void end_call(Piece& out);

  ToolSyntax syntax_;
  std::vector<std::string> names_;
  Place place_;
  std::string pending_;      // not shown yet; inside a call: what follows its mark
  size_t blank_ = 0;         // white space that it begins with, as far as is known; not in calls
  CallScan scan_;            // of the call that is open
  std::string opening_;      // the mark of the call that is open, and the space before it
  bool after_call_ = false;  // white space between calls is nothing
};

}  // namespace tessera::text
