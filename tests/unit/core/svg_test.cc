#include "core/svg.h"

#include <gmock/gmock.h>

#include <cmath>

namespace tessera {
namespace {

using testing::HasSubstr;
using testing::Not;

size_t count(const std::string& text, const std::string& word) {
  size_t found = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    ++found;
  }
  return found;
}

TEST(Svg, ChartsWithoutValuesSaySo) {
  EXPECT_THAT(to_svg(LineChart{.title = "t"}), HasSubstr("no values yet"));
  LineChart chart{.title = "t", .log_y = true};
  chart.series = {{"a", {{1, std::nan("")}, {2, -1}, {3, 0}}}};
  EXPECT_THAT(to_svg(chart), HasSubstr("no values yet"));
}

TEST(Svg, OddValuesNeverReachTheCoordinates) {
  for (const bool log : {false, true}) {
    LineChart chart{.title = "<a & \"b\">", .x_label = "step", .log_x = log, .log_y = log};
    chart.series = {{"one", {{1, 5}}},
                    {"flat", {{1, 3}, {2, 3}}},
                    {"wild", {{1, 1e300}, {2, INFINITY}, {3, NAN}, {4, 1e-300}}}};
    const std::string svg = to_svg(chart);
    EXPECT_THAT(svg, HasSubstr("&lt;a &amp; &quot;b&quot;&gt;"));
    EXPECT_THAT(svg, Not(HasSubstr("inf")));
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
    EXPECT_EQ(count(svg, "<polyline"), 3U);
    EXPECT_TRUE(svg.starts_with("<svg") && svg.ends_with("</svg>"));
  }
}

TEST(Svg, LongSeriesKeepTheirSpikes) {
  LineChart chart{.title = "t"};
  chart.series.push_back({"a", {}});
  for (int i = 0; i < 100000; ++i) {
    chart.series[0].points.emplace_back(i, i == 77777 ? 100.0 : std::sin(i));
  }
  const std::string svg = to_svg(chart);
  EXPECT_LT(svg.size(), 12000U);
  EXPECT_THAT(svg, HasSubstr(",28.0 "));  // the spike reaches the top of the plot
}

TEST(Svg, BarsShowValuesAndTargets) {
  const BarChart chart{.title = "scores",
                       .bars = {{"text → picture", 0.9, 0.8}, {"none", NAN}, {"x", 0.0}}};
  const std::string svg = to_svg(chart);
  EXPECT_EQ(count(svg, "<rect"), 3U);
  EXPECT_EQ(count(svg, "class=\"mark\""), 1U);
  EXPECT_THAT(svg, HasSubstr(">0.9<"));
  EXPECT_THAT(svg, HasSubstr("–"));
  EXPECT_THAT(to_svg(BarChart{.title = "empty"}), HasSubstr("</svg>"));
}

}  // namespace
}  // namespace tessera
