// `tessera converse`: one prompt, many prompts in batches, or a conversation over stdin.
#include "cli/tensor/common.h"
#include "cli/tensor/converse_repl.h"
#include "core/error.h"
#include "core/strings.h"
#include "pipelines/text_chat.h"
#include "train/stop_signal.h"

namespace tessera::cli {
namespace {

std::vector<std::string> prompts_of(const ConverseOptions& options) {
  std::vector<std::string> prompts = read_prompts(options.prompts, options.prompts_file);
  TESSERA_CHECK(options.prompts_file.empty() || !prompts.empty(), InvalidArgument,
                "{}: holds no prompt", options.prompts_file);
  return prompts;
}

pipelines::ConverseOptions reply_options(const ConverseOptions& options) {
  return {.to = parse_modality(options.to),
          .seed = options.seed,
          .max_new_tokens = options.max_new_tokens,
          .greedy = options.greedy,
          .temperature = options.temperature,
          .top_p = options.top_p,
          .top_k = options.top_k,
          .guidance = options.guidance};
}

// In the order of AnyGPT's messages.
std::vector<Part> read_all_media(const ConverseOptions& options) {
  std::vector<Part> parts;
  for (const auto& [files, modality] :
       {std::pair(&options.images, Modality::kImage), std::pair(&options.music, Modality::kMusic),
        std::pair(&options.audio, Modality::kSpeech)}) {
    for (const std::string& file : *files) {
      parts.push_back(read_media(modality, file));
    }
  }
  return parts;
}

std::vector<Message> system_message(const ConverseOptions& options) {
  if (options.system.empty()) {
    return {};
  }
  return {Message{.role = Role::kSystem, .parts = {Part::text(options.system)}}};
}

// With codecs of media, or a language model with a chat template.
std::unique_ptr<pipelines::Talker> open_talker(const ConverseOptions& options,
                                               const nn::LoadOptions& load) {
  const io::fs::path folder = models::open_folder(options.model).path;
  if (io::fs::exists(folder / "any_to_any.json")) {
    TESSERA_CHECK(options.system.empty(), InvalidArgument,
                  "--system: {} has its own (any_to_any.json)", folder.string());
    return std::make_unique<pipelines::AnyToAny>(options.model, load);
  }
  TESSERA_CHECK(options.images.empty() && options.audio.empty() && options.music.empty() &&
                    options.voice.empty() && !options.mic && !options.play,
                InvalidArgument,
                "{}: this model takes text alone, no --image, --audio, --music, --voice, --mic "
                "or --play",
                folder.string());
  return std::make_unique<pipelines::TextChat>(options.model, load, options.batch);
}

// Every prompt is a conversation of its own.
void answer_prompts(pipelines::Talker& model,
                    const std::vector<std::string>& prompts,
                    const std::vector<Part>& media,
                    const ConverseOptions& options,
                    ReplyOutput& output) {
  const train::StopSignal stop;
  const auto batch = static_cast<size_t>(options.batch);
  for (size_t first = 0; first < prompts.size(); first += batch) {
    std::vector<std::vector<Message>> talks;
    for (size_t i = first; i < std::min(first + batch, prompts.size()); ++i) {
      Message message{.role = Role::kUser, .parts = media};
      message.parts.push_back(Part::text(prompts[i]));
      std::vector<Message>& talk = talks.emplace_back(system_message(options));
      talk.push_back(std::move(message));
    }
    pipelines::ConverseEvents events = output.stream();
    if (talks.size() == 1) {
      output.end(prompts[first], model.reply(talks[0], reply_options(options), events));
    } else {
      events = {.on_text = {},
                .on_begin = {},
                .on_audio = {},
                .on_part = {},
                .on_forget = events.on_forget,
                .go_on = events.go_on};
      const std::vector<pipelines::Reply> replies =
          model.reply(talks, reply_options(options), events);
      for (size_t i = 0; i < replies.size(); ++i) {
        output.whole(prompts[first + i], replies[i]);
      }
    }
    if (train::StopSignal::requested()) {
      throw Cancelled("interrupted");
    }
  }
}

}  // namespace

int run_converse(const ConverseOptions& options) {
  translate_torch_errors([&] {
    const nn::LoadOptions load = prepare(options);
    const std::vector<std::string> prompts = prompts_of(options);
    std::vector<Part> media = read_all_media(options);
    std::optional<Part> voice;
    if (!options.voice.empty()) {
      voice = read_media(Modality::kSpeech, options.voice);
    }
    const std::unique_ptr<pipelines::Talker> model = open_talker(options, load);
    std::unique_ptr<SoundPlayer> player;
    if (options.play) {
      player = std::make_unique<SoundPlayer>(options.play_device);
    }
    ReplyOutput output(options.out, options.json, player.get());
    if (prompts.empty()) {
      Repl repl(*model, output, reply_options(options), std::move(media), std::move(voice),
                system_message(options));
      repl.set_microphone(options.mic_device, options.mic);
      repl.run();
      return;
    }
    if (options.mic) {
      media.push_back(record_message(options.mic_device));
    }
    if (voice.has_value()) {
      media.insert(media.begin(), std::move(*voice));
    }
    answer_prompts(*model, prompts, media, options, output);
  });
  return 0;
}

}  // namespace tessera::cli
