// What `tessera converse` writes: streamed text, media files, JSON.
#pragma once

#include "cli/tensor/sound.h"
#include "pipelines/converse.h"

#include <string>
#include <string_view>
#include <vector>

namespace tessera::cli {

/// Writes to stdout at once; throws Io.
void put(std::string_view text);

/// Replies to stdout, their media to files.
class ReplyOutput {
 public:
  /// `player`: hears the sound of replies; may be null.
  ReplyOutput(io::fs::path folder, bool json, SoundPlayer* player = nullptr)
      : folder_(std::move(folder)), json_(json), player_(player) {}

  /// Tells one reply while it is made (nothing but warnings with JSON); Ctrl-C stops it where a
  /// StopSignal lives. Follow it by end().
  pipelines::ConverseEvents stream();
  /// The end of a reply that has been streamed, or the whole of its JSON.
  void end(std::string_view prompt, const pipelines::Reply& reply);
  /// A reply that has not been streamed.
  void whole(std::string_view prompt, const pipelines::Reply& reply);

 private:
  std::string save(const Part& part);
  void show_text(std::string_view text);
  void show_media(const Part& part);
  io::Json to_json(std::string_view prompt, const pipelines::Reply& reply);

  io::fs::path folder_;
  bool json_;
  SoundPlayer* player_;
  int number_ = 0;          // of the newest file
  bool line_open_ = false;  // text stands in the line
};

}  // namespace tessera::cli
