// Small text helpers shared by every room.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

/// The candidate with the smallest edit distance to `word`, if it is near enough to be a likely
/// typo.
std::optional<std::string> closest_match(std::string_view word,
                                         std::span<const std::string> candidates);

std::vector<std::string> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);
std::string join(std::span<const std::string> parts, std::string_view separator);

/// Length in bytes (1–4) of the valid UTF-8 character at the front of `text`, 0 if it is broken
/// (overlong, surrogate, cut short or out of range).
int utf8_length(std::string_view text);

/// Code point at the front of `text`; `*length` gets its bytes. An invalid byte gives U+FFFD and
/// length 1.
char32_t utf8_decode(std::string_view text, int* length);
void utf8_append(std::string& out, char32_t code_point);

/// Replaces every invalid sequence by U+FFFD as Python's errors="replace" and Rust's
/// from_utf8_lossy do: one U+FFFD for each maximal broken prefix.
std::string utf8_lossy(std::string_view bytes);

}  // namespace tessera
