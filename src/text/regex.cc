// Oniguruma patterns on PCRE2 (UTF and UCP, JIT). Differences handled: Oniguruma's Ruby syntax
// (^ and $ at every line, (?m) for PCRE2's (?s), \h for a hex digit, classes cut by &&), its wider
// \w, \p{Han} by Script rather than Script_Extensions, and newer Unicode tables. For the last, a
// text with a character on which the tables disagree is matched in a copy where a character of the
// same category and byte length stands for it, so that offsets stay.
#define PCRE2_CODE_UNIT_WIDTH 8

#include "text/regex.h"

#include "core/error.h"
#include "core/strings.h"
#include "text/unicode.h"

#include <pcre2.h>

#include <algorithm>
#include <array>
#include <optional>

namespace tessera::text {
namespace {

constexpr uint32_t kMatchLimit = 10'000'000;  // as Oniguruma's retry limit
constexpr uint32_t kHeapLimitKib = 256 * 1024;
constexpr size_t kJitStackMax = 16 << 20;
constexpr size_t kMaxPattern = 1 << 16;

// Oniguruma's \w in a class: letters, marks, decimal and letter numbers, connectors, circled
// letters.
constexpr std::string_view kWordItems =
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}"
    "\\x{1F170}-\\x{1F189}";
// Alone it also takes the raised digits and fractions of Latin-1.
constexpr std::string_view kLatinWordItems = "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}";

// Alphabetic, with what newer Unicode versions added to it.
constexpr std::string_view kAlphabetic =
    "\\p{Alphabetic}\\x{363}-\\x{36F}\\x{C04}\\x{F82}\\x{F83}\\x{1DD3}-\\x{1DE6}\\x{11080}\\x{"
    "11081}"
    "\\x{11241}";

// POSIX classes by Unicode properties; what is not listed is the same in PCRE2.
constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kPosixClasses = {{
    {"alpha", kAlphabetic},
    {"upper", "\\p{Uppercase}"},
    {"lower", "\\p{Lowercase}"},
    {"digit", "\\p{Nd}"},
    {"punct", "\\p{P}\\p{S}"},
    {"word", kWordItems},
}};

// Properties that are neither a category nor a script.
constexpr std::array<std::string_view, 12> kBinaryProperties = {
    "any",         "alphabetic",        "uppercase", "lowercase",  "whitespace",           "emoji",
    "ideographic", "emojipresentation", "idstart",   "idcontinue", "extendedpictographic", "math"};

// Long names of properties; PCRE2 knows the short ones.
constexpr std::array<std::pair<std::string_view, std::string_view>, 22> kPropertyNames = {{
    {"letter", "L"},
    {"mark", "M"},
    {"number", "N"},
    {"punctuation", "P"},
    {"symbol", "S"},
    {"separator", "Z"},
    {"other", "C"},
    {"lowercaseletter", "Ll"},
    {"uppercaseletter", "Lu"},
    {"titlecaseletter", "Lt"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"decimalnumber", "Nd"},
    {"dashpunctuation", "Pd"},
    {"digit", "Nd"},
    {"alpha", "Alphabetic"},
    {"upper", "Uppercase"},
    {"lower", "Lowercase"},
    {"separatorspace", "Zs"},
    {"nonspacingmark", "Mn"},
    {"spacingmark", "Mc"},
    {"control", "Cc"},
}};

[[noreturn]] void unsupported(std::string_view what, std::string_view pattern) {
  throw Unsupported("regular expression '{}': {} is not supported by this build", pattern, what);
}

/// Rewrites one Oniguruma pattern for PCRE2.
class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  std::string run() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c == '\\') {
        out_ += escape(false);
      } else if (c == '[') {
        out_ += char_class(0);
      } else if (c == '(' && in_.substr(at_, 2) == "(?") {
        group();
      } else {
        out_ += c;
        ++at_;
      }
    }
    return std::move(out_);
  }

 private:
  // "(?" and its option letters: i and x are the same, m is PCRE2's s.
  void group() {
    out_ += "(?";
    at_ += 2;
    const size_t end = in_.find_first_not_of("imx-", at_);
    if (end == std::string_view::npos || (in_[end] != ':' && in_[end] != ')')) {
      return;
    }
    for (; at_ < end; ++at_) {
      out_ += in_[at_] == 'm' ? 's' : in_[at_];
    }
  }

  // At a backslash; `inside`: in a character class, where only items are allowed.
  std::string escape(bool inside) {
    TESSERA_CHECK(at_ + 1 < in_.size(), CorruptFile,
                  "regular expression '{}': ends in a backslash; expected a character after it",
                  in_);
    const char c = in_[at_ + 1];
    if (c == 'p' || c == 'P') {
      return property(inside);
    }
    at_ += 2;
    if (inside && (c == 'W' || c == 'H')) {
      unsupported("a negated shorthand inside a class", in_);
    }
    const std::string words = std::string(kWordItems) + std::string(inside ? "" : kLatinWordItems);
    switch (c) {
      case 'w':
        return inside ? words : "[" + words + "]";
      case 'W':
        return "[^" + words + "]";
      case 'h':
        return inside ? "0-9a-fA-F" : "[0-9a-fA-F]";
      case 'H':
        return "[^0-9a-fA-F]";
      case 'b':
        return inside ? "\\x08"
                      : "(?:(?<=[" + words + "])(?![" + words + "])|(?<![" + words + "])(?=[" +
                            words + "]))";
      case 'B':
        return "(?:(?<=[" + words + "])(?=[" + words + "])|(?<![" + words + "])(?![" + words +
               "]))";
      case 'u':
        return unicode_escape();
      default:
        return std::string("\\") + c;
    }
  }

  std::string unicode_escape() {
    const std::string_view digits = in_.substr(at_, 4);
    TESSERA_CHECK(digits.size() == 4 &&
                      digits.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos,
                  CorruptFile, "regular expression '{}': expected four hex digits after \\u", in_);
    at_ += 4;
    return fmt::format("\\x{{{}}}", digits);
  }

  std::string property(bool inside) {
    const bool upper = in_[at_ + 1] == 'P';
    const size_t open = at_ + 2;
    if (open >= in_.size() || in_[open] != '{') {  // no property without braces there
      at_ = open;
      return upper ? "P" : "p";
    }
    const size_t close = in_.find('}', open);
    TESSERA_CHECK(close != std::string_view::npos, CorruptFile,
                  "regular expression '{}': \\p{{ is never closed", in_);
    std::string_view name = in_.substr(open + 1, close - open - 1);
    at_ = close + 1;
    const bool negated = upper != name.starts_with('^');
    name.remove_prefix(name.starts_with('^') ? 1 : 0);
    const std::string plain = property_name(name);
    if (plain == "Alphabetic" && !negated) {
      return inside ? std::string(kAlphabetic) : fmt::format("[{}]", kAlphabetic);
    }
    return fmt::format("\\{}{{{}}}", negated ? 'P' : 'p', plain);
  }

  static std::string property_name(std::string_view name) {
    std::string plain;
    for (const char c : name) {
      if (c != ' ' && c != '_' && c != '-') {
        plain += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
      }
    }
    for (const auto& [long_name, short_name] : kPropertyNames) {
      if (plain == long_name) {
        return std::string(short_name);
      }
    }
    const bool script =
        name.size() > 2 && std::find(kBinaryProperties.begin(), kBinaryProperties.end(), plain) ==
                               kBinaryProperties.end();
    // PCRE2 10.40 and later read a bare script name as Script_Extensions.
    return script ? fmt::format("sc:{}", name) : std::string(name);
  }

  // A class; `A&&B` becomes (?=B)A with each side a class of its own.
  std::string char_class(int depth) {
    TESSERA_CHECK(depth < 8, Unsupported,
                  "regular expression '{}': classes nested deeper than 8 are not supported", in_);
    ++at_;
    const bool negated = at_ < in_.size() && in_[at_] == '^';
    at_ += negated ? 1 : 0;
    std::string items;
    std::string nested;  // alternatives of inner classes
    std::string guard;   // look-aheads of the sides before &&
    bool first = true;
    for (;; first = false) {
      TESSERA_CHECK(at_ < in_.size(), CorruptFile,
                    "regular expression '{}': a character class is never closed", in_);
      const char c = in_[at_];
      if (c == ']' && !first) {
        ++at_;
        break;
      }
      if (c == '\\') {
        items += escape(true);
      } else if (in_.substr(at_, 2) == "[:") {
        items += posix_class();
      } else if (c == '[') {
        nested += (nested.empty() ? "" : "|") + char_class(depth + 1);
      } else if (in_.substr(at_, 2) == "&&") {
        at_ += 2;
        guard += "(?=" + side(items, nested) + ")";
        items.clear();
        nested.clear();
      } else {
        items += c == ']' ? "\\]" : std::string(1, c);
        ++at_;
      }
    }
    if (guard.empty() && nested.empty()) {
      return (negated ? "[^" : "[") + items + "]";
    }
    const std::string whole = guard + side(items, nested);
    return negated ? "(?:(?!" + whole + ")(?s:.))" : "(?:" + whole + ")";
  }

  static std::string side(const std::string& items, const std::string& nested) {
    if (nested.empty()) {
      return "[" + items + "]";
    }
    return items.empty() ? "(?:" + nested + ")" : "(?:" + nested + "|[" + items + "])";
  }

  std::string posix_class() {
    const size_t close = in_.find(":]", at_);
    TESSERA_CHECK(close != std::string_view::npos, CorruptFile,
                  "regular expression '{}': [: is never closed", in_);
    std::string_view name = in_.substr(at_ + 2, close - at_ - 2);
    at_ = close + 2;
    const bool negated = name.starts_with('^');
    name.remove_prefix(negated ? 1 : 0);
    for (const auto& [posix, items] : kPosixClasses) {
      if (name == posix && !negated) {
        return std::string(items);
      }
    }
    if (name == "alnum" && !negated) {
      return std::string(kAlphabetic) + "\\p{Nd}";
    }
    if (negated) {
      unsupported("a negated POSIX class", in_);
    }
    return fmt::format("[:{}:]", name);
  }

  std::string_view in_;
  std::string out_;
  size_t at_ = 0;
};

/// A copy of `text` in which characters that PCRE2 does not know are replaced; nothing if there are
/// none.
std::optional<std::string> substituted(std::string_view text) {
  std::optional<std::string> copy;
  for (size_t i = 0; i < text.size();) {
    if (static_cast<unsigned char>(text[i]) < 0xE0) {  // the table starts at three bytes
      ++i;
      continue;
    }
    int length = 0;
    const char32_t c = utf8_decode(text.substr(i), &length);
    if (const auto other = regex_substitute(c)) {
      if (!copy) {
        copy.emplace(text);
      }
      std::string bytes;
      utf8_append(bytes, *other);
      copy->replace(i, bytes.size(), bytes);
    }
    i += static_cast<size_t>(length);
  }
  return copy;
}

template <class T, void (*Free)(T*)>
struct Deleter {
  void operator()(T* p) const { Free(p); }
};
template <class T, void (*Free)(T*)>
using Handle = std::unique_ptr<T, Deleter<T, Free>>;

using MatchData = Handle<pcre2_match_data, pcre2_match_data_free>;
using MatchContext = Handle<pcre2_match_context, pcre2_match_context_free>;
using JitStack = Handle<pcre2_jit_stack, pcre2_jit_stack_free>;

std::string message_of(int error) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(error, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

struct Regex::Code {
  Handle<pcre2_code, pcre2_code_free> pcre;
  std::string pattern;
};

Regex::Regex(std::string_view pattern) : code_(std::make_unique<Code>()) {
  TESSERA_CHECK(pattern.size() <= kMaxPattern, CorruptFile,
                "regular expression of {} bytes; expected at most {}", pattern.size(), kMaxPattern);
  code_->pattern = pattern;
  const std::string translated = Translator(pattern).run();
  int error = 0;
  PCRE2_SIZE offset = 0;
  const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  code_->pcre.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()),
                                  translated.size(), options, &error, &offset, nullptr));
  TESSERA_CHECK(code_->pcre, CorruptFile,
                "regular expression '{}': {} at byte {} of '{}'; expected a pattern that PCRE2 "
                "reads",
                pattern, message_of(error), offset, translated);
  pcre2_jit_compile(code_->pcre.get(), PCRE2_JIT_COMPLETE);  // without JIT: interpreted
}

Regex Regex::literal(std::string_view text) {
  std::string pattern;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x80) {
      pattern += fmt::format("\\x{{{:x}}}", static_cast<unsigned char>(c));
    } else {
      pattern += c;
    }
  }
  return Regex(pattern);
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

void Regex::find_all(std::string_view text,
                     const std::function<void(size_t, size_t)>& found) const {
  const std::optional<std::string> copy = substituted(text);
  const std::string_view subject = copy ? std::string_view(*copy) : text;
  const MatchData data(pcre2_match_data_create(1, nullptr));
  const MatchContext context(pcre2_match_context_create(nullptr));
  TESSERA_CHECK(data && context, OutOfMemory, "regular expression: out of memory");
  pcre2_set_match_limit(context.get(), kMatchLimit);
  pcre2_set_heap_limit(context.get(), kHeapLimitKib);
  JitStack stack;  // made when the small default does not do
  const PCRE2_SIZE* ovector = pcre2_get_ovector_pointer(data.get());
  size_t at = 0;
  std::optional<size_t> last_end;
  while (at <= subject.size()) {
    const int result =
        pcre2_match(code_->pcre.get(), reinterpret_cast<PCRE2_SPTR>(subject.data()), subject.size(),
                    at, PCRE2_NO_UTF_CHECK, data.get(), context.get());
    if (result == PCRE2_ERROR_NOMATCH) {
      return;
    }
    if (result == PCRE2_ERROR_JIT_STACKLIMIT && !stack) {
      stack.reset(pcre2_jit_stack_create(1 << 16, kJitStackMax, nullptr));
      TESSERA_CHECK(stack, OutOfMemory, "regular expression: out of memory");
      pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
      continue;
    }
    TESSERA_CHECK(result >= 0, InvalidArgument,
                  "regular expression '{}' on {} bytes of text: {}; shorten the text or simplify "
                  "the pattern",
                  code_->pattern, subject.size(), message_of(result));
    const size_t begin = ovector[0];
    const size_t end = ovector[1];
    TESSERA_CHECK(at <= begin && begin <= end, Unsupported,
                  "regular expression '{}': \\K that moves a match out of order is not supported",
                  code_->pattern);
    if (begin == end && last_end == end) {
      if (at == subject.size()) {
        return;
      }
      int length = 0;
      utf8_decode(subject.substr(at), &length);
      at += static_cast<size_t>(length);
      continue;
    }
    found(begin, end);
    at = end;
    last_end = end;
  }
}

}  // namespace tessera::text
