// Text exposition format: https://prometheus.io/docs/instrumenting/exposition_formats.
#include "serve/metrics.h"

#include <fmt/format.h>

#include <cstdint>

namespace tessera::serve {
namespace {

std::string escape(std::string_view text, bool quotes) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || (quotes && c == '"')) {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

std::string written(const MetricLabels& labels) {
  std::string out;
  for (const auto& [name, value] : labels) {
    out += fmt::format("{}{}=\"{}\"", out.empty() ? "" : ",", name, escape(value, true));
  }
  return out;
}

std::string braced(const std::string& labels, const std::string& more = {}) {
  const std::string comma = labels.empty() || more.empty() ? "" : ",";
  return labels.empty() && more.empty() ? "" : "{" + labels + comma + more + "}";
}

}  // namespace

void Metrics::describe_counter(const std::string& name, std::string help) {
  const std::lock_guard lock(mutex_);
  families_.emplace(name, Family{.type = Type::kCounter, .help = std::move(help)});
}

void Metrics::describe_gauge(const std::string& name, std::string help) {
  const std::lock_guard lock(mutex_);
  families_.emplace(name, Family{.type = Type::kGauge, .help = std::move(help)});
}

void Metrics::describe_histogram(const std::string& name,
                                 std::string help,
                                 std::vector<double> bounds) {
  const std::lock_guard lock(mutex_);
  families_.emplace(
      name, Family{.type = Type::kHistogram, .help = std::move(help), .bounds = std::move(bounds)});
}

Metrics::Series& Metrics::series(const std::string& name, const MetricLabels& labels) {
  return families_.at(name).series[written(labels)];
}

void Metrics::add(const std::string& name, const MetricLabels& labels, double amount) {
  const std::lock_guard lock(mutex_);
  series(name, labels).value += amount;
}

void Metrics::set(const std::string& name, const MetricLabels& labels, double value) {
  const std::lock_guard lock(mutex_);
  series(name, labels).value = value;
}

void Metrics::observe(const std::string& name, const MetricLabels& labels, double value) {
  const std::lock_guard lock(mutex_);
  Series& one = series(name, labels);
  const std::vector<double>& bounds = families_.at(name).bounds;
  one.buckets.resize(bounds.size());
  for (size_t i = 0; i < bounds.size(); ++i) {
    one.buckets[i] += value <= bounds[i] ? 1 : 0;  // buckets are cumulative
  }
  one.value += value;
  ++one.count;
}

std::string Metrics::text() const {
  constexpr const char* kTypes[] = {"counter", "gauge", "histogram"};
  const std::lock_guard lock(mutex_);
  std::string out;
  for (const auto& [name, family] : families_) {
    const bool general = name.starts_with("http_") || name.starts_with("process_");
    const std::string full = general ? name : prefix_ + name;
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", full, escape(family.help, false), full,
                       kTypes[static_cast<int>(family.type)]);
    for (const auto& [labels, one] : family.series) {
      if (family.type != Type::kHistogram) {
        out += fmt::format("{}{} {}\n", full, braced(labels), one.value);
        continue;
      }
      for (size_t i = 0; i < family.bounds.size(); ++i) {
        out +=
            fmt::format("{}_bucket{} {}\n", full,
                        braced(labels, fmt::format("le=\"{}\"", family.bounds[i])), one.buckets[i]);
      }
      out += fmt::format("{}_bucket{} {}\n", full, braced(labels, "le=\"+Inf\""), one.count);
      out += fmt::format("{}_sum{} {}\n", full, braced(labels), one.value);
      out += fmt::format("{}_count{} {}\n", full, braced(labels), one.count);
    }
  }
  return out;
}

}  // namespace tessera::serve
