// The `loop` variable.
#pragma once

#include "text/jinja/interpreter.h"
#include "text/jinja/value.h"

#include <memory>
#include <optional>
#include <string>

namespace tessera::text::jinja {

class LoopContext : public Object {
 public:
  /// `iterable`: what has a length, or missing. `recursive`: the statement of a recursive loop.
  LoopContext(Interpreter& interpreter,
              std::unique_ptr<Iterator> iterator,
              Value iterable,
              const Statement* recursive,
              int64_t depth,
              std::shared_ptr<Activation> home);

  std::string type_name() const override { return "LoopContext"; }
  std::string repr(Budget&) const override;
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, Args args) override;
  Value attribute(Interpreter& interpreter, std::string_view name) override;
  std::optional<int64_t> length() override;
  bool truth() const override { return true; }
  int depth() const override { return iterable_.depth() + 1; }

  /// Moves on to the next item; missing at the end.
  Value next();
  /// Lets go of the items.
  void finish();

 private:
  const Value& peek();
  bool changed(const List& values);

  Interpreter& interpreter_;
  std::unique_ptr<Iterator> iterator_;
  Value iterable_;
  const Statement* recursive_;
  int64_t depth0_;
  std::shared_ptr<Activation> home_;
  int64_t index0_ = -1;
  std::optional<int64_t> length_;
  Value before_, current_, after_;
  std::optional<Value> last_changed_;
};

}  // namespace tessera::text::jinja
