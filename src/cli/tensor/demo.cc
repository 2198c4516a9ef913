// `tessera demo`: conversations over bundled text, picture and recordings, printed as they stream,
// with a folder of their media, one page to look at and listen to, and a table of times. The
// conversations are examples/demo.json; those that need a modality which the model lacks are left
// out and named.
#include "cli/tensor/common.h"
#include "core/error.h"
#include "core/html.h"
#include "core/log.h"
#include "io/audio.h"
#include "io/image.h"
#include "io/terminal_image.h"
#include "pipelines/converse.h"
#include "pipelines/transcript.h"

#include <chrono>
#include <cstdio>
#include <set>

namespace tessera::cli {
namespace {

namespace fs = io::fs;
using pipelines::Reply;

constexpr int kPictureColumns = 32;

// One row of the table at the end.
struct Timing {
  std::string task;  // "text → image"
  Reply reply;
};

// A turn of examples/demo.json.
struct DemoTurn {
  Message message;
  std::optional<Modality> to;
  std::string task;
};

class Demo {
 public:
  Demo(const DemoOptions& options, pipelines::AnyToAny& model)
      : options_(options), model_(model), examples_(fs::path(options.data) / "examples") {}

  void run();

 private:
  bool can(const io::Json& conversation);
  DemoTurn read_turn(const io::Json& json);
  void converse(const io::Json& conversation);
  Reply answer(const std::vector<Message>& history, const DemoTurn& turn);
  void show(Part& part);
  std::string table() const;
  void write_page() const;

  const DemoOptions& options_;
  pipelines::AnyToAny& model_;
  fs::path examples_;
  std::vector<pipelines::Transcript> transcripts_;
  std::vector<Timing> timings_;
  std::set<std::string> missing_;
  int files_ = 0;
};

bool Demo::can(const io::Json& conversation) {
  bool complete = true;
  const auto need = [&](const std::string& name) {
    if (!model_.has(pipelines::modality_named(name))) {
      missing_.insert(name);
      complete = false;
    }
  };
  for (const io::Json& turn : conversation.at("turns")) {
    for (const auto& [key, value] : turn.items()) {
      need(key == "to" ? value.get<std::string>() : key);
    }
  }
  return complete;
}

DemoTurn Demo::read_turn(const io::Json& json) {
  DemoTurn turn;
  for (const char* key : {"image", "speech", "music"}) {
    if (!json.contains(key)) {
      continue;
    }
    const fs::path file = examples_ / json.at(key).get<std::string>();
    Part part{.modality = pipelines::modality_named(key), .content = {}, .source = file.string()};
    if (part.modality == Modality::kImage) {
      part.content = io::read_image(file);
    } else {
      part.content = io::read_audio(file.string());
    }
    turn.task += std::string(turn.task.empty() ? "" : " + ") + key;
    turn.message.parts.push_back(std::move(part));
  }
  turn.message.parts.push_back(Part::text(json.value("text", "")));
  turn.to = pipelines::modality_named(json.at("to").get<std::string>());
  turn.task = (turn.task.empty() ? "text" : turn.task) + " → " + json.at("to").get<std::string>();
  return turn;
}

// Writes a media part beside the page and shows or names it.
void Demo::show(Part& part) {
  const char* name = modality_name(part.modality);
  const bool picture = part.modality == Modality::kImage;
  const fs::path file =
      fs::path(options_.out) / fmt::format("{:02}-{}.{}", ++files_, name, picture ? "png" : "wav");
  part.source = file.string();
  if (picture) {
    const Image& image = std::get<Image>(part.content);
    io::write_png(file, image);
    std::printf("\n%s", io::terminal_can_show_images()
                            ? io::terminal_image(image, kPictureColumns).c_str()
                            : "");
  } else {
    const Audio& audio = std::get<Audio>(part.content);
    io::write_audio(file.string(), audio);
    std::printf("\n  (%.1f s) ", audio.seconds());
  }
  std::printf("  [%s: %s]", name, file.c_str());
}

Reply Demo::answer(const std::vector<Message>& history, const DemoTurn& turn) {
  pipelines::ConverseEvents events;
  events.on_text = [](size_t, std::string_view piece) {
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    std::fflush(stdout);
  };
  std::printf("tessera  ");
  std::fflush(stdout);
  pipelines::ConverseOptions converse;
  converse.to = turn.to;
  converse.seed = options_.seed;
  Reply reply = model_.reply(history, converse, events);
  for (Part& part : reply.message.parts) {
    if (part.modality != Modality::kText) {
      show(part);
    }
  }
  std::printf("\n");
  return reply;
}

void Demo::converse(const io::Json& conversation) {
  pipelines::Transcript transcript{.title = conversation.at("title").get<std::string>(),
                                   .entries = {}};
  std::printf("\n— %s —\n", transcript.title.c_str());
  std::vector<Message> history;
  for (const io::Json& json : conversation.at("turns")) {
    DemoTurn turn = read_turn(json);
    for (const Part& part : turn.message.parts) {
      const auto* text = std::get_if<std::string>(&part.content);
      if (text == nullptr) {
        std::printf("you      [%s: %s]\n", modality_name(part.modality), part.source.c_str());
      } else {
        std::printf("you      %s\n", text->c_str());
      }
    }
    history.push_back(turn.message);
    transcript.entries.push_back({turn.message, ""});
    Reply reply = answer(history, turn);
    history.push_back(reply.message);
    const double seconds = reply.prefill_seconds + reply.decode_seconds;
    transcript.entries.push_back({reply.message, fmt::format("{:.2f} s", seconds)});
    timings_.push_back({turn.task, std::move(reply)});
  }
  transcripts_.push_back(std::move(transcript));
}

std::string Demo::table() const {
  std::string out = fmt::format("{:<18} {:>8} {:>8} {:>9} {:>12}\n", "task", "seconds", "tokens",
                                "tokens/s", "first audio");
  for (const auto& [task, reply] : timings_) {
    const double seconds = reply.prefill_seconds + reply.decode_seconds;
    out += fmt::format(
        "{:<18} {:>8.2f} {:>8} {:>9.0f} {:>12}\n", task, seconds, reply.new_tokens,
        static_cast<double>(reply.new_tokens) / std::max(1e-9, reply.decode_seconds),
        reply.first_audio_seconds < 0 ? "" : fmt::format("{:.2f} s", reply.first_audio_seconds));
  }
  return out;
}

void Demo::write_page() const {
  const std::string footer =
      "<section><h2>Times on this machine</h2><pre>" + html_text(table()) + "</pre></section>";
  io::write_file(fs::path(options_.out) / "demo.html",
                 pipelines::render_transcripts("tessera: a conversation", transcripts_, footer));
}

void Demo::run() {
  for (const io::Json& conversation : io::read_json(examples_ / "demo.json")) {
    if (can(conversation)) {
      converse(conversation);
    }
  }
  write_page();
  std::printf("\n%s", table().c_str());
  if (!missing_.empty()) {
    std::string names;
    for (const std::string& name : missing_) {
      names += (names.empty() ? "" : " or ") + name;
    }
    std::printf("\nThe bundled model has no %s yet: those conversations were left out.\n",
                names.c_str());
  }
  std::printf(
      "\nLook and listen: %s/demo.html (one file), the media beside it.\n\n"
      "Try next:\n"
      "  build/release/tessera converse\n"
      "  build/release/tessera converse \"draw three blue stars\" --to image --out out\n"
      "  build/release/tessera bench any2any --quick\n",
      options_.out.c_str());
}

}  // namespace

int run_demo(const DemoOptions& options) {
  translate_torch_errors([&] {
    const nn::LoadOptions load = prepare(options);
    fs::create_directories(options.out);
    pipelines::AnyToAny model((fs::path(options.data) / "models" / "tessera-mini").string(), load);
    Demo(options, model).run();
  });
  return 0;
}

}  // namespace tessera::cli
