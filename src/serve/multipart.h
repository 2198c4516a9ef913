// multipart/form-data bodies (RFC 7578).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::serve {

/// One field of a form. Views into the body.
struct FormPart {
  std::string name;
  std::string file_name;  // of an uploaded file
  std::string type;       // its Content-Type
  std::string_view content;
};

/// Splits a body by the boundary that its Content-Type names. Nothing when either is malformed, or
/// there are more than 64 parts.
std::optional<std::vector<FormPart>> parse_multipart(std::string_view content_type,
                                                     std::string_view body);

}  // namespace tessera::serve
