// report.html of a run: curves, last metrics, samples and the recipe in one self-contained page.
#pragma once

#include "train/metrics.h"
#include "train/task.h"

#include <string>
#include <vector>

namespace tessera::train {

struct ReportContent {
  std::string title;
  std::string status;  // "step 1200 of 5000, …"
  std::string recipe;  // YAML
  const std::vector<MetricRow>* metrics = nullptr;
  std::vector<Sample> samples;
};

/// The page, at most 2 MB: samples that no longer fit are named but left out.
std::string render_report(const ReportContent& content);

}  // namespace tessera::train
