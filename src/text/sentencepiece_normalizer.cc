// Rule by rule, left to right: a user-defined piece, else the longest rule of the character map,
// else one character. Only U+0020 counts as a space; the map decides what else becomes one. Source
// of the order: google/sentencepiece, Normalizer::Normalize. The map from normalised to original
// positions is not kept.
#include "text/sentencepiece_normalizer.h"

#include "core/error.h"
#include "core/strings.h"

#include <algorithm>
#include <limits>

namespace tessera::text {
namespace {

constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr size_t kMaxBytes = std::numeric_limits<int32_t>::max();

}  // namespace

SentencePieceNormalizer::SentencePieceNormalizer(const SentencePieceNormalizerSpec& spec,
                                                 bool suffix,
                                                 std::string_view source)
    : space_(spec.escape_whitespaces ? kSpaceSymbol : " "),
      add_dummy_prefix_(spec.add_dummy_prefix),
      remove_extra_whitespaces_(spec.remove_extra_whitespaces),
      suffix_(suffix) {
  if (!spec.charsmap.empty()) {
    charsmap_ = Charsmap(spec.charsmap, source);
  }
}

std::pair<std::string_view, size_t> SentencePieceNormalizer::step(std::string_view input,
                                                                  const ByteTrie& verbatim) const {
  if (const size_t length = verbatim.longest_prefix(input); length > 0) {
    return {input.substr(0, length), length};
  }
  if (const auto match = charsmap_.longest_match(input)) {
    return {match->replacement, match->length};
  }
  const auto length = static_cast<size_t>(utf8_length(input));
  if (length == 0) {
    return {kReplacement, 1};
  }
  return {input.substr(0, length), length};
}

std::string SentencePieceNormalizer::normalize(std::string_view input,
                                               const ByteTrie& verbatim) const {
  while (remove_extra_whitespaces_ && !input.empty()) {
    const auto [output, taken] = step(input, verbatim);
    if (output != " ") {
      break;
    }
    input.remove_prefix(taken);
  }
  if (input.empty()) {
    return {};
  }
  std::string out;
  out.reserve(input.size() + input.size() / 2);
  if (add_dummy_prefix_ && !suffix_) {
    out += space_;
  }
  bool after_space = remove_extra_whitespaces_;
  while (!input.empty()) {
    auto [output, taken] = step(input, verbatim);
    input.remove_prefix(taken);
    while (after_space && output.starts_with(' ')) {
      output.remove_prefix(1);
    }
    for (const char c : output) {
      if (c == ' ') {
        out += space_;
      } else {
        out += c;
      }
    }
    if (remove_extra_whitespaces_ && !output.empty()) {
      after_space = output.back() == ' ';
    }
    TESSERA_CHECK(out.size() < kMaxBytes, InvalidArgument,
                  "the text has more than {} bytes after normalisation; encode it in parts",
                  kMaxBytes);
  }
  while (remove_extra_whitespaces_ && std::string_view(out).ends_with(space_)) {
    out.resize(out.size() - space_.size());
  }
  if (add_dummy_prefix_ && suffix_) {
    out += space_;
  }
  return out;
}

}  // namespace tessera::text
