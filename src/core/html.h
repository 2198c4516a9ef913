// Pages that need no other file and no script: one style for all reports, light and dark, wide and
// narrow; pictures and sounds as data URIs. Charts are core/svg.h.
#pragma once

#include <string>
#include <string_view>

namespace tessera {

/// Any bytes as text of a page: broken UTF-8 becomes U+FFFD, `&`, `<`, `>`, `"` become entities.
std::string html_text(std::string_view text);

/// A whole page: `title` is text and becomes the heading, `body` is HTML, `style` further rules.
std::string html_page(std::string_view title, std::string_view body, std::string_view style = {});

/// <figure> of a PNG file, a WAV file or a text, with its caption (text).
std::string picture_figure(std::string_view png, std::string_view caption);
std::string sound_figure(std::string_view wav, std::string_view caption);
std::string text_figure(std::string_view text, std::string_view caption);

}  // namespace tessera
