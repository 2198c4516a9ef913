#include "cli/tensor/sound.h"

#include "core/error.h"
#include "io/sound_device.h"
#include "train/stop_signal.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <utility>

namespace tessera::cli {
namespace {

constexpr double kMostSeconds = 600;

bool line_waits() {
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  return ::poll(&input, 1, 0) > 0;
}

}  // namespace

Part record_message(const std::string& device) {
  const train::StopSignal stop;
  const bool terminal = ::isatty(STDIN_FILENO) != 0;
  io::AudioStream stream(io::open_microphone(device), {.mono = true});
  Part part{.modality = Modality::kSpeech, .content = Audio{}, .source = {}};
  Audio& heard = std::get<Audio>(part.content);
  heard.sample_rate = stream.sample_rate();
  heard.channels = 1;
  std::vector<float> block(static_cast<size_t>(stream.sample_rate()) / 20 + 1);
  bool enter = false;
  while (!train::StopSignal::requested() && !enter && heard.seconds() < kMostSeconds) {
    const size_t got = stream.read(block);
    if (got == 0) {
      break;
    }
    heard.samples.insert(heard.samples.end(), block.begin(),
                         block.begin() + static_cast<ptrdiff_t>(got));
    if (terminal) {
      std::fprintf(stderr, "\rrecording %.1f s, Enter ends it ", heard.seconds());
      enter = line_waits();
    }
  }
  if (enter) {
    std::string rest;
    std::getline(std::cin, rest);
  } else if (terminal) {
    std::fputc('\n', stderr);
  }
  TESSERA_CHECK(!heard.samples.empty(), InvalidArgument, "{}: nothing was heard", stream.name());
  return part;
}

SoundPlayer::SoundPlayer(std::string device)
    : device_(std::move(device)), thread_([this] { run(); }) {}

SoundPlayer::~SoundPlayer() {
  {
    const std::lock_guard lock(mutex_);
    queue_.clear();
    ends_ = drop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void SoundPlayer::push(Audio chunk) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(chunk));
  }
  changed_.notify_all();
}

void SoundPlayer::wait() {
  std::unique_lock lock(mutex_);
  while ((busy_ || !queue_.empty()) && failure_ == nullptr) {
    changed_.wait_for(lock, std::chrono::milliseconds(50));
    if (train::StopSignal::requested()) {
      queue_.clear();
      drop_ = true;
    }
  }
  drop_ = false;
  if (failure_ != nullptr) {
    queue_.clear();
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }
}

void SoundPlayer::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return ends_ || (!queue_.empty() && failure_ == nullptr); });
    if (ends_) {
      return;
    }
    busy_ = true;
    lock.unlock();
    std::exception_ptr failure;
    try {
      play_queue();
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    failure_ = failure;
    busy_ = false;
    changed_.notify_all();
  }
}

// Until the queue is empty; chunks of one rate go to one device without a gap.
void SoundPlayer::play_queue() {
  std::unique_ptr<io::Loudspeaker> speaker;
  std::pair<int, int> shape;
  while (true) {
    Audio chunk;
    {
      const std::lock_guard lock(mutex_);
      if (queue_.empty()) {
        break;
      }
      chunk = std::move(queue_.front());
      queue_.pop_front();
    }
    if (speaker == nullptr || shape != std::pair(chunk.sample_rate, chunk.channels)) {
      if (speaker != nullptr) {
        speaker->finish();
      }
      shape = {chunk.sample_rate, chunk.channels};
      speaker = std::make_unique<io::Loudspeaker>(device_, chunk.sample_rate, chunk.channels);
    }
    // In pieces, so that a stop is soon heard.
    const size_t piece =
        static_cast<size_t>(chunk.sample_rate / 10 + 1) * static_cast<size_t>(chunk.channels);
    std::span<const float> left = chunk.samples;
    while (!left.empty() && !drop_) {
      speaker->write(left.first(std::min(piece, left.size())));
      left = left.subspan(std::min(piece, left.size()));
    }
  }
  if (speaker != nullptr) {
    speaker->finish();
  }
}

}  // namespace tessera::cli
