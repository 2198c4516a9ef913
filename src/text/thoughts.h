// What reasoning models write before they answer: <think>thoughts</think>answer.
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace tessera::text {

/// The tokens around thoughts, which must be shown in replies even where they are special.
inline constexpr std::array<std::string_view, 2> kThoughtMarks = {"<think>", "</think>"};

/// Whether a chat template knows thoughts: it has their closing mark.
bool knows_thoughts(std::string_view chat_template);
/// Whether a text ends inside thoughts: its last opening mark comes after its last closing mark.
bool inside_thoughts(std::string_view text);
/// Whether a prompt ends with the opening mark, and white space.
bool opens_thoughts(std::string_view prompt);
/// A prompt that opens thoughts and goes on with this has none.
inline constexpr std::string_view kNoThoughts = "\n</think>\n\n";

/// Splits a reply into thoughts and answer, whatever the pieces that it comes in. A reply has
/// thoughts when it begins with <think>, or when its prompt has opened them; they end at the first
/// </think>. White space around them belongs to neither. Later marks are text.
///
///   ThoughtReader reader;
///   const auto piece = reader.push("<think>Hm.</th");  // piece.thought == "Hm."
class ThoughtReader {
 public:
  /// The prompt ended inside thoughts. Before the first push.
  void open() { opened_ = true; }

  struct Piece {
    std::string thought, text;
  };
  /// What became certain: never a part of a mark, and no white space that may come before one.
  Piece push(std::string_view piece);
  /// The rest. Thoughts that did not end are thoughts all the same.
  Piece finish();

 private:
  enum class Place { kStart, kThoughtStart, kThought, kAnswerStart, kText };
  void read_start();
  void read_thought(Piece& out);
  bool skip_space();

  Place place_ = Place::kStart;
  bool opened_ = false;
  std::string pending_;
  size_t blank_ = 0;  // white space that pending_ begins with, as far as is known
};

}  // namespace tessera::text
