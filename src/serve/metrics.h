// Counters of the server in Prometheus' text format 0.0.4.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera::serve {

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

/// Metrics by name and labels; the first use makes one. Thread-safe.
class Metrics {
 public:
  /// `prefix` stands before every name that does not begin with "http_" or "process_": "tessera_",
  /// or "vllm:" for dashboards made for vLLM.
  explicit Metrics(std::string prefix) : prefix_(std::move(prefix)) {}

  /// What a metric means, and for histograms the upper bounds of its buckets.
  void describe_counter(const std::string& name, std::string help);
  void describe_gauge(const std::string& name, std::string help);
  void describe_histogram(const std::string& name, std::string help, std::vector<double> bounds);

  /// The metric must have been described.
  void add(const std::string& name, const MetricLabels& labels, double amount = 1);
  void set(const std::string& name, const MetricLabels& labels, double value);
  void observe(const std::string& name, const MetricLabels& labels, double value);

  std::string text() const;

 private:
  enum class Type { kCounter, kGauge, kHistogram };
  struct Series {
    double value = 0;  // histograms: the sum
    std::vector<uint64_t> buckets = {};
    uint64_t count = 0;
  };
  struct Family {
    Type type = Type::kCounter;
    std::string help;
    std::vector<double> bounds = {};
    std::map<std::string, Series> series = {};  // by written labels
  };
  Series& series(const std::string& name, const MetricLabels& labels);

  std::string prefix_;
  mutable std::mutex mutex_;
  std::map<std::string, Family> families_;
};

}  // namespace tessera::serve
