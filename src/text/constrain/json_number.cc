// Numbers in ranges as grammars over decimal digits. A bound is an exact decimal; "at least" and
// "at most" compare digit by digit, and a range is the intersection of both. Bounded numbers have
// no exponent, and few enough digits that reading them as a double does not move them over the
// bound.
#include "core/error.h"
#include "text/constrain/json_text.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>
#include <vector>

namespace tessera::constrain {
namespace {

using Expr = GrammarBuilder::Expr;
using Builder = GrammarBuilder;

constexpr size_t kMaxIntegerDigits = 18;
constexpr size_t kExactDigits = 15;  // that a double keeps apart
constexpr size_t kMaxFractionDigits = 12;

/// |value| = integer.fraction; no needless zeros.
struct Decimal {
  bool negative = false;
  std::string integer;
  std::string fraction;

  bool is_zero() const { return integer == "0" && fraction.empty(); }
};

Decimal decimal(const io::OrderedJson& number) {
  const std::string text = number.dump();
  Decimal out;
  std::string digits;
  int point = -1;
  int exponent = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '-') {
      out.negative = true;
    } else if (text[i] == '.') {
      point = static_cast<int>(digits.size());
    } else if (text[i] == 'e') {
      const size_t skip = text[i + 1] == '+' ? 2 : 1;
      std::from_chars(text.data() + i + skip, text.data() + text.size(), exponent);
      break;
    } else {
      digits.push_back(text[i]);
    }
  }
  point = (point < 0 ? static_cast<int>(digits.size()) : point) + exponent;
  if (point < 0) {
    digits.insert(0, static_cast<size_t>(-point), '0');
    point = 0;
  }
  digits.append(std::max<size_t>(static_cast<size_t>(point), digits.size()) - digits.size(), '0');
  out.integer = digits.substr(0, static_cast<size_t>(point));
  out.fraction = digits.substr(static_cast<size_t>(point));
  out.integer.erase(0, std::min(out.integer.find_first_not_of('0'), out.integer.size()));
  out.fraction.erase(out.fraction.find_last_not_of('0') + 1);
  if (out.integer.empty()) {
    out.integer = "0";
  }
  return out;
}

std::string plus_one(std::string digits) {
  for (size_t i = digits.size(); i-- > 0;) {
    if (digits[i] != '9') {
      ++digits[i];
      return digits;
    }
    digits[i] = '0';
  }
  return "1" + digits;
}

/// `digits` is not "0".
std::string minus_one(std::string digits) {
  size_t i = digits.size();
  while (digits[--i] == '0') {
    digits[i] = '9';
  }
  --digits[i];
  if (digits[0] == '0' && digits.size() > 1) {
    digits.erase(0, 1);
  }
  return digits;
}

/// Texts of non-negative numbers within bounds.
class Digits {
 public:
  explicit Digits(Builder& builder) : b_(builder) {}

  /// Integers from `low` to `high` (endless when empty).
  Expr integers(const std::string& low, const std::string& high) {
    if (!high.empty() && (high.size() < low.size() || (high.size() == low.size() && high < low))) {
      return b_.never();
    }
    if (high.size() == low.size()) {
      return same_length(low, high);
    }
    std::vector<Expr> all = {at_least(low)};
    const size_t last =
        high.empty() ? std::max(kMaxIntegerDigits, low.size() + 1) : high.size() - 1;
    if (low.size() + 1 <= last) {
      all.push_back(b_.sequence({digit('1', '9'), any(low.size(), last - 1)}));
    }
    if (!high.empty()) {
      all.push_back(same_length("1" + std::string(high.size() - 1, '0'), high));
    }
    return b_.choice(std::move(all));
  }

  /// Numbers >= (or >) `bound`.
  Expr from(const Decimal& bound, bool exclusive) {
    return b_.choice(
        {b_.sequence({integers(plus_one(bound.integer), ""), any_fraction(kMaxFractionDigits)}),
         b_.sequence({b_.bytes(bound.integer), fraction_from(bound, exclusive)})});
  }

  /// Numbers <= (or <) `bound`.
  Expr up_to(const Decimal& bound, bool exclusive) {
    std::vector<Expr> all;
    if (bound.integer != "0") {
      all.push_back(
          b_.sequence({integers("0", minus_one(bound.integer)), any_fraction(room(bound))}));
    }
    if (!bound.fraction.empty() || !exclusive) {
      all.push_back(b_.sequence({b_.bytes(bound.integer), fraction_up_to(bound, exclusive)}));
    }
    return b_.choice(std::move(all));
  }

 private:
  Expr digit(char first, char last) {
    return first <= last ? b_.chars({static_cast<char32_t>(first), static_cast<char32_t>(last)})
                         : b_.never();
  }
  Expr any(size_t min, size_t max) {
    return b_.repeat(digit('0', '9'), static_cast<uint32_t>(min), static_cast<uint32_t>(max));
  }
  Expr any(size_t count) { return any(count, count); }

  /// As many digits as `low`, and not below it.
  Expr at_least(const std::string& low, size_t at = 0) {
    if (at == low.size()) {
      return b_.empty();
    }
    return b_.choice(
        {b_.sequence({digit(static_cast<char>(low[at] + 1), '9'), any(low.size() - at - 1)}),
         b_.sequence({digit(low[at], low[at]), at_least(low, at + 1)})});
  }
  Expr at_most(const std::string& high, size_t at = 0) {
    if (at == high.size()) {
      return b_.empty();
    }
    return b_.choice(
        {b_.sequence({digit('0', static_cast<char>(high[at] - 1)), any(high.size() - at - 1)}),
         b_.sequence({digit(high[at], high[at]), at_most(high, at + 1)})});
  }
  Expr same_length(const std::string& low, const std::string& high) {
    size_t shared = 0;
    while (shared < low.size() && low[shared] == high[shared]) {
      ++shared;
    }
    if (shared == low.size()) {
      return b_.bytes(low);
    }
    const Expr between =
        b_.sequence({digit(static_cast<char>(low[shared] + 1), static_cast<char>(high[shared] - 1)),
                     any(low.size() - shared - 1)});
    return b_.sequence(
        {b_.bytes(low.substr(0, shared)),
         b_.choice({between,
                    b_.sequence({digit(low[shared], low[shared]), at_least(low, shared + 1)}),
                    b_.sequence({digit(high[shared], high[shared]), at_most(high, shared + 1)})})});
  }

  /// Digits after the point that keep the whole exact.
  static size_t room(const Decimal& bound) {
    const size_t used = std::min(bound.integer.size(), kExactDigits - 1);
    return std::min(kExactDigits - used, kMaxFractionDigits);
  }
  Expr any_fraction(size_t digits) {
    return b_.optional(b_.sequence({b_.bytes("."), any(1, digits)}));
  }
  Expr zeros(size_t max) { return b_.repeat(b_.bytes("0"), 0, static_cast<uint32_t>(max)); }

  Expr fraction_from(const Decimal& bound, bool exclusive) {
    const std::string& digits = bound.fraction;
    const size_t width = std::max(room(bound), digits.size() + 1);
    if (digits.empty() && !exclusive) {
      return any_fraction(width);
    }
    // From the last digit to the first: what may follow the digits that are equal so far.
    const size_t left = width - digits.size();
    Expr rest =
        exclusive ? b_.sequence({zeros(left - 1), digit('1', '9'), any(0, left)}) : any(0, left);
    for (size_t at = digits.size(); at-- > 0;) {
      rest = b_.choice(
          {b_.sequence({digit(static_cast<char>(digits[at] + 1), '9'), any(0, width - at - 1)}),
           b_.sequence({digit(digits[at], digits[at]), rest})});
    }
    return b_.sequence({b_.bytes("."), rest});
  }

  Expr fraction_up_to(const Decimal& bound, bool exclusive) {
    const std::string& digits = bound.fraction;
    const size_t width = std::max(room(bound), digits.size());
    if (digits.empty()) {
      return b_.optional(b_.sequence({b_.bytes("."), b_.bytes("0"), zeros(width - 1)}));
    }
    Expr rest = exclusive ? b_.never() : zeros(width - digits.size());
    for (size_t at = digits.size(); at-- > 0;) {
      const Expr equal = b_.sequence({digit(digits[at], digits[at]), rest});
      const Expr below =
          b_.sequence({digit('0', static_cast<char>(digits[at] - 1)), any(0, width - at - 1)});
      rest = b_.choice({equal, below});
      if (at > 0) {
        rest = b_.optional(rest);  // shorter is smaller
      }
    }
    return b_.optional(b_.sequence({b_.bytes("."), rest}));
  }

  Builder& b_;
};

/// The bound as an integer that is itself allowed: rounded into the range.
struct IntegerBound {
  bool negative;
  std::string digits;
};

IntegerBound round_in(const JsonBound& bound, bool is_low) {
  const Decimal d = decimal(bound.value);
  IntegerBound out{d.negative && d.integer != "0", d.integer};
  const bool whole = d.fraction.empty();
  const bool outward = d.negative != is_low;  // towards larger magnitude
  if (whole ? bound.exclusive : true) {
    if (outward) {
      out.digits = plus_one(d.integer);
      out.negative = d.negative;
    } else if (whole) {
      if (d.integer == "0") {
        return {!is_low, "1"};
      }
      out.digits = minus_one(d.integer);
      out.negative = d.negative && out.digits != "0";
    }
  }
  return out;
}

}  // namespace

JsonText::Expr JsonText::integer(const std::optional<JsonBound>& low,
                                 const std::optional<JsonBound>& high) {
  Digits digits(builder_);
  std::optional<IntegerBound> from;
  std::optional<IntegerBound> to;
  if (low) {
    from = round_in(*low, true);
  }
  if (high) {
    to = round_in(*high, false);
  }
  std::vector<Expr> all;
  if (!to || !to->negative) {
    all.push_back(
        digits.integers(from && !from->negative ? from->digits : "0", to ? to->digits : ""));
  }
  if (!from || from->negative) {
    all.push_back(builder_.sequence(
        {builder_.bytes("-"),
         digits.integers(to && to->negative ? to->digits : "1", from ? from->digits : "")}));
  }
  return builder_.choice(std::move(all));
}

JsonText::Expr JsonText::number(const std::optional<JsonBound>& low,
                                const std::optional<JsonBound>& high) {
  Digits digits(builder_);
  const CharSet decimal_digits('0', '9');
  CharSet exponent_letters('e');
  exponent_letters.add('E', 'E');
  CharSet signs('+');
  signs.add('-', '-');
  const auto some_digits = [&](uint32_t max) {
    return builder_.repeat(builder_.chars(decimal_digits), 1, max);
  };
  const Expr free = builder_.sequence(
      {digits.integers("0", ""),
       builder_.optional(builder_.sequence({builder_.bytes("."), some_digits(17)})),
       builder_.optional(
           builder_.sequence({builder_.chars(exponent_letters),
                              builder_.optional(builder_.chars(signs)), some_digits(2)}))});
  // Magnitudes between two bounds; a missing one does not restrict.
  struct Bound {
    Decimal value;
    bool exclusive;
  };
  const auto between = [&](const std::optional<Bound>& from, const std::optional<Bound>& to) {
    if (!from && !to) {
      return free;
    }
    if (from && to) {
      return builder_.intersect(digits.from(from->value, from->exclusive),
                                digits.up_to(to->value, to->exclusive));
    }
    return from ? digits.from(from->value, from->exclusive)
                : digits.up_to(to->value, to->exclusive);
  };
  std::optional<Bound> from;
  std::optional<Bound> to;
  if (low) {
    from = Bound{decimal(low->value), low->exclusive};
  }
  if (high) {
    to = Bound{decimal(high->value), high->exclusive};
  }
  const auto is_below_zero = [](const Bound& bound) {
    return bound.value.negative && !bound.value.is_zero();
  };
  std::vector<Expr> all;
  if (!to || !is_below_zero(*to)) {
    all.push_back(between(from && !is_below_zero(*from) ? from : std::nullopt, to));
  }
  if (!from || is_below_zero(*from)) {
    const bool ends_below = to && (is_below_zero(*to) || (to->value.is_zero() && to->exclusive));
    all.push_back(
        builder_.sequence({builder_.bytes("-"), between(ends_below ? to : std::nullopt, from)}));
  }
  return builder_.choice(std::move(all));
}

}  // namespace tessera::constrain
