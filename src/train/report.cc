// Everything is inline: SVG charts, media as data URIs, no script. Columns that share a prefix go
// into one chart ("nll.text", "nll.picture"), training and validation of the same column too.
#include "train/report.h"

#include "core/strings.h"
#include "core/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace tessera::train {
namespace {

constexpr size_t kMostBytes = 2'000'000;
constexpr size_t kMostText = 4000;
constexpr std::string_view kValidate = "validate.";

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t word = 0;
    for (size_t j = 0; j < 3; ++j) {
      word = word << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    }
    for (size_t j = 0; j < 4; ++j) {
      out += i + j <= bytes.size() ? kDigits[word >> (18 - 6 * j) & 63] : '=';
    }
  }
  return out;
}

std::string render_sample(const Sample& sample) {
  const std::string title =
      "<figcaption>" + escape_html(utf8_lossy(sample.title)) + "</figcaption>";
  switch (sample.kind) {
    case Sample::Kind::kPng:
      return "<figure><img alt=\"sample\" src=\"data:image/png;base64," + base64(sample.bytes) +
             "\">" + title + "</figure>";
    case Sample::Kind::kWav:
      return "<figure><audio controls src=\"data:audio/wav;base64," + base64(sample.bytes) +
             "\"></audio>" + title + "</figure>";
    case Sample::Kind::kText:
      break;
  }
  return "<figure class=\"text\"><pre>" +
         escape_html(utf8_lossy(std::string_view(sample.bytes).substr(0, kMostText))) + "</pre>" +
         title + "</figure>";
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

constexpr std::string_view kPageStyle = R"(body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;
max-width:1320px;padding:0 1em;color:#111;background:#fff}h1{margin-bottom:0}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:1em}
.samples{display:flex;flex-wrap:wrap;gap:1em}figure{margin:0}figure.text{flex:1 1 100%}
figcaption{font-size:13px;color:#666}pre{white-space:pre-wrap;background:#f4f4f4;padding:.6em}
table{border-collapse:collapse}td,th{padding:.1em .9em .1em 0;text-align:left}
td+td{font-variant-numeric:tabular-nums}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#151515}pre{background:#222}
figcaption{color:#999}})";

}  // namespace

std::string render_report(const ReportContent& content) {
  const std::vector<MetricRow>& rows = *content.metrics;
  const std::string title = escape_html(utf8_lossy(content.title));
  std::string page = fmt::format(
      "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width\"><title>{0}</title>"
      "<style>{1}\n{2}</style></head><body><h1>{0}</h1><p>{3}</p>",
      title, kPageStyle, chart_style(), escape_html(content.status));
  page += "<div class=\"charts\">" + charts(rows) + "</div>";
  page += "<h2>Metrics</h2>" + table(rows);
  const std::string tail =
      "<h2>Recipe</h2><pre>" + escape_html(utf8_lossy(content.recipe)) + "</pre></body></html>\n";
  if (!content.samples.empty()) {
    page += "<h2>Samples</h2><div class=\"samples\">";
    for (const Sample& sample : content.samples) {
      const std::string shown = render_sample(sample);
      const bool fits = page.size() + shown.size() + tail.size() + 200 < kMostBytes;
      page += fits ? shown
                   : "<figure><figcaption>" + escape_html(utf8_lossy(sample.title)) +
                         " (left out: the page is full)</figcaption></figure>";
    }
    page += "</div>";
  }
  return page + tail;
}

}  // namespace tessera::train
