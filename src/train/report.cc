// Everything is inline: SVG charts, media as data URIs, no script. Columns that share a prefix go
// into one chart ("nll.text", "nll.picture"), training and validation of the same column too.
#include "train/report.h"

#include "core/html.h"
#include "core/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace tessera::train {
namespace {

constexpr size_t kMostBytes = 2'000'000;
constexpr size_t kMostText = 4000;
constexpr size_t kRest = 8000;  // style sheet and head of the page
constexpr std::string_view kValidate = "validate.";

std::string render_sample(const Sample& sample) {
  switch (sample.kind) {
    case Sample::Kind::kPng:
      return picture_figure(sample.bytes, sample.title);
    case Sample::Kind::kWav:
      return sound_figure(sample.bytes, sample.title);
    case Sample::Kind::kText:
      break;
  }
  return text_figure(std::string_view(sample.bytes).substr(0, kMostText), sample.title);
}

// Which chart a column belongs to; empty: none (time and counters).
std::string chart_of(std::string_view column) {
  if (column == "step" || column == "seconds" || column == "skipped" || column == "tokens" ||
      column == "items") {
    return {};
  }
  if (column.starts_with(kValidate)) {
    column.remove_prefix(kValidate.size());
  }
  const size_t dot = column.find('.');
  return std::string(dot == std::string_view::npos ? column : column.substr(0, dot));
}

std::string charts(const std::vector<MetricRow>& rows) {
  std::map<std::string, std::map<std::string, LineChart::Series>> grouped;
  for (const MetricRow& row : rows) {
    const double step = row.at("step");
    for (const auto& [column, value] : row) {
      const std::string chart = chart_of(column);
      if (!chart.empty()) {
        LineChart::Series& series = grouped[chart][column];
        series.name = column;
        series.points.emplace_back(step, value);
      }
    }
  }
  std::string out;
  const auto draw = [&](const std::string& name, auto& columns) {
    LineChart chart{.title = name, .x_label = "step"};
    for (auto& [column, series] : columns) {
      chart.series.push_back(series);
    }
    out += to_svg(chart);
    if (name == "loss") {  // the start of a loss curve hides its end
      chart.title = "loss, logarithmic";
      chart.log_x = true;
      chart.log_y = true;
      out += to_svg(chart);
    }
  };
  if (const auto loss = grouped.find("loss"); loss != grouped.end()) {
    draw(loss->first, loss->second);
    grouped.erase(loss);
  }
  for (auto& [name, columns] : grouped) {
    draw(name, columns);
  }
  return out;
}

std::string table(const std::vector<MetricRow>& rows) {
  std::map<std::string, std::pair<double, double>> last;  // value, least
  for (const MetricRow& row : rows) {
    for (const auto& [name, value] : row) {
      const auto [place, fresh] = last.try_emplace(name, value, value);
      place->second.first = value;
      if (!(place->second.second <= value)) {
        place->second.second = value;
      }
    }
  }
  std::string out = "<table><tr><th>metric</th><th>last</th><th>least</th></tr>";
  for (const auto& [name, values] : last) {
    out += fmt::format("<tr><td>{}</td><td>{:.6g}</td><td>{:.6g}</td></tr>", escape_html(name),
                       values.first, values.second);
  }
  return out + "</table>";
}

}  // namespace

std::string render_report(const ReportContent& content) {
  const std::vector<MetricRow>& rows = *content.metrics;
  std::string body = "<p>" + html_text(content.status) + "</p>";
  body += "<div class=\"charts\">" + charts(rows) + "</div>";
  body += "<h2>Metrics</h2>" + table(rows);
  const std::string tail = "<h2>Recipe</h2><pre>" + html_text(content.recipe) + "</pre>";
  if (!content.samples.empty()) {
    body += "<h2>Samples</h2><div class=\"samples\">";
    for (const Sample& sample : content.samples) {
      const std::string shown = render_sample(sample);
      const bool fits = body.size() + shown.size() + tail.size() + kRest < kMostBytes;
      body += fits ? shown
                   : "<figure><figcaption>" + html_text(sample.title) +
                         " (left out: the page is full)</figcaption></figure>";
    }
    body += "</div>";
  }
  return html_page(content.title, body + tail);
}

}  // namespace tessera::train
