// Small line and bar charts as inline SVG for HTML reports: axes, linear or logarithmic, colours
// that follow the page's light or dark theme.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {

/// `&`, `<`, `>`, `"` as HTML entities.
std::string escape_html(std::string_view text);

/// The style sheet that charts need, once a page: light and dark by prefers-color-scheme.
std::string_view chart_style();

struct LineChart {
  struct Series {
    std::string name;
    std::vector<std::pair<double, double>> points;  // x rising; points that are not finite are
                                                    // left out, on a log axis those <= 0 too
  };
  std::string title = {};
  std::string x_label = {};
  bool log_x = false;
  bool log_y = false;
  std::vector<Series> series = {};
};

struct BarChart {
  struct Bar {
    std::string name;
    double value = 0;   // not finite: an empty place
    double limit = -1;  // a mark at this value (a target); < 0: none
    double low = 0;     // an interval's ends; nothing is drawn unless low < high
    double high = 0;
  };
  std::string title = {};
  double top = 0;  // end of the axis, which starts at 0; 0: from the data
  std::vector<Bar> bars = {};
};

/// One <svg> element, about 600 units wide; long series are thinned to their least and greatest
/// values. A chart without points says so.
std::string to_svg(const LineChart& chart);
/// Horizontal bars with their names and values.
std::string to_svg(const BarChart& chart);

}  // namespace tessera
