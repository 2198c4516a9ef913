// Sound devices without hardware: libavdevice's own signal generator and ALSA's null device.
#include "io/sound_device.h"

#include "core/error.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tessera::io {
namespace {

TEST(SoundDevice, AMicrophoneIsReadAsAnyRecording) {
  AudioStream stream(open_microphone("lavfi:sine=frequency=500:duration=0.5:sample_rate=48000"),
                     {.sample_rate = 16000, .mono = true});
  std::vector<float> heard(16000);
  heard.resize(stream.read(heard));
  ASSERT_NEAR(static_cast<double>(heard.size()), 8000, 16);
  // A sine of 500 Hz crosses zero a thousand times a second.
  int crossings = 0;
  for (size_t i = 1; i < heard.size(); ++i) {
    crossings += (heard[i - 1] < 0) != (heard[i] < 0) ? 1 : 0;
  }
  EXPECT_NEAR(crossings, 500, 4);
}

TEST(SoundDevice, SaysWhatIsWrong) {
  EXPECT_THROW(open_microphone("no-such-kind"), Unsupported);
  EXPECT_THROW(open_microphone("alsa:no-such-card"), Io);
  EXPECT_THROW(open_microphone("lavfi:sine=frequency=cold"), Io);
  EXPECT_THROW(Loudspeaker("no-such-kind", 16000, 1), Unsupported);
  EXPECT_THROW(Loudspeaker("wav:x.wav", 16000, 1), Unsupported);
  EXPECT_THROW(Loudspeaker("alsa:no-such-card", 16000, 1), Io);
}

TEST(SoundDevice, ALoudspeakerTakesBlocksOfAnyLength) {
  Loudspeaker speaker("alsa:null", 16000, 2);
  for (const size_t frames : {0U, 1U, 1024U, 5000U}) {
    std::vector<float> samples(frames * 2, 0.5F);
    if (frames > 1) {
      samples[1] = std::nanf("");
      samples[2] = 40.0F;
    }
    speaker.write(samples);
  }
  speaker.finish();
  { const Loudspeaker idle("alsa:null", 24000, 1); }
}

}  // namespace
}  // namespace tessera::io
