#include "core/html.h"

#include "core/base64.h"
#include "core/strings.h"
#include "core/svg.h"

#include <fmt/format.h>

#include <cstdint>

namespace tessera {
namespace {

constexpr std::string_view kPageStyle = R"(body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;
max-width:1320px;padding:0 1em;color:#111;background:#fff}h1{margin-bottom:0}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(420px,100%),1fr));gap:1em}
.samples{display:flex;flex-wrap:wrap;gap:1em}figure{margin:0}figure.text{flex:1 1 100%}
figcaption{font-size:13px;color:#666}pre{white-space:pre-wrap;background:#f4f4f4;padding:.6em}
audio{max-width:100%}table{border-collapse:collapse}td,th{padding:.1em .9em .1em 0;text-align:left}
td+td{font-variant-numeric:tabular-nums}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#151515}pre{background:#222}
figcaption{color:#999}})";

std::string caption_of(std::string_view caption) {
  return "<figcaption>" + html_text(caption) + "</figcaption></figure>";
}

}  // namespace

std::string html_text(std::string_view text) {
  return escape_html(utf8_lossy(text));
}

std::string html_page(std::string_view title, std::string_view body, std::string_view style) {
  return fmt::format(
      "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{0}</title>"
      "<style>{1}\n{2}\n{3}</style></head><body><h1>{0}</h1>{4}</body></html>\n",
      html_text(title), kPageStyle, chart_style(), style, body);
}

std::string picture_figure(std::string_view png, std::string_view caption) {
  return "<figure><img alt=\"" + html_text(caption) + "\" src=\"data:image/png;base64," +
         base64(png) + "\">" + caption_of(caption);
}

std::string sound_figure(std::string_view wav, std::string_view caption) {
  return "<figure><audio controls preload=\"none\" src=\"data:audio/wav;base64," + base64(wav) +
         "\"></audio>" + caption_of(caption);
}

std::string text_figure(std::string_view text, std::string_view caption) {
  return "<figure class=\"text\"><pre>" + html_text(text) + "</pre>" + caption_of(caption);
}

}  // namespace tessera
