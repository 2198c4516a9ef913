#include "cli/tensor/converse_output.h"

#include "core/error.h"
#include "core/log.h"
#include "io/audio.h"
#include "io/image.h"
#include "io/terminal_image.h"
#include "train/stop_signal.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace tessera::cli {
namespace {

constexpr int kColumns = 40;  // of a picture in the terminal

// A terminal obeys control characters; a model must not give it orders.
std::string harmless(std::string_view text) {
  std::string result(text);
  if (::isatty(STDOUT_FILENO) != 0) {
    std::replace_if(
        result.begin(), result.end(),
        [](char c) { return (c >= 0 && c < ' ' && c != '\n' && c != '\t') || c == '\x7F'; }, '?');
  }
  return result;
}

}  // namespace

void put(std::string_view text) {
  TESSERA_CHECK(
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0,
      Io, "stdout: cannot be written");
}

pipelines::ConverseEvents ReplyOutput::stream() {
  pipelines::ConverseEvents events;
  if (!json_) {
    events.on_text = [this](size_t, std::string_view piece) { show_text(piece); };
    events.on_part = [this](size_t, const Part& part) { show_media(part); };
  }
  // Sound is decoded as it comes, so that the time of the first chunk is told.
  events.on_audio = [this](size_t, Modality, const Audio& chunk) {
    if (player_ != nullptr) {
      player_->push(chunk);
    }
  };
  events.on_forget = [](size_t, size_t turns) {
    log::warning("the oldest {} messages no longer fit into the model's context", turns);
  };
  events.go_on = [] { return !train::StopSignal::requested(); };
  return events;
}

void ReplyOutput::end(std::string_view prompt, const pipelines::Reply& reply) {
  if (json_) {
    put(to_json(prompt, reply).dump(-1, ' ', false, io::Json::error_handler_t::replace) + "\n");
  } else if (line_open_ || reply.message.parts.empty()) {
    put("\n");
  }
  line_open_ = false;
  if (player_ != nullptr) {
    try {
      player_->wait();
    } catch (const Error& error) {  // the reply itself is there
      log::warning("{}; what follows is not played", error.what());
      player_ = nullptr;
    }
  }
  log::debug("{} prompt tokens in {:.3f} s, {} tokens in {:.3f} s, ended by {}",
             reply.prompt_tokens, reply.prefill_seconds, reply.new_tokens, reply.decode_seconds,
             reply.reason);
}

void ReplyOutput::whole(std::string_view prompt, const pipelines::Reply& reply) {
  for (const Part& part : json_ ? std::vector<Part>() : reply.message.parts) {
    if (const auto* text = std::get_if<std::string>(&part.content)) {
      show_text(*text);
    } else {
      show_media(part);
    }
  }
  for (const Part& part : reply.message.parts) {
    const auto* sound = std::get_if<Audio>(&part.content);
    if (sound != nullptr && player_ != nullptr) {
      player_->push(*sound);
    }
  }
  end(prompt, reply);
}

// Earlier files are never written over.
std::string ReplyOutput::save(const Part& part) {
  std::error_code failed;
  io::fs::create_directories(folder_, failed);
  TESSERA_CHECK(!failed, Io, "{}: {}", folder_.string(), failed.message());
  io::fs::path stem;
  do {
    stem = folder_ / fmt::format("part-{:04}", ++number_);
  } while (io::fs::exists(stem.string() + ".png") || io::fs::exists(stem.string() + ".wav"));
  if (const auto* image = std::get_if<Image>(&part.content)) {
    io::write_png(stem.string() + ".png", *image);
    return stem.string() + ".png";
  }
  io::write_audio(stem.string() + ".wav", std::get<Audio>(part.content));
  return stem.string() + ".wav";
}

void ReplyOutput::show_text(std::string_view text) {
  put(harmless(text));
  line_open_ = !text.empty() && text.back() != '\n';
}

void ReplyOutput::show_media(const Part& part) {
  std::string shown = line_open_ ? "\n" : "";
  if (const auto* image = std::get_if<Image>(&part.content);
      image != nullptr && io::terminal_can_show_images()) {
    shown += io::terminal_image(*image, kColumns);
  }
  shown += fmt::format("[{}: {}", modality_name(part.modality), save(part));
  if (const auto* audio = std::get_if<Audio>(&part.content)) {
    shown += fmt::format(", {:.1f} s", audio->seconds());
  }
  put(shown + "]\n");
  line_open_ = false;
}

io::Json ReplyOutput::to_json(std::string_view prompt, const pipelines::Reply& reply) {
  io::Json parts = io::Json::array();
  for (const Part& part : reply.message.parts) {
    io::Json item = {{"type", modality_name(part.modality)}};
    if (const auto* text = std::get_if<std::string>(&part.content)) {
      item["text"] = *text;
    } else {
      item["file"] = save(part);
      if (const auto* audio = std::get_if<Audio>(&part.content)) {
        item["seconds"] = audio->seconds();
      }
    }
    parts.push_back(std::move(item));
  }
  io::Json out = {{"prompt", prompt},
                  {"parts", parts},
                  {"finish_reason", reply.reason},
                  {"valid", reply.valid},
                  {"prompt_tokens", reply.prompt_tokens},
                  {"new_tokens", reply.new_tokens},
                  {"forgotten", reply.forgotten},
                  {"prefill_s", reply.prefill_seconds},
                  {"decode_s", reply.decode_seconds}};
  if (reply.first_audio_seconds >= 0) {
    out["first_audio_s"] = reply.first_audio_seconds;
  }
  return out;
}

}  // namespace tessera::cli
