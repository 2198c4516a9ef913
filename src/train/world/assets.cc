// speech.pack holds bin/ (espeak-ng, flite_voice), lib/ (their shared libraries but for the C
// library, with an empty stand-in for libpcaudio), share/espeak-ng-data/ (English and the voices
// that the world uses) and licences/ (Debian's copyright files). espeak-ng is GPL-3: whoever passes
// the folder on must offer its source, which is the Debian source package espeak-ng. clips.pack
// holds G.722 files and index.tsv.

#include "train/world/assets.h"

#include "core/error.h"
#include "core/strings.h"
#include "train/world/emoji_font.h"
#include "train/world/g722.h"

namespace tessera::world {

namespace {

/// Reads a file, or says which package has it.
std::string need(const io::fs::path& path, std::string_view package) {
  std::error_code error;
  TESSERA_CHECK(io::fs::is_regular_file(path, error), NotFound,
                "{}: no such file; install Debian's {}", path.string(), package);
  return io::read_file(path, uint64_t{64} << 20);
}

io::fs::path system_libraries() {
  std::error_code error;
  for (const char* triplet : {"x86_64-linux-gnu", "aarch64-linux-gnu"}) {
    const io::fs::path folder = io::fs::path("/usr/lib") / triplet;
    if (io::fs::exists(folder, error)) {
      return folder;
    }
  }
  return "/usr/lib";
}

std::map<std::string, PackedFile> speech_files(const AssetSources& sources) {
  std::map<std::string, PackedFile> files;
  const SpeechTools& speech = sources.speech;
  files["bin/espeak-ng"] = {need(speech.espeak, "espeak-ng"), true};
  files["bin/flite_voice"] = {need(speech.flite_voice, "build of tessera (tessera_flite_voice)"),
                              true};
  files["lib/libpcaudio.so.0"] = {need(sources.pcaudio, "build of tessera (tessera_pcaudio)"),
                                  false};
  const std::pair<const char*, const char*> kLibraries[] = {
      {"libespeak-ng.so.1", "libespeak-ng1"},   {"libsonic.so.0", "libsonic0"},
      {"libasound.so.2", "libasound2"},         {"libflite.so.1", "libflite1"},
      {"libflite_usenglish.so.1", "libflite1"}, {"libflite_cmulex.so.1", "libflite1"}};
  for (const auto& [name, package] : kLibraries) {
    files[fmt::format("lib/{}", name)] = {need(sources.libraries / name, package), false};
  }
  std::vector<std::string> data = {
      "phondata", "phonindex",   "phontab",        "intonations",
      "en_dict",  "lang/gmw/en", "lang/gmw/en-US", "lang/gmw/en-GB-x-rp"};
  for (const Voice& voice : voices()) {
    if (voice.engine == Engine::kFlite) {
      const std::string name = fmt::format("libflite_cmu_us_{}.so.1", voice.engine_name);
      files["lib/" + name] = {need(sources.libraries / name, "libflite1"), false};
    } else if (const size_t plus = voice.engine_name.find('+'); plus != std::string_view::npos) {
      data.push_back(fmt::format("voices/!v/{}", voice.engine_name.substr(plus + 1)));
    }
  }
  for (const std::string& name : data) {
    files["share/espeak-ng-data/" + name] = {
        need(speech.espeak_data / "espeak-ng-data" / name, "espeak-ng-data"), false};
  }
  for (const char* package : {"espeak-ng", "libflite1", "libasound2", "libsonic0"}) {
    const io::fs::path path = sources.copyrights / package / "copyright";
    files[fmt::format("licences/{}", package)] = {need(path, package), false};
  }
  return files;
}

}  // namespace

AssetSources AssetSources::debian() {
  const io::fs::path helpers(TESSERA_WORLD_HELPERS);
  return {.emoji_font = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
          .speech = SpeechTools::installed(),
          .libraries = system_libraries(),
          .pcaudio = helpers / "libpcaudio.so.0",
          .asterisk = {},
          .prompts = {},
          .copyrights = "/usr/share/doc"};
}

std::vector<Clip> read_prompts(const io::fs::path& path) {
  std::vector<Clip> clips;
  int number = 0;
  for (const std::string& line : split(io::read_file(path, 1 << 20), '\n')) {
    ++number;
    if (line.empty() || line.front() == '#') {
      continue;
    }
    const std::vector<std::string> fields = split(line, '\t');
    TESSERA_CHECK(fields.size() == 3 && !fields[0].empty() && !fields[1].empty(), CorruptFile,
                  "{}:{}: expected name, text and yes|no|unknown, separated by tabs", path.string(),
                  number);
    if (fields[2] != "no") {
      clips.push_back({fields[0], fields[1]});
    }
  }
  return clips;
}

AssetReport build_assets(const AssetSources& sources, const io::fs::path& folder) {
  std::error_code error;
  io::fs::create_directories(folder, error);
  TESSERA_CHECK(!error, Io, "{}: {}", folder.string(), error.message());
  AssetReport report;

  std::map<std::string, PackedFile> sprites;
  TESSERA_CHECK(io::fs::exists(sources.emoji_font, error), NotFound,
                "{}: no such file; install Debian's fonts-noto-color-emoji",
                sources.emoji_font.string());
  const EmojiFont font(sources.emoji_font);
  for (int kind = 0; kind < first_shape(); ++kind) {
    const ObjectKind& object = object_kinds()[static_cast<size_t>(kind)];
    sprites[fmt::format("{:04x}.png", static_cast<uint32_t>(object.emoji))] = {
        std::string(font.png(object.emoji)), false};
  }
  write_pack(folder / "sprites.pack", sprites);
  report.bytes_sprites = io::fs::file_size(folder / "sprites.pack");

  write_pack(folder / "speech.pack", speech_files(sources));
  report.bytes_speech = io::fs::file_size(folder / "speech.pack");

  io::fs::remove(folder / "clips.pack", error);
  if (!sources.asterisk.empty()) {
    std::map<std::string, PackedFile> clips;
    std::string index;
    for (const Clip& clip : read_prompts(sources.prompts)) {
      clips[clip.name] = {
          need(sources.asterisk / (clip.name + ".g722"), "asterisk-core-sounds-en-g722"), false};
      index += clip.name + "\t" + clip.text + "\tyes\n";
      ++report.clips;
    }
    clips["index.tsv"] = {index, false};
    write_pack(folder / "clips.pack", clips);
    report.bytes_clips = io::fs::file_size(folder / "clips.pack");
  }
  return report;
}

Assets::Assets(const io::fs::path& folder, const io::fs::path& scratch)
    : sprites_(folder / "sprites.pack") {
  Pack(folder / "speech.pack").unpack(scratch);
  tools_ = {.espeak = scratch / "bin" / "espeak-ng",
            .espeak_data = scratch / "share",
            .flite_voice = scratch / "bin" / "flite_voice",
            .libraries = scratch / "lib"};
  if (io::fs::exists(folder / "clips.pack")) {
    clip_pack_.emplace(folder / "clips.pack");
    for (const std::string& line : split(clip_pack_->read("index.tsv"), '\n')) {
      const std::vector<std::string> fields = split(line, '\t');
      if (fields.size() == 3) {
        clips_.push_back({fields[0], fields[1]});
      }
    }
  }
}

std::vector<std::string> Assets::sprites() const {
  std::vector<std::string> pngs;
  for (int kind = 0; kind < first_shape(); ++kind) {
    const auto emoji = static_cast<uint32_t>(object_kinds()[static_cast<size_t>(kind)].emoji);
    pngs.push_back(sprites_.read(fmt::format("{:04x}.png", emoji)));
  }
  return pngs;
}

Audio Assets::clip_audio(size_t index) const {
  TESSERA_CHECK(index < clips_.size(), InvalidArgument, "there is no recording {}; there are {}",
                index, clips_.size());
  Audio audio{.sample_rate = kSpeechRate,
              .channels = 1,
              .samples = decode_g722(clip_pack_->read(clips_[index].name))};
  tidy_speech(audio);
  return audio;
}

}  // namespace tessera::world
