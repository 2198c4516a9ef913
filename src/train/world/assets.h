// The folder of renderers that travels to where a model is trained: emoji, speech programs with
// their data, recorded prompts. Made on a Debian machine by one command, used where nothing is
// installed. Generated, never committed.
#pragma once

#include "train/world/pack.h"
#include "train/world/scene_render.h"
#include "train/world/speech.h"

#include <optional>
#include <string>
#include <vector>

namespace tessera::world {

/// Where the parts come from. `debian()` fills in the places of Debian's packages.
struct AssetSources {
  io::fs::path emoji_font;  // fonts-noto-color-emoji
  SpeechTools speech;       // espeak-ng, espeak-ng-data, libflite1 and our helpers
  io::fs::path libraries;   // the system's folder of shared libraries
  io::fs::path pcaudio;     // tools/pcaudio_stub.cc, built
  io::fs::path asterisk;  // folder of g722 files (asterisk-core-sounds-en-g722); empty = leave out
  io::fs::path prompts;   // recipes/world/asterisk_prompts.tsv; needed with `asterisk`
  io::fs::path copyrights;  // /usr/share/doc

  static AssetSources debian();
};

struct AssetReport {
  uint64_t bytes_sprites = 0;
  uint64_t bytes_speech = 0;
  uint64_t bytes_clips = 0;
  int clips = 0;
  uint64_t total() const { return bytes_sprites + bytes_speech + bytes_clips; }
};

/// Writes sprites.pack, speech.pack and clips.pack into `folder`. Throws NotFound naming the file
/// and the Debian package that has it.
AssetReport build_assets(const AssetSources& sources, const io::fs::path& folder);

/// A recording of a real person with its words.
struct Clip {
  std::string name;  // "digits/7"
  std::string text;  // "seven"
};

/// An opened asset folder.
class Assets {
 public:
  /// Unpacks the speech programs into `scratch` (executables cannot run from a pack) when they are
  /// not there yet. Throws NotFound or CorruptFile.
  Assets(const io::fs::path& folder, const io::fs::path& scratch);

  /// One PNG for each emoji kind.
  std::vector<std::string> sprites() const;
  /// The unpacked programs.
  const SpeechTools& speech_tools() const { return tools_; }
  /// Recorded prompts; empty when the folder was made without them.
  const std::vector<Clip>& clips() const { return clips_; }
  /// One recording, mono at kSpeechRate, tidied.
  Audio clip_audio(size_t index) const;

 private:
  Pack sprites_;
  std::optional<Pack> clip_pack_;
  std::vector<Clip> clips_;
  SpeechTools tools_;
};

/// Rows of a prompts file (name, text, confirmed), without those marked "no". Throws CorruptFile
/// with the line.
std::vector<Clip> read_prompts(const io::fs::path& path);

}  // namespace tessera::world
