#include "train/report.h"

#include <gmock/gmock.h>

#include <cmath>

namespace tessera::train {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Report, MediaAreInlineAndTextIsEscaped) {
  const std::vector<MetricRow> rows{{{"step", 1}, {"loss", 2.0}, {"nll.text", NAN}},
                                    {{"step", 2}, {"loss", 1.0}, {"validate.loss", 1.5}}};
  const std::string page = render_report({.title = "<run>",
                                          .status = "step 2",
                                          .recipe = "name: \"<x>\"",
                                          .metrics = &rows,
                                          .samples = {{"text", Sample::Kind::kText, "a<b\xff"},
                                                      {"picture", Sample::Kind::kPng, "Man"},
                                                      {"sound", Sample::Kind::kWav, "Ma"}}});
  EXPECT_THAT(page, HasSubstr("&lt;run&gt;"));
  EXPECT_THAT(page, Not(HasSubstr("<x>")));
  EXPECT_THAT(page, HasSubstr("a&lt;b\xEF\xBF\xBD"));
  EXPECT_THAT(page, HasSubstr("data:image/png;base64,TWFu\""));
  EXPECT_THAT(page, HasSubstr("data:audio/wav;base64,TWE=\""));
  EXPECT_THAT(page, HasSubstr("prefers-color-scheme:dark"));
  EXPECT_THAT(page, HasSubstr("loss, logarithmic"));
}

TEST(Report, StaysUnderTwoMegabytes) {
  std::vector<MetricRow> rows;
  for (int i = 1; i < 20000; ++i) {
    rows.push_back({{"step", i}, {"loss", 1.0 / i}, {"nll.a", 1.0}, {"nll.b", 2.0}});
  }
  std::vector<Sample> samples(40, {"big", Sample::Kind::kWav, std::string(100000, 'x')});
  const std::string page = render_report(
      {.title = "t", .status = "", .recipe = "", .metrics = &rows, .samples = samples});
  EXPECT_LT(page.size(), 2'000'000U);
  EXPECT_THAT(page, HasSubstr("left out: the page is full"));
}

TEST(Report, NothingYet) {
  const std::vector<MetricRow> rows;
  EXPECT_THAT(
      render_report({.title = "t", .status = "s", .recipe = "r", .metrics = &rows, .samples = {}}),
      HasSubstr("</html>"));
}

}  // namespace
}  // namespace tessera::train
