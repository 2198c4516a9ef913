// Bytes as text (RFC 4648).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tessera {

/// Bytes in base64 with padding.
std::string base64(std::string_view bytes);
/// The way back; nothing for other characters, a wrong length or bits left over.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace tessera
