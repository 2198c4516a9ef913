// A conversation in the terminal, line by line.
#pragma once

#include "cli/commands.h"
#include "cli/tensor/converse_output.h"

#include <optional>

namespace tessera::cli {

/// The user's picture or recording, any format that io reads. Throws what the readers throw.
Part read_media(Modality modality, const std::string& path);
/// The modality of a name; nullopt for "auto" and "". Throws InvalidArgument.
std::optional<Modality> parse_modality(std::string_view name);

class Repl {
 public:
  /// `settings`: of every reply, but its seed grows by one each turn. `first`: parts that go with
  /// the first message; `voice`: a speech part that goes with every message; `talk`: what was said
  /// before, of which /clear leaves this.
  Repl(pipelines::Talker& model,
       ReplyOutput& output,
       const pipelines::ConverseOptions& settings,
       std::vector<Part> first,
       std::optional<Part> voice,
       std::vector<Message> talk = {})
      : model_(model),
        media_(dynamic_cast<pipelines::AnyToAny*>(&model)),
        output_(output),
        settings_(settings),
        pending_(std::move(first)),
        voice_(std::move(voice)),
        begin_(std::move(talk)),
        talk_(begin_) {}

  /// With `always`, an empty line records the next message.
  void set_microphone(std::string device, bool always) {
    mic_device_ = std::move(device);
    mic_ = always;
  }
  /// Reads stdin to its end or /quit. In a terminal an error is told and the conversation goes on;
  /// otherwise it leaves here.
  void run();

 private:
  bool obey(std::string_view line);
  void command(std::string_view name, const std::string& argument);
  void record();
  void answer(const std::string& text);
  void help() const;
  void save(const std::string& path) const;

  pipelines::Talker& model_;
  pipelines::AnyToAny* media_;  // the same, when it knows media
  ReplyOutput& output_;
  pipelines::ConverseOptions settings_;
  std::vector<Part> pending_;  // media of the next message
  std::optional<Part> voice_;
  const std::vector<Message> begin_;
  std::vector<Message> talk_;
  uint64_t turn_ = 0;
  std::string mic_device_;
  bool mic_ = false;
};

}  // namespace tessera::cli
