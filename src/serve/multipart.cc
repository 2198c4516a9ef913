#include "serve/multipart.h"

#include "core/strings.h"

#include <algorithm>
#include <cctype>

namespace tessera::serve {
namespace {

constexpr size_t kMaxParts = 64;
constexpr size_t kMaxHeaders = 16 << 10;  // bytes of one part's headers

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// A parameter of a header's value: name="…" with \-escapes, or name=token.
std::optional<std::string> parameter(std::string_view value, std::string_view name) {
  size_t at = value.find(';');
  while (at < value.size()) {
    ++at;
    while (at < value.size() && (value[at] == ' ' || value[at] == '\t')) {
      ++at;
    }
    const size_t equals = value.find('=', at);
    if (equals == std::string_view::npos) {
      return std::nullopt;
    }
    const std::string key = lower(trim(value.substr(at, equals - at)));
    std::string text;
    at = equals + 1;
    if (at < value.size() && value[at] == '"') {
      for (++at; at < value.size() && value[at] != '"'; ++at) {
        at += value[at] == '\\' && at + 1 < value.size() ? 1 : 0;
        text += value[at];
      }
      at = value.find(';', at);
    } else {
      const size_t end = std::min(value.find(';', at), value.size());
      text = trim(value.substr(at, end - at));
      at = end;
    }
    if (key == name) {
      return text;
    }
  }
  return std::nullopt;
}

// Headers of a part, up to the empty line; false when there is no such line or no name.
bool read_part(std::string_view part, FormPart& out) {
  size_t at = 0;
  bool named = false;
  while (true) {
    const size_t end = part.find("\r\n", at);
    if (end == std::string_view::npos || end > kMaxHeaders) {
      return false;
    }
    const std::string_view line = part.substr(at, end - at);
    at = end + 2;
    if (line.empty()) {
      break;
    }
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) {
      return false;
    }
    const std::string name = lower(trim(line.substr(0, colon)));
    const std::string_view value = trim(line.substr(colon + 1));
    if (name == "content-disposition") {
      const std::optional<std::string> field = parameter(value, "name");
      named = field.has_value() && lower(value).starts_with("form-data");
      out.name = field.value_or("");
      out.file_name = parameter(value, "filename").value_or("");
    } else if (name == "content-type") {
      out.type = value;
    }
  }
  out.content = part.substr(at);
  return named;
}

}  // namespace

std::optional<std::vector<FormPart>> parse_multipart(std::string_view content_type,
                                                     std::string_view body) {
  const std::optional<std::string> boundary = parameter(content_type, "boundary");
  if (!lower(content_type).starts_with("multipart/form-data") || !boundary.has_value() ||
      boundary->empty() || boundary->size() > 70) {
    return std::nullopt;
  }
  // Every delimiter is CRLF--boundary, except that the first may begin the body.
  const std::string delimiter = "\r\n--" + *boundary;
  size_t at = 0;
  if (body.starts_with(std::string_view(delimiter).substr(2))) {
    at = delimiter.size() - 2;
  } else {
    at = body.find(delimiter);
    if (at == std::string_view::npos) {
      return std::nullopt;
    }
    at += delimiter.size();
  }
  std::vector<FormPart> parts;
  while (!body.substr(at).starts_with("--")) {
    const size_t line = body.find("\r\n", at);
    const size_t end = line == std::string_view::npos ? line : body.find(delimiter, line);
    if (end == std::string_view::npos || parts.size() >= kMaxParts ||
        !trim(body.substr(at, line - at)).empty()) {
      return std::nullopt;
    }
    FormPart part;
    if (end < line + 2 || !read_part(body.substr(line + 2, end - line - 2), part)) {
      return std::nullopt;
    }
    parts.push_back(std::move(part));
    at = end + delimiter.size();
  }
  return parts;
}

}  // namespace tessera::serve
