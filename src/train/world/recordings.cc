// File names of Jakobovski/free-spoken-digit-dataset: digit, speaker and index joined by
// underscores. Other files in the folder are passed over.

#include "train/world/recordings.h"

#include "core/error.h"
#include "core/strings.h"

#include <algorithm>
#include <charconv>

namespace tessera::world {

Split DigitRecording::split() const {
  return index < 5 ? Split::kTest : index < 8 ? Split::kValidation : Split::kTrain;
}

std::vector<DigitRecording> list_digits(const io::fs::path& folder) {
  std::error_code error;
  if (!io::fs::is_directory(folder, error)) {
    io::throw_not_found(folder,
                        "a folder of spoken digits, {digit}_{speaker}_{index}.wav or .flac");
  }
  std::vector<DigitRecording> out;
  for (const auto& entry : io::fs::directory_iterator(folder)) {
    const io::fs::path& path = entry.path();
    const std::vector<std::string> fields = split(path.stem().string(), '_');
    if ((path.extension() != ".wav" && path.extension() != ".flac") || fields.size() != 3 ||
        fields[0].size() != 1 || fields[0][0] < '0' || fields[0][0] > '9') {
      continue;
    }
    DigitRecording recording{path, fields[0][0] - '0', fields[1], -1};
    const char* end = fields[2].data() + fields[2].size();
    const auto [rest, status] = std::from_chars(fields[2].data(), end, recording.index);
    if (status == std::errc() && rest == end && recording.index >= 0) {
      out.push_back(std::move(recording));
    }
  }
  TESSERA_CHECK(!out.empty(), NotFound,
                "{}: no recording; expected files {{digit}}_{{speaker}}_{{index}}.wav or .flac",
                folder.string());
  std::sort(out.begin(), out.end(), [](const DigitRecording& a, const DigitRecording& b) {
    return a.path.filename() < b.path.filename();
  });
  return out;
}

}  // namespace tessera::world
