#include "core/html.h"

#include "core/svg.h"

#include <gmock/gmock.h>

#include <cmath>

namespace tessera {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Html, TextNeverBecomesMarkup) {
  EXPECT_EQ(html_text("a<b> & \"c\"\xff"), "a&lt;b&gt; &amp; &quot;c&quot;\xEF\xBF\xBD");
  const std::string page = html_page("<t>", "<p>body</p>", "p{color:red}");
  EXPECT_THAT(page, HasSubstr("<h1>&lt;t&gt;</h1><p>body</p>"));
  EXPECT_THAT(page, HasSubstr("p{color:red}"));
  for (const auto& figure : {picture_figure("x", "\"><script>"), sound_figure("x", "\"><script>"),
                             text_figure("<script>", "\"><script>")}) {
    EXPECT_THAT(figure, Not(HasSubstr("<script>")));
  }
}

TEST(Html, BarsShowTheirInterval) {
  const BarChart::Bar plain{.name = "a", .value = 0.5};
  const std::string without = to_svg(BarChart{.top = 1, .bars = {plain}});
  BarChart::Bar wide = plain;
  wide.low = 0.4;
  wide.high = 0.6;
  const std::string with = to_svg(BarChart{.top = 1, .bars = {wide}});
  EXPECT_GT(with.size(), without.size());
  wide.low = wide.high = std::nan("");
  EXPECT_EQ(to_svg(BarChart{.top = 1, .bars = {wide}}), without);
}

}  // namespace
}  // namespace tessera
