// Filters on lists, dicts and other iterables. `map`, `select`, `unique` … give generators as in
// the reference: they are read once, work item by item, have no length and are always true. Source:
// pallets/jinja 3.1, filters.
#include "text/jinja/objects.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace tessera::text::jinja {
namespace {

[[noreturn]] void filter_error(std::string message) {
  throw EvalError{ErrorKind::kOther, std::move(message)};
}

Value ignore_case(Value value) {
  return value.is(Kind::kString) ? Value::string(to_lower(value.as_string())) : value;
}

/// The parts of an attribute path: "a.0" is "a", 0.
List path_parts(const Value& path) {
  if (path.missing() || path.is(Kind::kNone)) {
    return {};
  }
  if (!path.is(Kind::kString)) {
    return {path};
  }
  List parts;
  std::string_view text = path.as_string();
  while (true) {
    const size_t dot = text.find('.');
    const std::string_view part = text.substr(0, dot);
    const bool digits =
        !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    parts.push_back(digits ? Value::integer(parse_integer(part, 10).value_or(0))
                           : Value::string(std::string(part)));
    if (dot == std::string_view::npos) {
      return parts;
    }
    text.remove_prefix(dot + 1);
  }
}

/// Looks up an attribute in items, as `make_attrgetter` of the reference.
class Getter {
 public:
  Getter(Interpreter& interpreter, const Value& path, bool fold_case, Value fallback = Value())
      : interpreter_(interpreter),
        parts_(path_parts(path)),
        fold_case_(fold_case),
        fallback_(std::move(fallback)) {}

  Value operator()(Value item) const {
    for (const Value& part : parts_) {
      item = interpreter_.get_item(item, part);
      if (item.is(Kind::kUndefined) && !fallback_.missing() && !fallback_.is(Kind::kNone)) {
        item = fallback_;
      }
    }
    return fold_case_ ? ignore_case(std::move(item)) : item;
  }

 private:
  Interpreter& interpreter_;
  List parts_;
  bool fold_case_;
  Value fallback_;
};

struct Keyed {
  Value key;
  Value item;
};

List sorted_items(std::vector<Keyed> items, bool reverse, Budget& budget) {
  if (reverse) {  // equal ones keep their order
    std::reverse(items.begin(), items.end());
  }
  std::stable_sort(items.begin(), items.end(),
                   [&](const Keyed& a, const Keyed& b) { return less(a.key, b.key, budget); });
  if (reverse) {
    std::reverse(items.begin(), items.end());
  }
  List out;
  for (Keyed& item : items) {
    out.push_back(std::move(item.item));
  }
  return out;
}

/// An iterator over `value` that is made when it is first read.
std::function<Value()> reader(const Value& value) {
  auto iterator = std::make_shared<std::unique_ptr<Iterator>>();
  return [value, iterator] {
    if (*iterator == nullptr) {
      *iterator = iterate(value);
    }
    return (*iterator)->next();
  };
}

int depth_of(const Value& value, const Args& args) {
  int depth = value.depth();
  for (const Value& item : args.positional) {
    depth = std::max(depth, item.depth());
  }
  for (const auto& [name, item] : args.named) {
    depth = std::max(depth, item.depth());
  }
  return depth + 1;
}

// ---- length, ends, order ----------------------------------------------------------------------

Value filter_length(Interpreter&, const Value& value, Args args) {
  Bound("length", std::move(args), {}, 0);
  return Value::integer(length_of(value));
}

Value filter_list(Interpreter& interpreter, const Value& value, Args args) {
  Bound("list", std::move(args), {}, 0);
  return Value::list(list_of(value, interpreter.budget()));
}

Value filter_first(Interpreter&, const Value& value, Args args) {
  Bound("first", std::move(args), {}, 0);
  const Value item = iterate(value)->next();
  return item.missing() ? Value::undefined("No first item, sequence was empty.") : item;
}

/// Python's reversed(); null for what has no order to turn.
std::unique_ptr<Iterator> reversed(const Value& value, Budget& budget) {
  if (value.is(Kind::kObject)) {
    return value.as_object().reversed();
  }
  List items;
  if (value.is_sequence() || value.is(Kind::kString) || value.is(Kind::kDict) ||
      value.is(Kind::kUndefined)) {
    items = list_of(value, budget);
  } else {
    return nullptr;
  }
  std::reverse(items.begin(), items.end());
  return iterate(Value::list(std::move(items)));
}

Value filter_last(Interpreter& interpreter, const Value& value, Args args) {
  Bound("last", std::move(args), {}, 0);
  if (value.is_sequence() && !value.items().empty()) {
    return value.items().back();
  }
  const auto iterator = reversed(value, interpreter.budget());
  if (iterator == nullptr) {
    type_error(fmt::format("'{}' object is not reversible", type_name(value)));
  }
  const Value item = iterator->next();
  return item.missing() ? Value::undefined("No last item, sequence was empty.") : item;
}

Value filter_reverse(Interpreter& interpreter, const Value& value, Args args) {
  Bound("reverse", std::move(args), {}, 0);
  if (value.is(Kind::kString)) {
    return slice(value, Value(), Value(), Value::integer(-1), interpreter.budget());
  }
  auto iterator = std::shared_ptr<Iterator>(reversed(value, interpreter.budget()));
  if (iterator != nullptr) {
    return make_generator(
        interpreter, [iterator] { return iterator->next(); }, value.depth() + 1);
  }
  if (try_iterate(value) == nullptr) {
    filter_error("argument must be iterable");
  }
  List items = list_of(value, interpreter.budget());
  std::reverse(items.begin(), items.end());
  return Value::list(std::move(items));
}

Value filter_sort(Interpreter& interpreter, const Value& value, Args args) {
  const Bound bound("sort", std::move(args), {"reverse", "case_sensitive", "attribute"}, 0);
  const bool fold_case = !bound.flag(1, false);
  std::vector<Getter> getters;
  if (bound.given(2) && bound[2].is(Kind::kString)) {
    std::string_view paths = bound[2].as_string();
    for (bool more = true; more;) {
      const size_t comma = paths.find(',');
      getters.emplace_back(interpreter, Value::string(std::string(paths.substr(0, comma))),
                           fold_case);
      more = comma != std::string_view::npos;
      paths.remove_prefix(more ? comma + 1 : paths.size());
    }
  } else {
    getters.emplace_back(interpreter, bound[2], fold_case);
  }
  std::vector<Keyed> items;
  for (Value& item : list_of(value, interpreter.budget())) {
    List keys;
    for (const Getter& getter : getters) {
      keys.push_back(getter(item));
    }
    items.push_back({Value::list(std::move(keys)), std::move(item)});
  }
  return Value::list(sorted_items(std::move(items), bound.flag(0, false), interpreter.budget()));
}

Value filter_dict_sort(Interpreter& interpreter, const Value& value, Args args) {
  const Bound bound("dictsort", std::move(args), {"case_sensitive", "by", "reverse"}, 0);
  const std::string by = bound.given(1) ? bound.string(1) : "key";
  if (by != "key" && by != "value") {
    filter_error("You can only sort by either \"key\" or \"value\"");
  }
  if (value.is(Kind::kUndefined)) {
    throw EvalError{ErrorKind::kUndefined, value.as_string()};
  }
  if (!value.is(Kind::kDict)) {
    type_error(fmt::format("'{}' object has no attribute 'items'", type_name(value)));
  }
  std::vector<Keyed> items;
  interpreter.budget().charge(value.as_dict().size());
  for (const auto& [key, item] : value.as_dict().entries()) {
    const Value& chosen = by == "key" ? key : item;
    items.push_back(
        {bound.flag(0, false) ? chosen : ignore_case(chosen), Value::tuple({key, item})});
  }
  return Value::list(sorted_items(std::move(items), bound.flag(2, false), interpreter.budget()));
}

Value extreme(Interpreter& interpreter, const Value& value, Args args, bool greatest) {
  const Bound bound(greatest ? "max" : "min", std::move(args), {"case_sensitive", "attribute"}, 0);
  const Getter getter(interpreter, bound[1], !bound.flag(0, false));
  const auto iterator = iterate(value);
  Value best = iterator->next();
  if (best.missing()) {
    return Value::undefined("No aggregated item, sequence was empty.");
  }
  Value best_key = getter(best);
  for (Value item = iterator->next(); !item.missing(); item = iterator->next()) {
    Value key = getter(item);
    if (greatest ? compare(key, Order::kGreater, best_key, interpreter.budget())
                 : less(key, best_key, interpreter.budget())) {
      best = std::move(item);
      best_key = std::move(key);
    }
  }
  return best;
}

Value filter_min(Interpreter& interpreter, const Value& value, Args args) {
  return extreme(interpreter, value, std::move(args), false);
}

Value filter_max(Interpreter& interpreter, const Value& value, Args args) {
  return extreme(interpreter, value, std::move(args), true);
}

Value filter_sum(Interpreter& interpreter, const Value& value, Args args) {
  const Bound bound("sum", std::move(args), {"attribute", "start"}, 0);
  const Getter getter(interpreter, bound[0], false);
  Value total = bound.given(1) ? bound[1] : Value::integer(0);
  if (total.is(Kind::kString)) {
    type_error("sum() can't sum strings");
  }
  const auto iterator = iterate(value);
  for (Value item = iterator->next(); !item.missing(); item = iterator->next()) {
    total = apply(Operator::kAdd, total, getter(item), interpreter.budget());
  }
  return total;
}

Value filter_join(Interpreter& interpreter, const Value& value, Args args) {
  const Bound bound("join", std::move(args), {"d", "attribute"}, 0);
  Budget& budget = interpreter.budget();
  const std::string separator = bound.given(0) ? to_text(bound[0], budget) : "";
  const Getter getter(interpreter, bound[1], false);
  const auto iterator = iterate(value);
  std::string out;
  bool first = true;
  for (Value item = iterator->next(); !item.missing(); item = iterator->next(), first = false) {
    const std::string text = to_text(getter(item), budget);
    budget.charge_text(text.size() + separator.size());
    out += first ? "" : separator;
    out += text;
    if (out.size() > budget.text) {
      budget.charge_text(out.size());
    }
  }
  return Value::string(std::move(out));
}

// ---- generators -------------------------------------------------------------------------------

Value filter_unique(Interpreter& interpreter, const Value& value, Args args) {
  const int depth = depth_of(value, args);
  const Bound bound("unique", std::move(args), {"case_sensitive", "attribute"}, 0);
  const Getter getter(interpreter, bound[1], !bound.flag(0, false));
  auto seen = std::make_shared<Dict>();
  return make_generator(
      interpreter,
      [read = reader(value), getter, seen] {
        while (true) {
          Value item = read();
          if (item.missing()) {
            return item;
          }
          const Value key = getter(item);
          if (seen->find(key) == nullptr) {
            seen->set(key, Value::none());
            return item;
          }
        }
      },
      depth);
}

Value filter_items(Interpreter& interpreter, const Value& value, Args args) {
  Bound("items", std::move(args), {}, 0);
  const auto view = std::make_shared<std::unique_ptr<Iterator>>();
  return make_generator(
      interpreter,
      [value, view] {
        if (value.is(Kind::kUndefined)) {
          return Value();
        }
        if (!value.is(Kind::kDict)) {
          type_error("Can only get item pairs from a mapping.");
        }
        if (*view == nullptr) {
          *view = std::make_shared<DictView>(value, DictView::What::kItems)->iterate();
        }
        return (*view)->next();
      },
      value.depth() + 2);
}

Value filter_map(Interpreter& interpreter, const Value& value, Args args) {
  const int depth = depth_of(value, args);
  auto arguments = std::make_shared<Args>(std::move(args));
  auto transform = std::make_shared<std::function<Value(Value)>>();
  const auto prepare = [&interpreter, arguments] {
    const auto named = [&](std::string_view name) {
      for (const auto& [other, item] : arguments->named) {
        if (other == name) {
          return item;
        }
      }
      return Value();
    };
    std::function<Value(Value)> function;
    if (arguments->positional.empty() && !named("attribute").missing()) {
      for (const auto& [name, item] : arguments->named) {
        if (name != "attribute" && name != "default") {
          filter_error(fmt::format("Unexpected keyword argument '{}'", name));
        }
      }
      function = Getter(interpreter, named("attribute"), false, named("default"));
      return function;
    }
    if (arguments->positional.empty()) {
      filter_error("map requires a filter argument");
    }
    const Value name = arguments->positional[0];
    if (!name.is(Kind::kString)) {
      filter_error("map: the name of the filter must be a string");
    }
    arguments->positional.erase(arguments->positional.begin());
    function = [&interpreter, arguments, name](const Value& item) {
      return call_filter(name.as_string(), interpreter, item, *arguments);
    };
    return function;
  };
  return make_generator(
      interpreter,
      [value, read = reader(value), transform, prepare] {
        if (!truth(value)) {
          return Value();
        }
        if (*transform == nullptr) {
          *transform = prepare();
        }
        Value item = read();
        return item.missing() ? item : (*transform)(std::move(item));
      },
      depth);
}

Value select(
    Interpreter& interpreter, const Value& value, Args args, bool keep, bool by_attribute) {
  const int depth = depth_of(value, args);
  auto arguments = std::make_shared<Args>(std::move(args));
  return make_generator(
      interpreter,
      [&interpreter, value, read = reader(value), arguments, keep, by_attribute,
       getter = std::optional<Getter>(), test = Value(), prepared = false]() mutable {
        if (!truth(value)) {
          return Value();
        }
        if (!prepared) {
          List& given = arguments->positional;
          if (by_attribute && given.empty()) {
            filter_error("Missing parameter for attribute name");
          }
          const size_t used = by_attribute ? 1 : 0;
          getter.emplace(interpreter, by_attribute ? given[0] : Value(), false);
          if (given.size() > used) {
            test = given[used];
            if (!test.is(Kind::kString)) {
              filter_error("the name of the test must be a string");
            }
          }
          given.erase(given.begin(), given.begin() + static_cast<std::ptrdiff_t>(
                                                         std::min(given.size(), used + 1)));
          prepared = true;
        }
        while (true) {
          Value item = read();
          if (item.missing()) {
            return item;
          }
          const Value subject = (*getter)(item);
          const bool passes = test.missing()
                                  ? truth(subject)
                                  : call_test(test.as_string(), interpreter, subject, *arguments);
          if (passes == keep) {
            return item;
          }
        }
      },
      depth);
}

Value filter_select(Interpreter& interpreter, const Value& value, Args args) {
  return select(interpreter, value, std::move(args), true, false);
}

Value filter_reject(Interpreter& interpreter, const Value& value, Args args) {
  return select(interpreter, value, std::move(args), false, false);
}

Value filter_select_attribute(Interpreter& interpreter, const Value& value, Args args) {
  return select(interpreter, value, std::move(args), true, true);
}

Value filter_reject_attribute(Interpreter& interpreter, const Value& value, Args args) {
  return select(interpreter, value, std::move(args), false, true);
}

Value filter_batch(Interpreter& interpreter, const Value& value, Args args) {
  const int depth = depth_of(value, args) + 1;
  const Bound bound("batch", std::move(args), {"linecount", "fill_with"}, 1);
  const Value count = bound[0];
  const Value fill = bound[1];
  // The first item of the next batch waits here.
  return make_generator(
      interpreter,
      [&interpreter, read = reader(value), count, fill, pending = Value(),
       ended = false]() mutable {
        List batch;
        if (!pending.missing()) {
          batch.push_back(std::exchange(pending, Value()));
        }
        while (!ended) {
          Value item = read();
          if (item.missing()) {
            ended = true;
            break;
          }
          interpreter.budget().charge(1);
          const Value size = Value::integer(static_cast<int64_t>(batch.size()));
          if (equal(size, count, interpreter.budget())) {
            pending = std::move(item);
            return Value::list(std::move(batch));
          }
          batch.push_back(std::move(item));
        }
        if (batch.empty()) {
          return Value();
        }
        if (!fill.missing() && !fill.is(Kind::kNone) && count.is_whole()) {
          while (static_cast<int64_t>(batch.size()) < count.as_int()) {
            interpreter.budget().charge(1);
            batch.push_back(fill);
          }
        }
        return Value::list(std::move(batch));
      },
      depth);
}

Value filter_slice(Interpreter& interpreter, const Value& value, Args args) {
  const int depth = depth_of(value, args) + 1;
  const Bound bound("slice", std::move(args), {"slices", "fill_with"}, 1);
  const Value slices = bound[0];
  const Value fill = bound[1];
  return make_generator(
      interpreter,
      [&interpreter, value, slices, fill, items = List(), number = int64_t{-1},
       offset = int64_t{0}]() mutable {
        if (number < 0) {
          items = list_of(value, interpreter.budget());
          number = 0;
          if (slices.is_whole() && slices.as_int() == 0) {
            filter_error("integer division or modulo by zero");
          }
        }
        if (!slices.is_whole()) {
          type_error("slice: the number of slices must be an integer");
        }
        const int64_t count = slices.as_int();
        if (number >= count) {
          return Value();
        }
        const auto size = static_cast<int64_t>(items.size());
        const int64_t each = size / count;
        const int64_t with_extra = size % count;
        const int64_t start = offset + number * each;
        offset += number < with_extra ? 1 : 0;
        const int64_t end = offset + (number + 1) * each;
        List part(items.begin() + start, items.begin() + end);
        if (!fill.missing() && !fill.is(Kind::kNone) && number >= with_extra) {
          part.push_back(fill);
        }
        ++number;
        return Value::list(std::move(part));
      },
      depth);
}

Value filter_group_by(Interpreter& interpreter, const Value& value, Args args) {
  const Bound bound("groupby", std::move(args), {"attribute", "default", "case_sensitive"}, 1);
  Budget& budget = interpreter.budget();
  const bool case_sensitive = bound.flag(2, false);
  const Getter key_of(interpreter, bound[0], !case_sensitive, bound[1]);
  const Getter shown(interpreter, bound[0], false, bound[1]);
  std::vector<Keyed> items;
  for (Value& item : list_of(value, budget)) {
    Value key = key_of(item);
    items.push_back({std::move(key), std::move(item)});
  }
  List groups;
  List group;
  Value key;
  const auto finish = [&] {
    if (!group.empty()) {
      const Value name = shown(group[0]);
      groups.push_back(Value::tuple({name, Value::list(std::exchange(group, {}))}, true));
    }
  };
  for (Value& item : sorted_items(std::move(items), false, budget)) {
    Value next = key_of(item);
    if (!key.missing() && !equal(key, next, budget)) {
      finish();
    }
    key = std::move(next);
    group.push_back(std::move(item));
  }
  finish();
  return Value::list(std::move(groups));
}

}  // namespace

const std::vector<FilterEntry> kSequenceFilters = {
    {"batch", filter_batch},
    {"count", filter_length},
    {"dictsort", filter_dict_sort},
    {"first", filter_first},
    {"groupby", filter_group_by},
    {"items", filter_items},
    {"join", filter_join},
    {"last", filter_last},
    {"length", filter_length},
    {"list", filter_list},
    {"map", filter_map},
    {"max", filter_max},
    {"min", filter_min},
    {"reject", filter_reject},
    {"rejectattr", filter_reject_attribute},
    {"reverse", filter_reverse},
    {"select", filter_select},
    {"selectattr", filter_select_attribute},
    {"slice", filter_slice},
    {"sort", filter_sort},
    {"sum", filter_sum},
    {"unique", filter_unique},
};

}  // namespace tessera::text::jinja
