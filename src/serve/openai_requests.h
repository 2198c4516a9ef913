// Bodies of OpenAI's requests read into typed requests: every value is checked and every error
// names its field. Media are decoded here.
#pragma once

#include "io/json.h"
#include "serve/backend.h"
#include "serve/media_input.h"
#include "serve/sound_output.h"

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::serve {

/// What requests are read against.
struct RequestContext {
  const ModelCard& card;
  MediaLimits media;
  /// Sound of an earlier answer by its id, for {"audio": {"id": …}} in the history.
  std::function<std::optional<Audio>(const std::string& id)> earlier_sound;
  /// The body as it came, for what depends on the order of keys; may be left empty.
  std::string_view body = {};
};

/// What a chat and a completion share.
struct GenerationCall {
  std::string model;          // as asked for; may be empty
  GenerationRequest request;  // of the first choice; choice i adds i to the seed
  std::vector<std::string> stop;
  int64_t choices = 1;
  bool stream = false;
  bool include_usage = false;
};

struct ChatCall : GenerationCall {
  std::set<Modality> modalities;  // wanted in the answer
  SoundFormat sound_format = SoundFormat::kWav;
  std::vector<std::string> tool_names = {};  // that the answer may call
  bool must_call = false;                    // the answer begins inside a call
  bool split_thoughts = false;               // they are told apart from the answer
  bool many_calls = true;
};

struct CompletionCall : GenerationCall {
  std::vector<CompletionTask> prompts;  // request.task is left empty
  bool echo = false;
};

struct EmbeddingCall {
  std::string model;
  GenerationRequest request;
  bool base64 = false;  // numbers as bytes
};

struct SpeechCall {
  std::string model;
  GenerationRequest request;
  SoundFormat format = SoundFormat::kMp3;
  bool events = false;  // stream_format "sse"
};

struct ImageCall {
  std::string model;
  GenerationRequest request;
  int64_t count = 1;
};

struct TranscriptionCall {
  std::string model;
  GenerationRequest request;
  double seconds = 0;  // of the recording
  bool plain = false;  // response_format "text"
  bool stream = false;
};

/// All throw ApiError.
ChatCall parse_chat(const io::Json& body, const RequestContext& context);
CompletionCall parse_completion(const io::Json& body, const RequestContext& context);
/// The conversation of a chat's body alone.
ChatTask parse_template(const io::Json& body, const RequestContext& context);
EmbeddingCall parse_embedding(const io::Json& body, const RequestContext& context);
SpeechCall parse_speech(const io::Json& body, const RequestContext& context);
ImageCall parse_image(const io::Json& body, const RequestContext& context);
TranscriptionCall parse_transcription(std::string_view content_type,
                                      std::string_view body,
                                      const RequestContext& context);

}  // namespace tessera::serve
