// The user's microphone and loudspeaker in a conversation.
#pragma once

#include "core/message.h"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <string>
#include <thread>

namespace tessera::cli {

/// A speech part: mono sound from the microphone until Enter is pressed (in a terminal), Ctrl-C,
/// ten minutes, or the end of the device. `device`: see io/sound_device.h. Throws InvalidArgument
/// when nothing was heard, and what io::open_microphone does.
Part record_message(const std::string& device);

/// Plays chunks of sound while others are made.
class SoundPlayer {
 public:
  explicit SoundPlayer(std::string device);
  ~SoundPlayer();  // drops what has not been played

  void push(Audio chunk);
  /// Returns when all is played, or after Ctrl-C. Throws what the device threw.
  void wait();

 private:
  void run();
  void play_queue();

  std::string device_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Audio> queue_;
  bool busy_ = false;  // something of the queue is with the device
  bool ends_ = false;
  std::atomic<bool> drop_ = false;  // what is being played is not wanted any more
  std::exception_ptr failure_;
  std::thread thread_;
};

}  // namespace tessera::cli
