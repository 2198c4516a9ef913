// A conversation as one self-contained page: what was said, seen and heard, in bubbles.
#pragma once

#include "core/message.h"

#include <span>
#include <string>
#include <vector>

namespace tessera::pipelines {

/// A message with a note under it ("0.8 s").
struct TranscriptEntry {
  Message message;
  std::string note;
};

/// Conversations that belong together, under a heading.
struct Transcript {
  std::string title;
  std::vector<TranscriptEntry> entries;
};

/// An HTML page of all of them, then `footer` (HTML, may be empty). Pictures are embedded as PNG,
/// sound as 16-bit WAV.
std::string render_transcripts(std::string_view title,
                               std::span<const Transcript> transcripts,
                               std::string_view footer = {});

}  // namespace tessera::pipelines
