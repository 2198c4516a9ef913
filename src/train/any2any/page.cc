// Each row of the suite is a section: bars with intervals and targets, a table with baselines and
// what judges find in true media, examples. Errors are drawn as bars too; less is better there.
#include "train/any2any/page.h"

#include "core/html.h"
#include "core/svg.h"

#include <fmt/format.h>

#include <algorithm>

namespace tessera::any2any {
namespace {

constexpr size_t kMostBytes = 8'000'000;
constexpr size_t kMostText = 2000;

constexpr std::string_view kStyle = R"(.wide{overflow-x:auto}.good{color:#1c8a3c}.bad{color:#c33}
img{width:144px;image-rendering:pixelated;background:#8883}section{margin-top:2.5em}
.example{border:1px solid #8885;border-radius:6px;padding:.6em 1em;margin:.6em 0}
.example p{margin:.3em 0}.example .samples{align-items:flex-end}.example figure.text{flex:1 1 12em}
.example pre{margin:0}h3{margin:.2em 0;font-size:15px}
@media(prefers-color-scheme:dark){.good{color:#63d283}.bad{color:#ff7a7a}}
@media(max-width:600px){body{margin:1em auto}td,th{padding-right:.5em;font-size:13px}})";

std::string mark(const std::optional<bool>& met) {
  return !met   ? "not measured"
         : *met ? "<span class=\"good\">✓ met</span>"
                : "<span class=\"bad\">✗ missed</span>";
}

std::string cells(std::initializer_list<std::string> values) {
  std::string out = "<tr>";
  for (const std::string& value : values) {
    out += "<td>" + value + "</td>";
  }
  return out + "</tr>";
}

std::string table(std::initializer_list<std::string_view> heads, const std::string& rows) {
  std::string out = "<div class=\"wide\"><table><tr>";
  for (const std::string_view head : heads) {
    out += fmt::format("<th>{}</th>", head);
  }
  return out + "</tr>" + rows + "</table></div>";
}

// Every target with what was found.
std::string render_targets(const Result& result) {
  std::string rows;
  for (const Target& target : targets()) {
    const Found found = found_for(result, target);
    rows += cells({html_text(target.row), html_text(target.metric), figure(found.value),
                   bound(target), mark(found.met)});
  }
  return table({"row", "figure", "found", "target", ""}, rows);
}

std::string render_timings(const Result& result) {
  std::string rows;
  for (const Timing& timing : result.timings) {
    rows += cells({html_text(timing.name), fmt::format("{}", timing.values.size()),
                   figure(timing.p50()), figure(timing.p95()), bound(timing.target()),
                   timing.target() ? mark(timing.met()) : ""});
  }
  return table({"seconds", "replies", "median", "95 %", "target", ""}, rows);
}

std::string render_metrics(const RowResult& row) {
  BarChart chart{.title = row.row.title, .top = 1};
  std::string rows;
  for (const Metric& metric : row.metrics) {
    const double limit = metric.target ? metric.target->value : -1;
    chart.bars.push_back(
        {metric.name, metric.value, limit, metric.interval.low, metric.interval.high});
    rows += cells(
        {html_text(metric.name), fmt::format("{}", metric.n), figure(metric.value),
         fmt::format("{} – {}", figure(metric.interval.low), figure(metric.interval.high)),
         figure(metric.chance), figure(metric.majority), figure(metric.judge), figure(metric.codec),
         bound(metric.target), metric.target ? mark(metric.met()) : ""});
  }
  return "<div class=\"charts\">" + to_svg(chart) + "</div>" +
         table({"figure", "items", "value", "95 %", "chance", "majority", "judge on truth",
                "through the codec", "target", ""},
               rows);
}

std::string render_shown(const Shown& shown, std::string_view caption) {
  if (shown.bytes.empty()) {
    return text_figure("(empty)", caption);
  }
  switch (shown.modality) {
    case Modality::kImage:
      return picture_figure(shown.bytes, caption);
    case Modality::kSpeech:
    case Modality::kMusic:
      return sound_figure(shown.bytes, caption);
    case Modality::kText:
      break;
  }
  return text_figure(std::string_view(shown.bytes).substr(0, kMostText), caption);
}

std::string render_example(const Example& example) {
  std::string out = fmt::format("<div class=\"example\"><p><b>{}</b></p><div class=\"samples\">",
                                html_text(example.asked));
  for (const Shown& shown : example.inputs) {
    out += render_shown(shown, "given");
  }
  for (const Shown& shown : example.reply) {
    out += render_shown(shown, "reply");
  }
  for (const Shown& shown : example.truth) {
    out += render_shown(shown, "truth");
  }
  return out + fmt::format("</div><p class=\"{}\">{}</p></div>", example.right ? "good" : "bad",
                           html_text(example.verdict));
}

std::string render_row(const RowResult& row, size_t room) {
  std::string out = fmt::format("<section id=\"{}\"><h2>{}</h2>", html_text(row.row.name),
                                html_text(row.row.title));
  if (!row.row.skipped.empty()) {
    return out + "<p>Skipped: " + html_text(row.row.skipped) + ".</p></section>";
  }
  out += fmt::format("<p>{} replies, {} with a malformed span, {} without {}; {} s each alone",
                     row.n, row.malformed, row.unanswered, plain_name(row.row.pair.to),
                     figure(row.reply.p50()));
  if (row.batched > 0) {
    out += fmt::format(", {} s in batches",
                       figure(row.batch_seconds / static_cast<double>(row.batched)));
  }
  out += ".</p>" + render_metrics(row);
  size_t left_out = 0;
  for (const Example& example : row.examples) {
    const std::string shown = render_example(example);
    if (out.size() + shown.size() > room) {
      ++left_out;
    } else {
      out += shown;
    }
  }
  if (left_out > 0) {
    out += fmt::format("<p>{} examples are left out: the page is full.</p>", left_out);
  }
  return out + "</section>";
}

}  // namespace

std::string render_page(const Result& result) {
  const TargetCount count = count_targets(result);
  std::string body = fmt::format(
      "<p>{}, seed {}, {} items a row{}, {} threads on {}, {:.0f} s. All items are of the test "
      "split. Targets: {} met, {} missed, {} not measured.</p>",
      html_text(result.model), result.seed, result.items, result.quick ? " at most (quick)" : "",
      result.threads, html_text(result.device), result.seconds, count.met, count.missed,
      count.unknown);
  for (const std::string& note : result.notes) {
    body += "<p>" + html_text(note) + "</p>";
  }
  body += "<h2>Targets</h2>" + render_targets(result);
  body += "<h2>Time, one conversation at a time</h2>" + render_timings(result);
  body +=
      "<p>Figures are shares of 1; wer is the share of wrong words, less is better. Chance: the "
      "reply of a training item drawn at random. Majority: always the most frequent reply. Judge "
      "on truth: what the judge finds in true media, the most that can be reached; through the "
      "codec: in their copy by the model's own codec.</p>";
  // Every row gets an equal part of what is left.
  for (size_t i = 0; i < result.rows.size(); ++i) {
    const size_t left = kMostBytes - std::min(kMostBytes, body.size());
    body += render_row(result.rows[i], left / (result.rows.size() - i));
  }
  return html_page("Any to any", body, kStyle);
}

}  // namespace tessera::any2any
