#include "core/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace tessera {
namespace {

constexpr double kWidth = 600;
constexpr double kHeight = 260;
constexpr double kLeft = 58;
constexpr double kRight = 12;
constexpr double kTop = 28;
constexpr double kBottom = 40;
constexpr int kColours = 6;
constexpr size_t kMostPoints = 400;

using Points = std::vector<std::pair<double, double>>;

// One direction of a plot: values to units.
struct Axis {
  bool log = false;
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  double begin = 0;
  double end = 0;

  double scaled(double value) const { return log ? std::log10(value) : value; }
  bool takes(double value) const { return std::isfinite(value) && (!log || value > 0); }
  void include(double value) {
    low = std::min(low, scaled(value));
    high = std::max(high, scaled(value));
  }
  double place(double value) const {
    return begin + (scaled(value) - low) / (high - low) * (end - begin);
  }
  // Room for a flat line, whatever its height.
  void widen() {
    if (high - low < 1e-12 * std::max(1.0, std::abs(high))) {
      const double margin = log ? 0.5 : std::max(0.5, 0.1 * std::abs(high));
      low -= margin;
      high += margin;
    }
  }
  std::vector<double> ticks() const;
};

// Whole steps from `first` to `last`: few, also where the axis is too long for doubles.
int steps_to(double last, double first, double step) {
  const double steps = (last - first) / step + 1e-9;
  return steps >= 0 ? static_cast<int>(std::min(steps, 20.0)) : -1;
}

std::vector<double> Axis::ticks() const {
  std::vector<double> result;
  if (log && high - low >= 1) {
    const double step = std::ceil((high - low) / 6);
    const double first = std::ceil(low);
    for (int i = 0; i <= steps_to(high, first, step); ++i) {
      result.push_back(std::pow(10.0, first + i * step));
    }
    return result;
  }
  const double from = log ? std::pow(10.0, low) : low;
  const double to = log ? std::pow(10.0, high) : high;
  const double rough = (to - from) / 5;
  const double unit = std::pow(10.0, std::floor(std::log10(rough)));
  double step = unit;
  for (const double multiple : {1.0, 2.0, 5.0, 10.0}) {
    step = multiple * unit;
    if (step >= rough) {
      break;
    }
  }
  const double first = std::ceil(from / step) * step;
  for (int i = 0; i <= steps_to(to, first, step); ++i) {
    const double value = first + i * step;
    result.push_back(std::abs(value) < step * 1e-6 ? 0.0 : value);
  }
  return result;
}

std::string number(double value) {
  const double size = std::abs(value);
  if (size >= 1e4 && size < 1e15) {
    const char* suffix[] = {"", "k", "M", "G", "T"};
    int power = 0;
    while (std::abs(value) >= 1000 && power < 4) {
      value /= 1000;
      ++power;
    }
    return fmt::format("{:.3g}{}", value, suffix[power]);
  }
  return fmt::format("{:.4g}", value);
}

// Keeps the least and the greatest value of each of 200 stretches.
Points thin(const Points& points) {
  if (points.size() <= kMostPoints) {
    return points;
  }
  Points kept;
  const size_t stretches = kMostPoints / 2;
  for (size_t i = 0; i < stretches; ++i) {
    const auto begin = points.begin() + static_cast<long>(i * points.size() / stretches);
    const auto end = points.begin() + static_cast<long>((i + 1) * points.size() / stretches);
    auto [least, most] = std::minmax_element(
        begin, end, [](const auto& a, const auto& b) { return a.second < b.second; });
    if (most < least) {
      std::swap(least, most);
    }
    kept.push_back(*least);
    if (most != least) {
      kept.push_back(*most);
    }
  }
  return kept;
}

std::string open_svg(double height, const std::string& title) {
  return fmt::format(
      "<svg class=\"chart\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">"
      "<text class=\"title\" x=\"{}\" y=\"16\">{}</text>",
      kWidth, height, escape_html(title), kLeft, escape_html(title));
}

std::string line(const char* css, double x1, double y1, double x2, double y2) {
  return fmt::format("<line class=\"{}\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>",
                     css, x1, y1, x2, y2);
}

std::string label(const char* css, double x, double y, std::string_view text) {
  return fmt::format("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", css, x, y,
                     escape_html(text));
}

std::string legend(const std::vector<LineChart::Series>& series) {
  if (series.size() < 2) {
    return {};
  }
  std::string out;
  double x = kWidth - kRight;
  for (size_t i = series.size(); i-- > 0;) {
    out += fmt::format("<text class=\"end c{}\" x=\"{:.1f}\" y=\"16\">{}</text>", i % kColours, x,
                       escape_html(series[i].name));
    x -= 7.0 * static_cast<double>(series[i].name.size()) + 14;
  }
  return out;
}

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string_view chart_style() {
  return R"(.chart{width:100%;max-width:640px;font:11px system-ui,sans-serif}
.chart text{fill:#555}.chart .title{font-size:13px;fill:#111}.chart .end{text-anchor:end}
.chart .mid{text-anchor:middle}.chart .grid{stroke:#ddd}.chart .axis{stroke:#888}
.chart .mark{stroke:#c33;stroke-width:2}.chart polyline{fill:none;stroke-width:1.6}
.chart .s0{stroke:#1667c7}.chart .s1{stroke:#d1590b}.chart .s2{stroke:#1c8a3c}
.chart .s3{stroke:#8a3fc4}.chart .s4{stroke:#b8860b}.chart .s5{stroke:#c2255c}
.chart text.c0{fill:#1667c7}.chart text.c1{fill:#d1590b}.chart text.c2{fill:#1c8a3c}
.chart text.c3{fill:#8a3fc4}.chart text.c4{fill:#b8860b}.chart text.c5{fill:#c2255c}
.chart .bar{fill:#1667c7}
@media(prefers-color-scheme:dark){.chart text{fill:#aaa}.chart .title{fill:#eee}
.chart .grid{stroke:#333}.chart .axis{stroke:#777}
.chart .s0{stroke:#6ab0ff}.chart .s1{stroke:#ff9d5c}.chart .s2{stroke:#63d283}
.chart .s3{stroke:#c792ff}.chart .s4{stroke:#e6c15a}.chart .s5{stroke:#ff7aa8}
.chart text.c0{fill:#6ab0ff}.chart text.c1{fill:#ff9d5c}.chart text.c2{fill:#63d283}
.chart text.c3{fill:#c792ff}.chart text.c4{fill:#e6c15a}.chart text.c5{fill:#ff7aa8}
.chart .bar{fill:#4a93e0}})";
}

std::string to_svg(const LineChart& chart) {
  Axis x{.log = chart.log_x, .begin = kLeft, .end = kWidth - kRight};
  Axis y{.log = chart.log_y, .begin = kHeight - kBottom, .end = kTop};
  std::vector<Points> lines;
  for (const LineChart::Series& series : chart.series) {
    Points& points = lines.emplace_back();
    for (const auto& point : series.points) {
      if (x.takes(point.first) && y.takes(point.second)) {
        points.push_back(point);
        x.include(point.first);
        y.include(point.second);
      }
    }
  }
  std::string out = open_svg(kHeight, chart.title);
  if (!(x.low <= x.high)) {
    return out + label("mid", kWidth / 2, kHeight / 2, "no values yet") + "</svg>";
  }
  x.widen();
  y.widen();
  for (const double value : y.ticks()) {
    const double at = y.place(value);
    out += line("grid", kLeft, at, kWidth - kRight, at) +
           label("end", kLeft - 6, at + 4, number(value));
  }
  for (const double value : x.ticks()) {
    const double at = x.place(value);
    out += line("axis", at, kHeight - kBottom, at, kHeight - kBottom + 4) +
           label("mid", at, kHeight - kBottom + 16, number(value));
  }
  out += line("axis", kLeft, kHeight - kBottom, kWidth - kRight, kHeight - kBottom);
  out += label("mid", (kLeft + kWidth) / 2, kHeight - 6, chart.x_label);
  for (size_t i = 0; i < lines.size(); ++i) {
    Points points = thin(lines[i]);
    if (points.size() == 1) {  // a dot
      points.push_back(points.front());
    }
    std::string places;
    for (const auto& [px, py] : points) {
      places += fmt::format("{:.1f},{:.1f} ", x.place(px), y.place(py));
    }
    out += fmt::format("<polyline class=\"s{}\" stroke-linecap=\"round\" points=\"{}\"/>",
                       i % kColours, places);
  }
  return out + legend(chart.series) + "</svg>";
}

std::string to_svg(const BarChart& chart) {
  constexpr double kRow = 22;
  constexpr double kNames = 190;
  constexpr double kValues = 60;
  double top = chart.top;
  for (const BarChart::Bar& bar : chart.bars) {
    if (chart.top <= 0) {
      top = std::max({top, std::isfinite(bar.value) ? bar.value : 0.0, bar.limit});
    }
  }
  top = top > 0 ? top : 1;
  const double height = kTop + kRow * static_cast<double>(chart.bars.size()) + 8;
  std::string out = open_svg(height, chart.title);
  const double room = kWidth - kNames - kValues;
  double at = kTop;
  for (const BarChart::Bar& bar : chart.bars) {
    const bool finite = std::isfinite(bar.value);
    const double share = finite ? std::clamp(bar.value / top, 0.0, 1.0) : 0.0;
    out += label("end", kNames - 8, at + 14, bar.name);
    out += fmt::format(
        "<rect class=\"bar\" x=\"{}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\" rx=\"2\"/>",
        kNames, at + 3, share * room, kRow - 7);
    double end = kNames + share * room;
    if (bar.low < bar.high) {
      const double low = kNames + std::clamp(bar.low / top, 0.0, 1.0) * room;
      const double high = kNames + std::clamp(bar.high / top, 0.0, 1.0) * room;
      const double middle = at + 3 + (kRow - 7) / 2;
      out += line("axis", low, middle, high, middle) +
             line("axis", low, middle - 3, low, middle + 3) +
             line("axis", high, middle - 3, high, middle + 3);
      end = std::max(end, high);
    }
    out += label("value", end + 6, at + 14, finite ? number(bar.value) : "–");
    if (bar.limit >= 0) {
      const double mark = kNames + std::clamp(bar.limit / top, 0.0, 1.0) * room;
      out += line("mark", mark, at + 1, mark, at + kRow - 2);
    }
    at += kRow;
  }
  return out + "</svg>";
}

}  // namespace tessera
