#include "train/any2any/results.h"

#include "core/strings.h"

#include <fmt/format.h>

#include <cmath>

namespace tessera::any2any {
namespace {

using io::OrderedJson;

OrderedJson number(double value) {
  return std::isfinite(value) ? OrderedJson(value) : OrderedJson();
}

OrderedJson to_json(const Target& target) {
  return {{"value", target.value}, {"at_least", target.at_least}, {"strict", target.strict}};
}

void add_target(OrderedJson& out,
                const std::optional<Target>& target,
                const std::optional<bool>& met) {
  if (target) {
    out["target"] = to_json(*target);
    out["met"] = met ? OrderedJson(*met) : OrderedJson();
  }
}

OrderedJson to_json(const Metric& metric) {
  OrderedJson out = {{"n", metric.n},
                     {"value", number(metric.value)},
                     {"interval", {number(metric.interval.low), number(metric.interval.high)}},
                     {"chance", number(metric.chance)},
                     {"majority", number(metric.majority)},
                     {"judge", number(metric.judge)},
                     {"codec", number(metric.codec)}};
  add_target(out, metric.target, metric.met());
  return out;
}

OrderedJson to_json(const Timing& timing) {
  OrderedJson out = {
      {"n", timing.values.size()}, {"p50", number(timing.p50())}, {"p95", number(timing.p95())}};
  add_target(out, timing.target(), timing.met());
  return out;
}

OrderedJson to_json(const RowResult& result) {
  OrderedJson out = {{"title", result.row.title}};
  if (!result.row.skipped.empty()) {
    out["skipped"] = result.row.skipped;
    return out;
  }
  out["n"] = result.n;
  out["malformed"] = result.malformed;
  out["unanswered"] = result.unanswered;
  out["metrics"] = OrderedJson::object();
  for (const Metric& metric : result.metrics) {
    out["metrics"][metric.name] = to_json(metric);
  }
  out["reply_seconds"] = to_json(result.reply);
  out["batched_reply_seconds"] =
      result.batched > 0 ? number(result.batch_seconds / static_cast<double>(result.batched))
                         : OrderedJson();
  return out;
}

std::string mark(const std::optional<bool>& met) {
  return !met ? "" : *met ? "met" : "MISSED";
}

// fmt counts characters, so that "–" and "→" take one column.
std::string line(std::string_view name, const Metric& metric) {
  return fmt::format(
      "  {:<18}{:>6}{:>9} {:<17}{:>8}{:>9}{:>8}{:>8}  {:<7}{}\n", name, metric.n,
      figure(metric.value),
      fmt::format("[{}, {}]", figure(metric.interval.low), figure(metric.interval.high)),
      figure(metric.chance), figure(metric.majority), figure(metric.judge), figure(metric.codec),
      bound(metric.target), mark(metric.met()));
}

}  // namespace

std::optional<bool> Metric::met() const {
  return target && n > 0 && std::isfinite(value) ? std::optional(target->met(value)) : std::nullopt;
}

double Timing::p50() const {
  return percentile(values, 0.5);
}
double Timing::p95() const {
  return percentile(values, 0.95);
}
std::optional<Target> Timing::target() const {
  return target_of("latency", name);
}
std::optional<bool> Timing::met() const {
  return target() && !values.empty() ? std::optional(target()->met(p50())) : std::nullopt;
}

Metric Result::malformed() const {
  Metric metric{.name = "malformed", .value = 0, .target = target_of("all", "malformed")};
  for (const RowResult& row : rows) {
    metric.n += row.n;
    metric.value += static_cast<double>(row.malformed);
  }
  return metric;
}

Found found_for(const Result& result, const Target& target) {
  if (target.row == "all") {
    return {result.malformed().value, result.malformed().met()};
  }
  for (const Timing& timing : result.timings) {
    if (target.row == "latency" && timing.name == target.metric) {
      return {timing.p50(), timing.met()};
    }
  }
  for (const RowResult& row : result.rows) {
    for (const Metric& metric : row.metrics) {
      if (row.row.name == target.row && metric.name == target.metric) {
        return {metric.value, metric.met()};
      }
    }
  }
  return {};
}

TargetCount count_targets(const Result& result) {
  TargetCount count;
  for (const Target& target : targets()) {
    const std::optional<bool> met = found_for(result, target).met;
    ++(!met ? count.unknown : *met ? count.met : count.missed);
  }
  return count;
}

OrderedJson to_json(const Result& result) {
  OrderedJson out = {
      {"model", utf8_lossy(result.model)}, {"seed", result.seed},       {"quick", result.quick},
      {"device", result.device},           {"threads", result.threads}, {"items", result.items}};
  out["notes"] = result.notes;
  out["counts"] = OrderedJson::object();
  out["pairs"] = OrderedJson::object();
  for (const RowResult& row : result.rows) {
    out["counts"][row.row.name] = row.n;
    out["pairs"][row.row.name] = to_json(row);
  }
  out["latency"] = OrderedJson::object();
  for (const Timing& timing : result.timings) {
    out["latency"][timing.name] = to_json(timing);
  }
  const Metric malformed = result.malformed();
  out["malformed"] = {{"n", malformed.n}, {"value", malformed.value}};
  add_target(out["malformed"], malformed.target, malformed.met());
  const TargetCount count = count_targets(result);
  out["targets"] = {{"met", count.met}, {"missed", count.missed}, {"unknown", count.unknown}};
  out["seconds"] = result.seconds;
  return out;
}

std::string figure(double value) {
  return !std::isfinite(value)   ? "–"
         : std::abs(value) >= 10 ? fmt::format("{:.1f}", value)
                                 : fmt::format("{:.3f}", value);
}

std::string bound(const std::optional<Target>& target) {
  if (!target) {
    return {};
  }
  return fmt::format("{} {:g}",
                     target->at_least ? (target->strict ? ">" : "≥") : (target->strict ? "<" : "≤"),
                     target->value);
}

std::string to_text(const Result& result) {
  std::string out = fmt::format("{}, seed {}, {} items a row{}\n", result.model, result.seed,
                                result.items, result.quick ? ", quick: as many as fit" : "");
  for (const std::string& note : result.notes) {
    out += note + "\n";
  }
  out += fmt::format("\n  {:<18}{:>6}{:>9} {:<17}{:>8}{:>9}{:>8}{:>8}  {}\n", "", "items", "value",
                     "95 %", "chance", "majority", "judge", "codec", "target");
  for (const RowResult& row : result.rows) {
    if (!row.row.skipped.empty()) {
      out += fmt::format("{}: skipped, {}\n", row.row.name, row.row.skipped);
      continue;
    }
    out += fmt::format("{} ({} replies", row.row.name, row.n);
    if (row.unanswered > 0) {
      out += fmt::format(", {} without {}", row.unanswered, plain_name(row.row.pair.to));
    }
    if (!row.reply.values.empty()) {
      out += fmt::format(", {} s each", figure(row.reply.p50()));
    }
    out += ")\n";
    for (const Metric& metric : row.metrics) {
      out += line(metric.name, metric);
    }
  }
  out += "latency, one conversation at a time\n";
  for (const Timing& timing : result.timings) {
    out += fmt::format("  {:<18}{:>6}{:>9} median, {} p95  {} {}\n", timing.name,
                       timing.values.size(), figure(timing.p50()), figure(timing.p95()),
                       bound(timing.target()), mark(timing.met()));
  }
  const Metric malformed = result.malformed();
  out += fmt::format("malformed spans: {:g} in {} replies  {} {}\n", malformed.value, malformed.n,
                     bound(malformed.target), mark(malformed.met()));
  const TargetCount count = count_targets(result);
  return out + fmt::format("targets: {} met, {} missed, {} not measured; {:.0f} s\n", count.met,
                           count.missed, count.unknown, result.seconds);
}

}  // namespace tessera::any2any
