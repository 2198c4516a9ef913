// Character classes, case and normal forms exactly as the `tokenizers` package has them; they come
// from several Unicode versions, so none of these is for general use.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tessera::text {

/// White_Space.
bool is_whitespace(char32_t c);
/// ASCII punctuation and symbols, and the general categories P*.
bool is_punctuation(char32_t c);
/// General categories N*.
bool is_numeric(char32_t c);
/// `\w`: letters, marks, decimal digits, connectors.
bool is_word(char32_t c);
/// General categories M*.
bool is_combining_mark(char32_t c);
/// General category Mn.
bool is_nonspacing_mark(char32_t c);
/// What BertNormalizer's clean_text drops: NUL, U+FFFD and C* but tab and line breaks.
bool is_bert_control(char32_t c);

/// Appends the lower case of `c` (two characters for U+0130).
void append_lowercase(std::string& out, char32_t c);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

/// `text` (valid UTF-8) in a normal form; characters newer than the reference's tables stay.
std::string normalize(std::string_view text, NormalForm form);

/// A character of the same general category and UTF-8 length that every PCRE2 knows, for those
/// on which PCRE2 and Oniguruma disagree.
std::optional<char32_t> regex_substitute(char32_t c);

}  // namespace tessera::text
