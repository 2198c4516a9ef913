// Methods of lists, tuples, dicts and numbers, the tests and the globals of templates. The
// environment is immutable: methods that would change a list or a dict are found, but raise when
// they are called. Sources: pallets/jinja 3.1 (sandbox, tests), huggingface/transformers 5.23
// (chat_template_utils: dict, namespace, raise_exception, strftime_now).
#include "text/jinja/objects.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>

namespace tessera::text::jinja {
namespace {

constexpr int64_t kMaxRange = 100'000;

template <size_t N>
bool one_of(std::string_view name, const std::array<std::string_view, N>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Value unsafe(const Value& value, std::string_view name) {
  return Value::undefined(
      fmt::format("access to attribute '{}' of '{}' object is unsafe", name, type_name(value)));
}

/// A method with its value and arguments bound to it.
template <class Body>
Value method(const Value& self, std::string_view name, Body body) {
  return make_function(
      std::string(name),
      [self, body](Interpreter& interpreter, Args args) {
        return body(interpreter, self, std::move(args));
      },
      self.depth() + 1);
}

Value sequence_method(const Value& value, std::string_view name) {
  constexpr std::array<std::string_view, 8> kChanging = {"append", "clear", "pop",    "reverse",
                                                         "insert", "sort",  "extend", "remove"};
  if (name == "count") {
    return method(value, name, [](Interpreter& interpreter, const Value& self, Args args) {
      const Bound bound("count", std::move(args), {"value"}, 1, true);
      int64_t count = 0;
      for (const Value& item : self.items()) {
        count += item.same_as(bound[0]) || equal(item, bound[0], interpreter.budget()) ? 1 : 0;
      }
      return Value::integer(count);
    });
  }
  if (name == "index") {
    return method(value, name, [](Interpreter& interpreter, const Value& self, Args args) {
      const Bound bound("index", std::move(args), {"value", "start", "stop"}, 1, true);
      const auto size = static_cast<int64_t>(self.items().size());
      const SliceRange range = slice_range(bound[1], bound[2], Value(), size);
      for (int64_t i = range.start; i < range.stop; ++i) {
        const Value& item = self.items()[static_cast<size_t>(i)];
        if (item.same_as(bound[0]) || equal(item, bound[0], interpreter.budget())) {
          return Value::integer(i);
        }
      }
      value_error(fmt::format("{} is not in list", repr(bound[0], interpreter.budget())));
    });
  }
  if (value.is(Kind::kTuple)) {
    if (value.is_named_tuple() && (name == "grouper" || name == "list")) {
      return value.items()[name == "list" ? 1 : 0];
    }
    return Value();
  }
  if (name == "copy") {
    return method(value, name, [](Interpreter& interpreter, const Value& self, Args args) {
      Bound("copy", std::move(args), {}, 0);
      interpreter.budget().charge(self.items().size());
      return Value::list(self.items());
    });
  }
  return one_of(name, kChanging) ? unsafe(value, name) : Value();
}

Value dict_from_keys(Interpreter& interpreter, Args args) {
  const Bound bound("fromkeys", std::move(args), {"iterable", "value"}, 1, true);
  Dict dict;
  for (const Value& key : list_of(bound[0], interpreter.budget())) {
    dict.set(key, bound.given(1) ? bound[1] : Value::none());
  }
  return Value::dict(std::move(dict));
}

Value dict_method(const Value& value, std::string_view name) {
  constexpr std::array<std::string_view, 5> kChanging = {"clear", "pop", "popitem", "setdefault",
                                                         "update"};
  constexpr std::array<std::string_view, 3> kViews = {"keys", "values", "items"};
  if (one_of(name, kViews)) {
    const auto what = name == "keys"     ? DictView::What::kKeys
                      : name == "values" ? DictView::What::kValues
                                         : DictView::What::kItems;
    return method(value, name, [what](Interpreter&, const Value& self, Args args) {
      Bound("dict view", std::move(args), {}, 0);
      return Value::object(std::make_shared<DictView>(self, what));
    });
  }
  if (name == "get") {
    return method(value, name, [](Interpreter&, const Value& self, Args args) {
      const Bound bound("get", std::move(args), {"key", "default"}, 1, true);
      const Value* found = self.as_dict().find(bound[0]);
      return found != nullptr ? *found : bound.given(1) ? bound[1] : Value::none();
    });
  }
  if (name == "copy") {
    return method(value, name, [](Interpreter& interpreter, const Value& self, Args args) {
      Bound("copy", std::move(args), {}, 0);
      interpreter.budget().charge(self.as_dict().size());
      return Value::dict(self.as_dict());
    });
  }
  if (name == "fromkeys") {
    return make_function("fromkeys", dict_from_keys);
  }
  return one_of(name, kChanging) ? unsafe(value, name) : Value();
}

Value number_method(const Value& value, std::string_view name) {
  if (name == "real" || name == "numerator" || name == "imag" || name == "denominator") {
    const bool rational = name == "numerator" || name == "denominator";
    if (rational && !value.is_whole()) {
      return Value();
    }
    const int64_t constant = name == "denominator" ? 1 : 0;
    if (name == "real" || name == "numerator") {
      return positive(value);
    }
    return value.is_whole() ? Value::integer(constant) : Value::number(0);
  }
  if (name == "is_integer" && value.is(Kind::kFloat)) {
    return method(value, name, [](Interpreter&, const Value& self, Args args) {
      Bound("is_integer", std::move(args), {}, 0);
      return Value::boolean(std::floor(self.as_double()) == self.as_double());
    });
  }
  if (name == "bit_length" && value.is_whole()) {
    return method(value, name, [](Interpreter&, const Value& self, Args args) {
      Bound("bit_length", std::move(args), {}, 0);
      uint64_t magnitude = static_cast<uint64_t>(self.as_int());
      magnitude = self.as_int() < 0 ? 0 - magnitude : magnitude;
      int64_t bits = 0;
      for (; magnitude > 0; magnitude >>= 1) {
        ++bits;
      }
      return Value::integer(bits);
    });
  }
  return Value();
}

}  // namespace

Value find_method(const Value& value, std::string_view name) {
  switch (value.kind()) {
    case Kind::kString:
      if (!is_text_method(name)) {
        constexpr std::array<std::string_view, 4> kMissing = {"encode", "translate", "maketrans",
                                                              "isidentifier"};
        if (one_of(name, kMissing)) {
          throw EvalError{ErrorKind::kUnsupported, fmt::format("the method '{}' of strings", name)};
        }
        return Value();
      }
      return make_function(std::string(name),
                           [value, name = std::string(name)](Interpreter& interpreter, Args args) {
                             return call_text_method(interpreter, value, name, std::move(args));
                           });
    case Kind::kList:
    case Kind::kTuple:
      return sequence_method(value, name);
    case Kind::kDict:
      return dict_method(value, name);
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
      return number_method(value, name);
    default:
      return Value();
  }
}

// ---- tests ------------------------------------------------------------------------------------

namespace {

using TestFunction = bool (*)(Interpreter&, const Value&, Args);

bool is_kind(const Value& value, std::string_view test) {
  return test == "none"      ? value.is(Kind::kNone)
         : test == "boolean" ? value.is(Kind::kBool)
         : test == "true"    ? value.is(Kind::kBool) && value.as_bool()
         : test == "false"   ? value.is(Kind::kBool) && !value.as_bool()
         : test == "integer" ? value.is(Kind::kInt)
         : test == "float"   ? value.is(Kind::kFloat)
         : test == "number"  ? value.is_number()
         : test == "string"  ? value.is(Kind::kString)
         : test == "mapping" ? value.is(Kind::kDict)
         : test == "defined" ? !value.is(Kind::kUndefined)
         : test == "escaped" ? value.is_markup()
                             : value.is(Kind::kUndefined);
}

bool is_sequence(const Value& value) {
  if (value.is(Kind::kObject)) {
    return value.as_object().has_getitem();
  }
  return value.is(Kind::kString) || value.is_sequence() || value.is(Kind::kDict) ||
         value.is(Kind::kUndefined);
}

int64_t remainder(Interpreter& interpreter, const Value& value, int64_t by) {
  const Value rest = apply(Operator::kMod, value, Value::integer(by), interpreter.budget());
  if (rest.is(Kind::kString)) {  // "odd" % 2 formats
    return -1;
  }
  return rest.is(Kind::kFloat) ? (rest.as_double() == 1   ? 1
                                  : rest.as_double() == 0 ? 0
                                                          : -1)
                               : rest.as_int();
}

template <Order order>
bool ordered(Interpreter& interpreter, const Value& value, Args args) {
  const Bound bound("test", std::move(args), {"other"}, 1, true);
  return compare(value, order, bound[0], interpreter.budget());
}

bool test_equal(Interpreter& interpreter, const Value& value, Args args) {
  const Bound bound("eq", std::move(args), {"other"}, 1, true);
  return equal(value, bound[0], interpreter.budget());
}

bool test_not_equal(Interpreter& interpreter, const Value& value, Args args) {
  return !test_equal(interpreter, value, std::move(args));
}

bool has_case(Interpreter& interpreter, const Value& value, std::string_view name) {
  const Value text = Value::string(to_text(value, interpreter.budget()));
  return call_text_method(interpreter, text, name, {}).as_bool();
}

const std::unordered_map<std::string_view, TestFunction>& tests() {
  static const std::unordered_map<std::string_view, TestFunction> kTests = [] {
    std::unordered_map<std::string_view, TestFunction> out;
    out["=="] = out["eq"] = out["equalto"] = test_equal;
    out["!="] = out["ne"] = test_not_equal;
    out["<"] = out["lt"] = out["lessthan"] = ordered<Order::kLess>;
    out["<="] = out["le"] = ordered<Order::kLessEqual>;
    out[">"] = out["gt"] = out["greaterthan"] = ordered<Order::kGreater>;
    out[">="] = out["ge"] = ordered<Order::kGreaterEqual>;
    out["odd"] = [](Interpreter& interpreter, const Value& value, Args args) {
      Bound("odd", std::move(args), {}, 0);
      return remainder(interpreter, value, 2) == 1;
    };
    out["even"] = [](Interpreter& interpreter, const Value& value, Args args) {
      Bound("even", std::move(args), {}, 0);
      return remainder(interpreter, value, 2) == 0;
    };
    out["divisibleby"] = [](Interpreter& interpreter, const Value& value, Args args) {
      const Bound bound("divisibleby", std::move(args), {"num"}, 1);
      const Value rest = apply(Operator::kMod, value, bound[0], interpreter.budget());
      return rest.is_number() && rest.as_double() == 0;
    };
    out["in"] = [](Interpreter& interpreter, const Value& value, Args args) {
      const Bound bound("in", std::move(args), {"seq"}, 1);
      return contains(bound[0], value, interpreter.budget());
    };
    out["sameas"] = [](Interpreter&, const Value& value, Args args) {
      const Bound bound("sameas", std::move(args), {"other"}, 1);
      return value.same_as(bound[0]);
    };
    out["filter"] = [](Interpreter&, const Value& value, Args args) {
      Bound("filter", std::move(args), {}, 0);
      return value.is(Kind::kString) && is_filter(value.as_string());
    };
    out["test"] = [](Interpreter&, const Value& value, Args args) {
      Bound("test", std::move(args), {}, 0);
      return value.is(Kind::kString) && is_test(value.as_string());
    };
    out["lower"] = [](Interpreter& interpreter, const Value& value, Args args) {
      Bound("lower", std::move(args), {}, 0);
      return has_case(interpreter, value, "islower");
    };
    out["upper"] = [](Interpreter& interpreter, const Value& value, Args args) {
      Bound("upper", std::move(args), {}, 0);
      return has_case(interpreter, value, "isupper");
    };
    out["sequence"] = [](Interpreter&, const Value& value, Args args) {
      Bound("sequence", std::move(args), {}, 0);
      return is_sequence(value);
    };
    out["iterable"] = [](Interpreter&, const Value& value, Args args) {
      Bound("iterable", std::move(args), {}, 0);
      return try_iterate(value) != nullptr;
    };
    out["callable"] = [](Interpreter&, const Value& value, Args args) {
      Bound("callable", std::move(args), {}, 0);
      return value.is(Kind::kUndefined) ||
             (value.is(Kind::kObject) && value.as_object().callable());
    };
    return out;
  }();
  return kTests;
}

constexpr std::array<std::string_view, 12> kKindTests = {
    "none",   "boolean", "true",    "false",   "integer", "float",
    "number", "string",  "mapping", "defined", "escaped", "undefined"};

}  // namespace

bool is_test(std::string_view name) {
  return one_of(name, kKindTests) || tests().contains(name);
}

bool call_test(std::string_view name, Interpreter& interpreter, const Value& value, Args args) {
  if (one_of(name, kKindTests)) {
    Bound(name, std::move(args), {}, 0);
    return is_kind(value, name);
  }
  const auto found = tests().find(name);
  if (found == tests().end()) {
    throw EvalError{ErrorKind::kOther, fmt::format("No test named '{}'", name)};
  }
  return found->second(interpreter, value, std::move(args));
}

// ---- globals ----------------------------------------------------------------------------------

namespace {

Value make_range(Interpreter&, Args args) {
  const Bound bound("range", std::move(args), {"start", "stop", "step"}, 1, true);
  const int64_t first = bound.integer(0, 0);
  const int64_t start = bound.given(1) ? first : 0;
  const int64_t stop = bound.given(1) ? bound.integer(1, 0) : first;
  const int64_t step = bound.integer(2, 1);
  if (step == 0) {
    value_error("range() arg 3 must not be zero");
  }
  __int128 count = 0;
  if (step > 0 && start < stop) {
    count = (static_cast<__int128>(stop) - start - 1) / step + 1;
  } else if (step < 0 && start > stop) {
    count = (static_cast<__int128>(start) - stop - 1) / -static_cast<__int128>(step) + 1;
  }
  if (count > kMaxRange) {
    throw EvalError{ErrorKind::kOverflow,
                    fmt::format("Range too big: at most {} elements are allowed", kMaxRange)};
  }
  return Value::object(std::make_shared<Range>(start, stop, step, static_cast<int64_t>(count)));
}

/// `dict(...)`: from a mapping, from pairs, and from keywords.
Dict make_dict(Interpreter& interpreter, Args args) {
  Dict dict;
  if (args.positional.size() > 1) {
    type_error("dict expected at most 1 argument");
  }
  if (!args.positional.empty() && args.positional[0].is(Kind::kDict)) {
    dict = args.positional[0].as_dict();
    interpreter.budget().charge(dict.size());
  } else if (!args.positional.empty()) {
    for (const Value& item : list_of(args.positional[0], interpreter.budget())) {
      const List pair = list_of(item, interpreter.budget());
      if (pair.size() != 2) {
        value_error("dictionary update sequence element must have length 2");
      }
      dict.set(pair[0], pair[1]);
    }
  }
  for (auto& [name, value] : args.named) {
    dict.set(name, std::move(value));
  }
  return dict;
}

/// The `dict` of the environment, which has `fromkeys` too.
class DictGlobal : public Object {
 public:
  std::string type_name() const override { return "TemplateDict"; }
  std::string repr(Budget&) const override { return "<TemplateDict object>"; }
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, Args args) override {
    return Value::dict(make_dict(interpreter, std::move(args)));
  }
  Value attribute(Interpreter&, std::string_view name) override {
    return name == "fromkeys" ? make_function("fromkeys", dict_from_keys) : Value();
  }
};

/// `self` of a template without blocks.
class TemplateReference : public Object {
 public:
  std::string type_name() const override { return "TemplateReference"; }
  std::string repr(Budget&) const override { return "<TemplateReference None>"; }
};

Value make_namespace(Interpreter& interpreter, Args args) {
  Dict attributes = make_dict(interpreter, std::move(args));
  for (const auto& [key, value] : attributes.entries()) {
    if (key.is(Kind::kString) && key.as_string().starts_with('_')) {
      Namespace({}).set(key.as_string(), Value::none());  // raises
    }
  }
  return interpreter.make_namespace(std::move(attributes));
}

Value raise_exception(Interpreter& interpreter, Args args) {
  const Bound bound("raise_exception", std::move(args), {"message"}, 1);
  throw EvalError{ErrorKind::kRaised, to_text(bound[0], interpreter.budget())};
}

Value strftime_now(Interpreter& interpreter, Args args) {
  const Bound bound("strftime_now", std::move(args), {"format"}, 1);
  std::string format;
  const std::string& asked = bound.string(0);
  for (size_t i = 0; i < asked.size(); ++i) {
    const char next = asked[i] == '%' && i + 1 < asked.size() ? asked[i + 1] : '\0';
    if (next == 'f') {  // what a datetime without a zone says: no microseconds here, and no zone
      format += "000000";
      ++i;
    } else if (next == 'z' || next == 'Z') {
      ++i;
    } else {
      format += asked[i];
      if (next == '%') {
        format += asked[++i];
      }
    }
  }
  if (format.empty()) {
    return Value::string("");
  }
  interpreter.budget().charge_text(format.size() * 64);
  format += 'x';  // tells an empty result from a full buffer
  std::string out(format.size() * 64 + 256, '\0');
  const size_t size = std::strftime(out.data(), out.size(), format.c_str(), &interpreter.now());
  if (size == 0) {
    throw EvalError{ErrorKind::kLimit, "strftime_now: the date is too long"};
  }
  out.resize(size - 1);
  return Value::string(std::move(out));
}

Value lipsum(Interpreter&, Args) {
  throw EvalError{ErrorKind::kUnsupported, "lipsum, which is random"};
}

Value make_cycler(Interpreter&, Args args) {
  if (args.positional.empty() || !args.named.empty()) {
    throw EvalError{ErrorKind::kOther, "at least one item has to be provided"};
  }
  return Value::object(std::make_shared<Cycler>(std::move(args.positional)));
}

Value make_joiner(Interpreter&, Args args) {
  const Bound bound("joiner", std::move(args), {"sep"}, 0);
  return Value::object(std::make_shared<Joiner>(bound.given(0) ? bound[0] : Value::string(", ")));
}

}  // namespace

Value find_global(std::string_view name) {
  using Maker = Value (*)(Interpreter&, Args);
  static const std::unordered_map<std::string_view, Maker> kGlobals = {
      {"range", make_range},
      {"namespace", make_namespace},
      {"raise_exception", raise_exception},
      {"strftime_now", strftime_now},
      {"lipsum", lipsum},
      {"cycler", make_cycler},
      {"joiner", make_joiner},
  };
  if (name == "dict") {
    return Value::object(std::make_shared<DictGlobal>());
  }
  if (name == "self") {
    return Value::object(std::make_shared<TemplateReference>());
  }
  const auto found = kGlobals.find(name);
  return found != kGlobals.end() ? make_function(std::string(name), found->second) : Value();
}

}  // namespace tessera::text::jinja
