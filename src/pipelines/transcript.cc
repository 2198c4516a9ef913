// The page is made of core/html.h's style and figures; bubbles stand left (the user) and right
// (the reply). Small pictures are shown enlarged.
#include "pipelines/transcript.h"

#include "core/html.h"
#include "io/image.h"
#include "io/wav.h"

#include <fmt/format.h>

#include <map>

namespace tessera::pipelines {
namespace {

constexpr std::string_view kStyle = R"(section{max-width:760px;margin:0 auto 2.5em}
.bubble{border-radius:14px;padding:.6em .9em;margin:.5em 0;width:fit-content;max-width:85%;
background:#eef2f7}.bubble p{margin:.2em 0;white-space:pre-wrap}.reply{margin-left:auto;
background:#e6f4ea}.note{font-size:12px;color:#777;margin:.2em 0 0}
.bubble img{width:min(288px,100%);border-radius:8px;display:block;margin:.3em 0}
.bubble audio{width:min(340px,100%);display:block;margin:.3em 0}
@media(prefers-color-scheme:dark){.bubble{background:#232a33}.reply{background:#1d3324}})";

// Sounds by their bytes: one that comes again is a link to where it stands, since they are most of
// a page.
using Sounds = std::map<std::string, size_t>;

std::string render_part(const Part& part, Sounds& sounds) {
  if (const auto* text = std::get_if<std::string>(&part.content)) {
    return "<p>" + html_text(*text) + "</p>";
  }
  const std::string name = modality_name(part.modality);
  if (const auto* image = std::get_if<Image>(&part.content)) {
    return picture_figure(io::encode_png(*image), name);
  }
  const auto [sound, fresh] =
      sounds.try_emplace(io::encode_wav(std::get<Audio>(part.content)), sounds.size() + 1);
  return fresh ? fmt::format("<div id=\"sound-{}\">{}</div>", sound->second,
                             sound_figure(sound->first, name))
               : fmt::format("<p><a href=\"#sound-{}\">the same {} as above</a></p>", sound->second,
                             name);
}

}  // namespace

std::string render_transcripts(std::string_view title,
                               std::span<const Transcript> transcripts,
                               std::string_view footer) {
  std::string body;
  Sounds sounds;
  for (const Transcript& transcript : transcripts) {
    body += "<section><h2>" + html_text(transcript.title) + "</h2>";
    for (const TranscriptEntry& entry : transcript.entries) {
      const bool reply = entry.message.role == Role::kAssistant;
      body += reply ? "<div class=\"bubble reply\">" : "<div class=\"bubble\">";
      for (const Part& part : entry.message.parts) {
        body += render_part(part, sounds);
      }
      if (!entry.note.empty()) {
        body += "<p class=\"note\">" + html_text(entry.note) + "</p>";
      }
      body += "</div>";
    }
    body += "</section>";
  }
  body += footer;
  return html_page(title, body, kStyle);
}

}  // namespace tessera::pipelines
