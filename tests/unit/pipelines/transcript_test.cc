#include "pipelines/transcript.h"

#include <gtest/gtest.h>

namespace tessera::pipelines {
namespace {

size_t count(const std::string& page, std::string_view words) {
  size_t found = 0;
  for (size_t at = page.find(words); at != std::string::npos; at = page.find(words, at + 1)) {
    ++found;
  }
  return found;
}

Part sound(float first) {
  return {.modality = Modality::kSpeech,
          .content = Audio{.sample_rate = 8000, .channels = 1, .samples = {first, 0.25F, -0.25F}},
          .source = {}};
}

TEST(Transcript, HoldsEachSoundOnceAndEscapesText) {
  const auto user = [](Part part) {
    return TranscriptEntry{{.role = Role::kUser, .parts = {std::move(part)}}, "<1 s>"};
  };
  const std::vector<Transcript> talks = {
      {.title = "a & b", .entries = {user(sound(0.5F)), user(Part::text("<script>"))}},
      {.title = "c", .entries = {user(sound(0.5F)), user(sound(0.75F))}}};
  const std::string page = render_transcripts("t", talks);
  EXPECT_EQ(count(page, "<audio"), 2U);
  EXPECT_EQ(count(page, "href=\"#sound-1\""), 1U);
  EXPECT_EQ(count(page, "id=\"sound-1\""), 1U);
  EXPECT_EQ(count(page, "id=\"sound-2\""), 1U);
  EXPECT_EQ(count(page, "<script>"), 0U);
  EXPECT_EQ(count(page, "&lt;script&gt;"), 1U);
  EXPECT_EQ(count(page, "a &amp; b"), 1U);
  EXPECT_EQ(count(page, "&lt;1 s&gt;"), 4U);
}

}  // namespace
}  // namespace tessera::pipelines
