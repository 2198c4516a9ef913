// The message that every pipeline takes and streams out: a role and a list of parts in order.
#pragma once

#include "core/media.h"

#include <string>
#include <variant>
#include <vector>

namespace tessera {

/// What a part holds; music and speech are both sound but different token streams.
enum class Modality { kText, kImage, kSpeech, kMusic };

/// "text", "image", "speech", "music".
constexpr const char* modality_name(Modality modality) {
  constexpr const char* kNames[] = {"text", "image", "speech", "music"};
  return kNames[static_cast<int>(modality)];
}

struct Part {
  Modality modality = Modality::kText;
  std::variant<std::string, Image, Audio> content;
  std::string source;  // file name that it came from or went to; empty when none

  static Part text(std::string content) { return {Modality::kText, std::move(content), {}}; }
};

enum class Role { kSystem, kUser, kAssistant, kTool };

/// A function that the assistant asks to be called.
struct ToolCall {
  std::string id;  // by which the result names it; may be empty
  std::string name;
  std::string arguments;  // a JSON object
};

struct Message {
  Role role = Role::kUser;
  std::vector<Part> parts;
  std::vector<ToolCall> calls = {};  // kAssistant
  std::string thoughts = {};         // kAssistant: what it wrote before it answered
  std::string call_id = {};          // kTool: of the call whose result this is
  std::string name = {};             // kTool: the function, where it is known
};

}  // namespace tessera
