// The small readers: base64, forms, targets.
#include "core/base64.h"
#include "core/random.h"
#include "serve/http.h"
#include "serve/media_input.h"
#include "serve/multipart.h"
#include "serve/sound_output.h"

#include <gtest/gtest.h>

namespace tessera::serve {
namespace {

TEST(Base64, KnownAnswers) {  // RFC 4648, section 10
  const std::pair<const char*, const char*> rows[] = {{"", ""},
                                                      {"f", "Zg=="},
                                                      {"fo", "Zm8="},
                                                      {"foo", "Zm9v"},
                                                      {"foob", "Zm9vYg=="},
                                                      {"fooba", "Zm9vYmE="},
                                                      {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, coded] : rows) {
    EXPECT_EQ(base64(plain), coded);
    EXPECT_EQ(decode_base64(coded), plain);
  }
  EXPECT_EQ(decode_base64("Zg"), "f");  // without padding
  EXPECT_EQ(decode_base64("Zm 9v\r\nYmFy"), "foobar");
  EXPECT_EQ(decode_base64("-_-_"), decode_base64("+/+/"));
  for (const char* broken : {"Z", "Zg=", "Zg===", "Z===", "Zm9v=", "Zm9v!", "=", "Zg==Zg=="}) {
    EXPECT_EQ(decode_base64(broken), std::nullopt) << broken;
  }
}

TEST(Multipart, ReadsForms) {
  using namespace std::string_literals;  // NOLINT(google-build-using-namespace)
  const std::string body =
      "--xx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\\\"b.wav\"\r\n"
      "Content-Type: audio/wav\r\n\r\n\0\r\n--x\r\n--xx\r\n"
      "content-disposition: form-data; name=plain\r\n\r\n\r\n--xx--\r\n"s;
  const auto parts = parse_multipart("multipart/form-data; boundary=xx", body);
  ASSERT_TRUE(parts.has_value());
  ASSERT_EQ(parts->size(), 2U);
  EXPECT_EQ((*parts)[0].name, "file");
  EXPECT_EQ((*parts)[0].file_name, "a\"b.wav");
  EXPECT_EQ((*parts)[0].type, "audio/wav");
  EXPECT_EQ((*parts)[0].content, "\0\r\n--x"s);
  EXPECT_EQ((*parts)[1].name, "plain");
  EXPECT_EQ((*parts)[1].content, "");
  for (size_t cut = 0; cut + 4 < body.size(); ++cut) {  // every shorter body is refused
    EXPECT_FALSE(parse_multipart("multipart/form-data; boundary=xx", body.substr(0, cut)));
  }
  EXPECT_FALSE(parse_multipart("multipart/form-data", body));
  EXPECT_FALSE(parse_multipart("text/plain; boundary=xx", body));
  std::string many;
  for (int i = 0; i < 65; ++i) {
    many += "--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n";
  }
  EXPECT_FALSE(parse_multipart("multipart/form-data; boundary=b", many + "--b--"));
}

TEST(Targets, AreDecodedOnceAndChecked) {
  HttpRequest request;
  ASSERT_TRUE(parse_target("/a%2Fb/%25?x=1&y=a+b%2B&z&x=2", request));
  EXPECT_EQ(request.path, "/a/b/%");
  EXPECT_EQ(request.query,
            (std::map<std::string, std::string>{{"x", "2"}, {"y", "a b+"}, {"z", ""}}));
  for (const char* broken : {"", "a", "*", "/%", "/%4", "/%4g", "/%00", "/a b", "/?a=%"}) {
    HttpRequest other;
    EXPECT_FALSE(parse_target(broken, other)) << broken;
  }
}

TEST(SoundStream, ChunksEqualTheWhole) {
  Audio whole{.sample_rate = 16000, .channels = 1, .samples = {}};
  Rng rng(3);
  for (int i = 0; i < 5000; ++i) {
    whole.samples.push_back(static_cast<float>(rng.uniform(-1.2, 1.2)));
  }
  for (const SoundFormat format : {SoundFormat::kPcm, SoundFormat::kWav}) {
    SoundStream stream(format);
    std::string bytes;
    for (size_t at = 0; at < whole.samples.size(); at += 700) {
      const size_t end = std::min(at + 700, whole.samples.size());
      bytes += stream.push({.sample_rate = 16000,
                            .channels = 1,
                            .samples = {whole.samples.begin() + static_cast<long>(at),
                                        whole.samples.begin() + static_cast<long>(end)}});
    }
    bytes += stream.finish();
    const std::string file = encode_sound(whole, format);
    const size_t head = format == SoundFormat::kWav ? 44 : 0;
    EXPECT_EQ(bytes.size(), file.size());
    EXPECT_TRUE(bytes.substr(head) == file.substr(head));
  }
}

}  // namespace
}  // namespace tessera::serve
