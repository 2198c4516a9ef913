// What model files share: typed access to config.json, and the entries of every causal language
// model.
#pragma once

#include "models/registry.h"

#include <cstdint>
#include <string>
#include <vector>

namespace tessera::models {

/// Reads typed values of a JSON object; null counts as absent; a wrong type throws CorruptFile
/// naming the key. Unknown keys are no error: published files hold many.
class ConfigReader {
 public:
  ConfigReader(const io::Json& json, std::string source)
      : json_(json), source_(std::move(source)) {}

  /// An integer in 1 … 2^31.
  int64_t positive(const char* key, int64_t fallback) const;
  /// A list of 1 … 64 such integers.
  std::vector<int64_t> positives(const char* key, const std::vector<int64_t>& fallback) const;
  /// An integer in 1 … 2^31; 0 for null, `fallback` when absent.
  int64_t positive_or_null(const char* key, int64_t fallback) const;
  /// An integer in 0 … 2^31.
  int64_t count(const char* key, int64_t fallback) const;
  double number(const char* key, double fallback) const;
  /// 0 for null, `fallback` when absent.
  double number_or_null(const char* key, double fallback) const;
  bool boolean(const char* key, bool fallback) const;
  std::string string(const char* key, const std::string& fallback) const;

 private:
  const io::Json* find(const char* key) const;
  bool is_null(const char* key) const;
  const io::Json& json_;
  std::string source_;
};

/// Runs `forward` or `generate`, with transformers' names.
nn::NamedTensors run_language_model_entry(nn::SequenceModel& model,
                                          const ModelFolder& folder,
                                          std::string_view entry,
                                          const nn::NamedTensors& inputs);

}  // namespace tessera::models
