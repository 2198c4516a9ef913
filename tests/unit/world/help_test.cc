#include "train/world/help.h"

#include <gmock/gmock.h>

namespace tessera::world {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Help, TellsWhatTheModelCanShow) {
  WorldLimits limits;
  limits.emoji = 2;
  limits.groups = 3;
  const std::vector<std::string> pictures = help_lines(limits, {Modality::kImage});
  EXPECT_THAT(pictures, Contains(HasSubstr("up to 3 groups")));
  const auto kinds = object_kinds();
  EXPECT_THAT(pictures, Contains(HasSubstr(std::string(kinds[1].noun))));
  EXPECT_THAT(pictures, Each(Not(HasSubstr(", " + std::string(kinds[2].noun)))));
  EXPECT_THAT(pictures, Contains(HasSubstr("circle")));
  EXPECT_THAT(pictures, Each(Not(HasSubstr("Speech"))));

  const std::vector<std::string> sounds = help_lines(limits, {Modality::kSpeech, Modality::kMusic});
  EXPECT_THAT(sounds, Contains(HasSubstr("jig")));
  EXPECT_THAT(sounds, Each(Not(HasSubstr("circle"))));
  for (const Voice& voice : voices()) {
    // The voice that training never heard is not offered.
    const auto named = HasSubstr(std::string(voice.name) + " (");
    if (voice.left_out) {
      EXPECT_THAT(sounds, Each(Not(named)));
    } else {
      EXPECT_THAT(sounds, Contains(named));
    }
  }
}

}  // namespace
}  // namespace tessera::world
