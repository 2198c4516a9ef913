// metrics.jsonl: one JSON object a line, kept in memory too for the report.
#pragma once

#include "io/json.h"

#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tessera::train {

/// One line: "step" and numbers. Values that are not finite are written as null.
using MetricRow = std::map<std::string, double>;

class MetricLog {
 public:
  /// Opens or makes the file; rows after `last_step` are dropped, as a resumed run makes them anew.
  /// Throws Io; a broken last line (a killed run) is dropped too.
  MetricLog(io::fs::path path, int64_t last_step);

  /// Appends a row; "step" comes first in the line. Flushed at once.
  void append(const MetricRow& row);
  const std::vector<MetricRow>& rows() const { return rows_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  io::fs::path path_;
  std::vector<MetricRow> rows_;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace tessera::train
