#include "train/metrics.h"

#include "core/error.h"
#include "core/strings.h"

#include <cerrno>
#include <cmath>
#include <cstring>

namespace tessera::train {
namespace {

std::string line_of(const MetricRow& row) {
  io::OrderedJson json = {{"step", static_cast<int64_t>(row.at("step"))}};
  for (const auto& [name, value] : row) {
    if (name == "step") {
      continue;
    }
    json[name] = std::isfinite(value) ? io::OrderedJson(value) : io::OrderedJson(nullptr);
  }
  return json.dump() + "\n";
}

}  // namespace

MetricLog::MetricLog(io::fs::path path, int64_t last_step) : path_(std::move(path)) {
  std::string kept;
  if (io::fs::exists(path_)) {
    for (const std::string& line : split(io::read_file(path_), '\n')) {
      const io::Json json = io::Json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (!json.is_object() || !json.contains("step") || !json["step"].is_number() ||
          json["step"].get<double>() > static_cast<double>(last_step)) {
        continue;
      }
      MetricRow row;
      for (const auto& [name, value] : json.items()) {
        row[name] = value.is_number() ? value.get<double>() : std::nan("");
      }
      kept += line_of(row);
      rows_.push_back(std::move(row));
    }
  }
  io::write_file(path_, kept);
  file_.reset(std::fopen(path_.c_str(), "ae"));
  TESSERA_CHECK(file_ != nullptr, Io, "{}: cannot write: {}", path_.string(), std::strerror(errno));
}

void MetricLog::append(const MetricRow& row) {
  const std::string line = line_of(row);
  TESSERA_CHECK(std::fwrite(line.data(), 1, line.size(), file_.get()) == line.size() &&
                    std::fflush(file_.get()) == 0,
                Io, "{}: {}", path_.string(), std::strerror(errno));
  rows_.push_back(row);
}

}  // namespace tessera::train
