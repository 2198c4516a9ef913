#include "cli/tensor/converse_repl.h"

#include "cli/tensor/line_editor.h"
#include "core/error.h"
#include "core/strings.h"
#include "io/audio.h"
#include "io/image.h"
#include "pipelines/any_instruct.h"
#include "pipelines/transcript.h"
#include "train/stop_signal.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

namespace tessera::cli {
namespace {

constexpr const char* kMediaCommands =
    "/image FILE    a picture for the next message\n"
    "/audio FILE    speech for the next message\n"
    "/music FILE    music for the next message\n"
    "/record        speech for the next message from the microphone; Enter ends it\n"
    "/voice FILE    a recording of the voice that is to speak; without FILE none\n"
    "/to WHAT       what replies must hold: text, image, speech, music or auto\n"
    "An empty line sends waiting media alone; with --mic it records a message.\n";
constexpr const char* kCommands =
    "/seed N        seed of the next reply\n"
    "/save FILE     the conversation as a line of JSON, or as a page when FILE ends in .html\n"
    "/clear         start anew\n"
    "/help          this list\n"
    "/quit          leave (so does the end of input)\n";

// The words that the lists above begin their lines with.
std::vector<std::string> command_names(bool media) {
  std::vector<std::string> names;
  for (const std::string& line :
       split(std::string(media ? kMediaCommands : "") + kCommands, '\n')) {
    if (line.starts_with('/')) {
      names.push_back(line.substr(0, line.find(' ')));
    }
  }
  return names;
}

// {"messages": [{"role", "content"}, …]}
io::Json text_line(const std::vector<Message>& talk) {
  io::Json messages = io::Json::array();
  for (const Message& message : talk) {
    std::string content;
    for (const Part& part : message.parts) {
      content += std::get<std::string>(part.content);
    }
    const char* role = message.role == Role::kSystem ? "system"
                       : message.role == Role::kUser ? "user"
                                                     : "assistant";
    messages.push_back({{"role", role}, {"content", content}});
  }
  return {{"messages", messages}};
}

uint64_t parse_seed(const std::string& text) {
  uint64_t seed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  TESSERA_CHECK(error == std::errc() && end == text.data() + text.size(), InvalidArgument,
                "/seed needs a whole number, got '{}'", text);
  return seed;
}

}  // namespace

Part read_media(Modality modality, const std::string& path) {
  Part part{.modality = modality, .content = {}, .source = path};
  if (modality == Modality::kImage) {
    part.content = io::read_image(path);
  } else {
    part.content = io::read_audio(path);
  }
  return part;
}

std::optional<Modality> parse_modality(std::string_view name) {
  if (name.empty() || name == "auto") {
    return std::nullopt;
  }
  return pipelines::modality_named(name);
}

void Repl::run() {
  LineEditor editor(command_names(media_ != nullptr));
  if (editor.terminal()) {
    std::fputs("/help tells what can be said, Tab completes, /quit leaves\n", stderr);
  }
  while (const std::optional<std::string> line = editor.read("> ")) {
    try {
      if (!obey(trim(*line))) {
        break;
      }
    } catch (const Error& error) {
      if (!editor.terminal()) {
        throw;
      }
      std::fprintf(stderr, "error: %s\n", error.what());
    }
  }
}

// False: leave.
bool Repl::obey(std::string_view line) {
  if (!line.starts_with('/')) {
    if (line.empty() && pending_.empty() && mic_) {
      record();
    }
    if (!line.empty() || !pending_.empty()) {
      answer(std::string(line));
    }
    return true;
  }
  const size_t space = std::min(line.find(' '), line.size());
  const std::string_view name = line.substr(0, space);
  if (name == "/quit" || name == "/exit") {
    return false;
  }
  command(name, std::string(trim(line.substr(space))));
  return true;
}

void Repl::command(std::string_view name, const std::string& argument) {
  const auto need = [&] {
    TESSERA_CHECK(!argument.empty(), InvalidArgument, "{} needs a file, or see /help", name);
  };
  if (name == "/image" || name == "/audio" || name == "/music") {
    TESSERA_CHECK(media_ != nullptr, InvalidArgument, "this model takes text alone");
    need();
    const Modality modality = name == "/image"   ? Modality::kImage
                              : name == "/audio" ? Modality::kSpeech
                                                 : Modality::kMusic;
    pending_.push_back(read_media(modality, argument));
  } else if (name == "/record") {
    TESSERA_CHECK(media_ != nullptr, InvalidArgument, "this model takes text alone");
    record();
  } else if (name == "/voice") {
    TESSERA_CHECK(media_ != nullptr, InvalidArgument, "this model makes no speech");
    voice_ =
        argument.empty() ? std::nullopt : std::optional(read_media(Modality::kSpeech, argument));
  } else if (name == "/to") {
    settings_.to = parse_modality(argument);
  } else if (name == "/seed") {
    settings_.seed = parse_seed(argument);
    turn_ = 0;
  } else if (name == "/save") {
    need();
    save(argument);
  } else if (name == "/clear") {
    talk_ = begin_;
    pending_.clear();
  } else if (name == "/help") {
    help();
  } else {
    throw InvalidArgument("{} is no command; /help lists them", name);
  }
}

void Repl::record() {
  pending_.push_back(record_message(mic_device_));
}

void Repl::answer(const std::string& text) {
  Message message{.role = Role::kUser, .parts = {}};
  if (voice_.has_value()) {
    message.parts.push_back(*voice_);
  }
  for (Part& part : pending_) {
    message.parts.push_back(std::move(part));
  }
  pending_.clear();
  if (!text.empty()) {
    message.parts.push_back(Part::text(text));
  }
  talk_.push_back(std::move(message));
  pipelines::ConverseOptions settings = settings_;
  settings.seed += turn_;
  try {
    const train::StopSignal stop;
    pipelines::Reply reply = model_.reply(talk_, settings, output_.stream());
    output_.end(text, reply);
    ++turn_;
    talk_.push_back(std::move(reply.message));
    if (talk_.back().parts.empty()) {
      talk_.resize(talk_.size() - 2);  // nothing was said that could be answered
    }
  } catch (...) {
    if (talk_.back().role == Role::kUser) {
      talk_.pop_back();
    }
    throw;
  }
}

void Repl::help() const {
  std::string text;
  if (media_ != nullptr) {
    const auto said = media_->config().find("help");
    if (said != media_->config().end() && said->is_array()) {
      for (const io::Json& line : *said) {
        text += line.is_string() ? line.get<std::string>() + "\n" : "";
      }
    }
    if (!text.empty()) {
      text += '\n';
    }
    text += kMediaCommands;
  }
  text += kCommands;
  std::fputs(text.c_str(), stderr);
}

void Repl::save(const std::string& path) const {
  TESSERA_CHECK(!talk_.empty(), InvalidArgument, "nothing has been said yet");
  if (path.ends_with(".html")) {
    pipelines::Transcript transcript{.title = "Conversation", .entries = {}};
    for (const Message& message : talk_) {
      transcript.entries.push_back({message, {}});
    }
    io::write_file(path, pipelines::render_transcripts("tessera", {&transcript, 1}));
  } else {
    const io::Json line = media_ != nullptr
                              ? pipelines::any_instruct(*media_, "conversation", talk_)
                              : text_line(talk_);
    io::write_file(path, line.dump(-1, ' ', false, io::Json::error_handler_t::replace) + "\n");
  }
  std::fprintf(stderr, "written: %s\n", path.c_str());
}

}  // namespace tessera::cli
