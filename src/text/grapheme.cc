// The rules of UAX #29, "Grapheme Cluster Boundary Rules" (Unicode 15.1 and later: with GB9c), over
// one cluster. No rule looks back beyond a cluster's start, so that the state starts anew there.
#include "text/grapheme.h"

#include "core/strings.h"
#include "text/unicode_data.h"

#include <algorithm>

namespace tessera::text {
namespace {

GraphemeClass class_of(char32_t c) {
  if (c >= 0x20 && c < 0x7F) {
    return GraphemeClass::kOther;
  }
  if (c >= 0xAC00 && c <= 0xD7A3) {
    return (c - 0xAC00) % 28 == 0 ? GraphemeClass::kHangulLV : GraphemeClass::kHangulLVT;
  }
  if (c >= 0x1F1E6 && c <= 0x1F1FF) {
    return GraphemeClass::kRegionalIndicator;
  }
  const auto found =
      std::lower_bound(kGrapheme.begin(), kGrapheme.end(), c,
                       [](const CodeMap& range, char32_t v) { return range.last < v; });
  return found != kGrapheme.end() && found->first <= c ? static_cast<GraphemeClass>(found->value)
                                                       : GraphemeClass::kOther;
}

class Cluster {
 public:
  /// Adds a character that must be the first, or that joins().
  void add(char32_t c, GraphemeClass kind) {
    using enum GraphemeClass;
    // Inside "pictograph, extenders, joiner" and "consonant, extenders with a linker among them".
    if (kind == kPictographic) {
      picture_ = Run::kOpen;
    } else if (kind == kJoiner && picture_ == Run::kOpen) {
      picture_ = Run::kReady;
    } else if (picture_ == Run::kReady ||
               (kind != kExtend && kind != kNonJoiner && kind != kLinker)) {
      picture_ = Run::kNone;
    }
    if (kind == kConsonant) {
      conjunct_ = Run::kOpen;
    } else if (kind == kLinker && conjunct_ != Run::kNone) {
      conjunct_ = Run::kReady;
    } else if (kind != kExtend && kind != kJoiner) {
      conjunct_ = Run::kNone;
    }
    flag_open_ = kind == kRegionalIndicator && !flag_open_;
    last_ = kind;
    last_char_ = c;
  }

  bool joins(char32_t c, GraphemeClass kind) const {
    using enum GraphemeClass;
    if (last_ == kControl || kind == kControl) {
      return last_char_ == U'\r' && c == U'\n';
    }
    switch (kind) {
      case kExtend:
      case kNonJoiner:
      case kJoiner:
      case kSpacingMark:
      case kLinker:
        return true;
      case kHangulL:
      case kHangulLV:
      case kHangulLVT:
        return last_ == kHangulL || last_ == kPrepend;
      case kHangulV:
        return last_ == kHangulL || last_ == kHangulV || last_ == kHangulLV || last_ == kPrepend;
      case kHangulT:
        return last_ == kHangulV || last_ == kHangulT || last_ == kHangulLV ||
               last_ == kHangulLVT || last_ == kPrepend;
      case kConsonant:
        return conjunct_ == Run::kReady || last_ == kPrepend;
      case kPictographic:
        return picture_ == Run::kReady || last_ == kPrepend;
      case kRegionalIndicator:
        return flag_open_ || last_ == kPrepend;
      default:
        return last_ == kPrepend;
    }
  }

 private:
  enum class Run { kNone, kOpen, kReady };
  GraphemeClass last_ = GraphemeClass::kOther;
  char32_t last_char_ = 0;
  Run picture_ = Run::kNone;
  Run conjunct_ = Run::kNone;
  bool flag_open_ = false;
};

}  // namespace

size_t grapheme_length(std::string_view text) {
  Cluster cluster;
  size_t size = 0;
  while (size < text.size()) {
    int length = 0;
    const char32_t c = utf8_decode(text.substr(size), &length);
    const GraphemeClass kind = class_of(c);
    if (size > 0 && !cluster.joins(c, kind)) {
      break;
    }
    cluster.add(c, kind);
    size += static_cast<size_t>(length);
  }
  return size;
}

}  // namespace tessera::text
