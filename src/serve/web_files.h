// The page's files (src/serve/web), compiled in.
#pragma once

#include <span>
#include <string_view>

namespace tessera::serve {

struct WebFile {
  std::string_view path;  // "index.html", "js/chat.js"
  std::string_view content;
  std::string_view tag;  // its ETag, quoted
};

/// All of them, sorted by path.
std::span<const WebFile> web_files();

/// Media type by the name's ending; application/octet-stream for unknown ones.
std::string_view web_type(std::string_view path);

}  // namespace tessera::serve
