// Flite runs as one long-lived helper for each worker (tools/flite_voice.cc), espeak-ng as one
// short process a sentence that writes a WAV file to its output (22,050 Hz, resampled here).
// espeak-ng is under GPL-3 and therefore only ever run as a program.

#include "train/world/speech.h"

#include "core/error.h"
#include "core/strings.h"
#include "train/world/process.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>
#include <numbers>
#include <numeric>
#include <thread>

namespace tessera::world {

std::span<const Voice> voices() {
  static constexpr Voice kVoices[] = {
      {"Sally", Engine::kFlite, "slt", "an American woman", 0, false},
      {"Ross", Engine::kFlite, "rms", "an American man", 0, false},
      {"Angus", Engine::kFlite, "awb", "a Scottish man", 0, false},
      {"Max", Engine::kEspeak, "en-us+benjamin", "a robot with a low voice", 155, false},
      {"Linda", Engine::kEspeak, "en-us+f5", "a robot with a high voice", 155, false},
      {"Henry", Engine::kEspeak, "en-us+klatt2", "a robot with a rough voice", 155, false},
      {"Grace", Engine::kEspeak, "en-gb-x-rp+f2", "a British robot", 155, false},
      {"Nora", Engine::kEspeak, "en-us+f3", "a robot that training never heard", 155, true},
  };
  return kVoices;
}

int voice_of(std::string_view name) {
  std::string known;
  for (size_t i = 0; i < voices().size(); ++i) {
    if (voices()[i].name == name) {
      return static_cast<int>(i);
    }
    known += (known.empty() ? "" : ", ") + std::string(voices()[i].name);
  }
  throw InvalidArgument("there is no voice '{}'; the world has {}", name, known);
}

Split split_of_sentence(std::string_view sentence) {
  const uint64_t bucket = mix64(hash_name(fmt::format("sentence/{}", sentence))) % 1000;
  return bucket < 40 ? Split::kTest : bucket < 55 ? Split::kValidation : Split::kTrain;
}

Split split_of(const Voice& voice, std::string_view sentence) {
  if (voice.left_out) {
    return Split::kTest;
  }
  return worse(split_of_sentence(sentence),
               split_of_key(fmt::format("speech/{}/{}", voice.name, sentence)));
}

SpeechTools SpeechTools::installed() {
  return {.espeak = "/usr/bin/espeak-ng",
          .espeak_data = "/usr/lib/x86_64-linux-gnu",
          .flite_voice = io::fs::path(TESSERA_WORLD_HELPERS) / "flite_voice",
          .libraries = {}};
}

std::vector<std::string> SpeechTools::missing() const {
  std::vector<std::string> out;
  std::error_code error;
  if (!io::fs::exists(espeak, error)) {
    out.push_back(fmt::format("{} (Debian: espeak-ng)", espeak.string()));
  }
  if (!io::fs::exists(espeak_data / "espeak-ng-data" / "phondata", error)) {
    out.push_back(fmt::format("{}/espeak-ng-data (Debian: espeak-ng-data)", espeak_data.string()));
  }
  if (!io::fs::exists(flite_voice, error)) {
    out.push_back(fmt::format("{} (built with tessera)", flite_voice.string()));
  }
  const io::fs::path folder =
      libraries.empty() ? io::fs::path("/usr/lib/x86_64-linux-gnu") : libraries;
  if (!io::fs::exists(folder / "libflite.so.1", error)) {
    out.push_back(fmt::format("{}/libflite.so.1 (Debian: libflite1)", folder.string()));
  }
  return out;
}

void tidy_speech(Audio& audio) {
  float peak = 0;
  for (const float value : audio.samples) {
    peak = std::max(peak, std::abs(value));
  }
  if (peak == 0) {
    audio.samples.clear();
    return;
  }
  const auto loud = [&](float value) { return std::abs(value) > 0.01F * peak; };
  const auto first = std::find_if(audio.samples.begin(), audio.samples.end(), loud);
  const auto last = std::find_if(audio.samples.rbegin(), audio.samples.rend(), loud).base();
  const auto margin = static_cast<std::ptrdiff_t>(audio.sample_rate / 20);
  const auto begin = std::max<std::ptrdiff_t>(0, first - audio.samples.begin() - margin);
  const auto end = std::min<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(audio.samples.size()),
                                            last - audio.samples.begin() + margin);
  audio.samples = {audio.samples.begin() + begin, audio.samples.begin() + end};
  for (float& value : audio.samples) {
    value *= 0.7F / peak;
  }
}

std::vector<float> resample(std::span<const float> samples, int from, int to) {
  TESSERA_CHECK(from >= 1000 && from <= 192000 && to >= 1000 && to <= 192000, InvalidArgument,
                "cannot resample from {} to {} Hz; expected 1000 to 192000", from, to);
  if (from == to) {
    return {samples.begin(), samples.end()};
  }
  constexpr int kZeros = 16;
  const double cutoff = 0.94 * std::min(1.0, static_cast<double>(to) / from);
  const int reach = static_cast<int>(std::ceil(kZeros / cutoff));
  const int divisor = std::gcd(from, to);
  const int phases = to / divisor;
  const auto taps = static_cast<size_t>(2 * reach);
  std::vector<float> filters(static_cast<size_t>(phases) * taps);
  for (int phase = 0; phase < phases; ++phase) {
    const double offset = static_cast<double>(phase) / phases;
    for (int k = 0; k < 2 * reach; ++k) {
      const double t = (k - reach + 1 - offset) * cutoff;
      const double sinc = t == 0 ? 1 : std::sin(std::numbers::pi * t) / (std::numbers::pi * t);
      const double window =
          std::abs(t) < kZeros ? std::pow(std::cos(std::numbers::pi * t / (2 * kZeros)), 2) : 0;
      filters[static_cast<size_t>(phase) * taps + static_cast<size_t>(k)] =
          static_cast<float>(sinc * window * cutoff);
    }
  }
  const auto count = static_cast<size_t>(static_cast<uint64_t>(samples.size()) *
                                         static_cast<uint64_t>(to) / static_cast<uint64_t>(from));
  std::vector<float> out(count);
  for (size_t n = 0; n < count; ++n) {
    const uint64_t position = static_cast<uint64_t>(n) * static_cast<uint64_t>(from / divisor);
    const auto whole = static_cast<int64_t>(position / static_cast<uint64_t>(phases));
    const float* filter = &filters[position % static_cast<uint64_t>(phases) * taps];
    float sum = 0;
    for (size_t k = 0; k < taps; ++k) {
      const int64_t index = whole + static_cast<int64_t>(k) - reach + 1;
      if (index >= 0 && index < static_cast<int64_t>(samples.size())) {
        sum += filter[k] * samples[static_cast<size_t>(index)];
      }
    }
    out[n] = sum;
  }
  return out;
}

namespace {

constexpr size_t kMostSamples = size_t{10} * 60 * 48000;

std::vector<std::string> environment_of(const SpeechTools& tools) {
  std::vector<std::string> environment = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8"};
  if (!tools.libraries.empty()) {
    environment.push_back("LD_LIBRARY_PATH=" + tools.libraries.string());
  }
  return environment;
}

/// One line of printable text; throws when nothing can be said.
std::string clean(std::string_view text) {
  TESSERA_CHECK(text.size() <= 2000, InvalidArgument,
                "a sentence to speak has {} bytes; expected at most 2000", text.size());
  std::string out = utf8_lossy(text);
  bool sayable = false;
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 32) {
      c = ' ';
    }
    sayable = sayable || std::isalnum(static_cast<unsigned char>(c)) != 0;
  }
  TESSERA_CHECK(sayable, InvalidArgument, "'{}' has no word to speak", out);
  return out;
}

Audio finish(std::vector<float> samples, int rate) {
  Audio audio{
      .sample_rate = kSpeechRate, .channels = 1, .samples = resample(samples, rate, kSpeechRate)};
  tidy_speech(audio);
  return audio;
}

std::vector<float> from_pcm16(std::string_view bytes) {
  std::vector<float> samples(bytes.size() / 2);
  for (size_t i = 0; i < samples.size(); ++i) {
    int16_t value = 0;
    std::memcpy(&value, bytes.data() + 2 * i, 2);
    samples[i] = static_cast<float>(value) / 32768.0F;
  }
  return samples;
}

/// The WAV stream of espeak-ng: a 44-byte header whose lengths are placeholders, then samples.
Audio speak_espeak(const SpeechTools& tools, const Voice& voice, const std::string& text) {
  Child child({tools.espeak.string(), "--path=" + tools.espeak_data.string(), "-v",
               std::string(voice.engine_name), "-s", std::to_string(voice.words_per_minute),
               "--stdin", "--stdout"},
              environment_of(tools));
  child.write(text);
  child.close_input();
  const std::string wav = child.read_all(kMostSamples * 2);
  const int status = child.wait();
  TESSERA_CHECK(status == 0 && wav.size() > 44 && wav.substr(0, 4) == "RIFF", NotFound,
                "espeak-ng voice '{}' said nothing (exit status {}); expected its data in {} "
                "(Debian: espeak-ng-data)",
                voice.engine_name, status, tools.espeak_data.string());
  uint32_t rate = 0;
  std::memcpy(&rate, wav.data() + 24, 4);
  return finish(from_pcm16(std::string_view(wav).substr(44)), static_cast<int>(rate));
}

std::unique_ptr<Child> start_flite(const SpeechTools& tools) {
  return std::make_unique<Child>(std::vector<std::string>{tools.flite_voice.string()},
                                 environment_of(tools));
}

Audio speak_flite(Child& child, const Voice& voice, const std::string& text) {
  child.write(fmt::format("{}\t{}\n", voice.engine_name, text));
  int32_t header[2] = {-1, 0};
  const bool answered = child.read(std::as_writable_bytes(std::span(header)));
  TESSERA_CHECK(answered && header[0] >= 0, NotFound,
                "Flite voice '{}' cannot be opened; expected libflite_cmu_us_{}.so.1 (Debian: "
                "libflite1)",
                voice.engine_name, voice.engine_name);
  TESSERA_CHECK(static_cast<size_t>(header[0]) <= kMostSamples, CorruptFile,
                "Flite answers with {} samples; expected at most {}", header[0], kMostSamples);
  std::string bytes(static_cast<size_t>(header[0]) * 2, '\0');
  TESSERA_CHECK(child.read(std::as_writable_bytes(std::span(bytes))), Io,
                "Flite ended in the middle of a sentence");
  return finish(from_pcm16(bytes), header[1]);
}

}  // namespace

Audio Speaker::speak(const Voice& voice, std::string_view text) const {
  const std::string line = clean(text);
  if (voice.engine == Engine::kEspeak) {
    return speak_espeak(tools_, voice, line);
  }
  return speak_flite(*start_flite(tools_), voice, line);
}

std::vector<Audio> Speaker::speak_all(std::span<const Utterance> utterances, int processes) const {
  std::vector<Audio> out(utterances.size());
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    std::unique_ptr<Child> flite;
    try {
      for (size_t i = next++; i < utterances.size(); i = next++) {
        const Voice& voice = voices()[static_cast<size_t>(utterances[i].voice)];
        const std::string line = clean(utterances[i].text);
        if (voice.engine == Engine::kEspeak) {
          out[i] = speak_espeak(tools_, voice, line);
          continue;
        }
        if (!flite) {
          flite = start_flite(tools_);
        }
        out[i] = speak_flite(*flite, voice, line);
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
      next = utterances.size();
    }
  };
  const auto workers =
      std::min<size_t>(utterances.size(), static_cast<size_t>(std::max(1, processes)));
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < workers; ++i) {
      threads.emplace_back(work);
    }
  }
  if (failure) {
    std::rethrow_exception(failure);
  }
  return out;
}

}  // namespace tessera::world
