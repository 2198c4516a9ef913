// Random choices under a mask, with tokenizers of goldens: what comes out fits.
#include "pipelines/constrain.h"

#include "core/error.h"
#include "core/random.h"
#include "io/json.h"
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <regex>

namespace tessera::pipelines {
namespace {

using Kind = ConstraintSpec::Kind;

std::unique_ptr<text::Tokenizer> tokenizer_of(const std::string& name) {
  return text::load_tokenizer(std::string(TESSERA_GOLDENS) + "/" + name);
}

// Draws until the constraint is through; nothing when it has not ended after `most` ids.
std::optional<std::string> draw(const text::Tokenizer& tokenizer,
                                nn::TokenConstraint& constraint,
                                uint64_t seed,
                                int most = 400) {
  Rng rng(seed);
  std::string text;
  for (int i = 0; i < most && !constraint.must_end(); ++i) {
    const std::span<const uint32_t> bits = constraint.mask();
    std::vector<int64_t> allowed;
    for (int64_t id = 0; id < tokenizer.vocab_size(); ++id) {
      if ((bits[static_cast<size_t>(id) / 32] >> (id % 32) & 1U) != 0) {
        allowed.push_back(id);
      }
    }
    if (allowed.empty()) {
      ADD_FAILURE() << "nothing is allowed after " << text;
      return {};
    }
    const int64_t id = allowed[rng.below(allowed.size())];
    EXPECT_TRUE(constraint.accept(id));
    text += tokenizer.token_bytes(static_cast<int32_t>(id));
  }
  return constraint.must_end() ? std::optional(text) : std::nullopt;
}

TEST(Constrain, DrawsFitTheSpecification) {
  for (const char* name : {"tokenizers_json/gpt2", "tokenizers_json/llama"}) {
    const auto tokenizer = tokenizer_of(name);
    const ConstraintMaker maker(*tokenizer, {});
    const auto regex = maker.make({Kind::kRegex, "[a-c]{2,5}-[0-9]{3}"});
    const auto schema = maker.make(
        {Kind::kJsonSchema,
         R"({"type":"object","properties":{"a":{"type":"integer","minimum":0,"maximum":20},)"
         R"("b":{"enum":["x","y"]}},"required":["a","b"],"additionalProperties":false})"});
    const auto grammar = maker.make({Kind::kGrammar, "root ::= (\"ab\" | \"ba\"){3}"});
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const auto first = draw(*tokenizer, *regex(), seed);
      ASSERT_TRUE(first.has_value());
      EXPECT_TRUE(std::regex_match(*first, std::regex("[a-c]{2,5}-[0-9]{3}"))) << *first;
      const auto second = draw(*tokenizer, *schema(), seed);
      ASSERT_TRUE(second.has_value());
      const io::Json value = io::Json::parse(*second);
      EXPECT_EQ(value.size(), 2U);
      EXPECT_TRUE(value["a"].is_number_integer() && value["a"] >= 0 && value["a"] <= 20) << *second;
      EXPECT_TRUE(value["b"] == "x" || value["b"] == "y") << *second;
      const auto third = draw(*tokenizer, *grammar(), seed);
      ASSERT_TRUE(third.has_value());
      EXPECT_TRUE(std::regex_match(*third, std::regex("(ab|ba){3}"))) << *third;
    }
  }
}

TEST(Constrain, EndIdsComeWhenTheTextIsComplete) {
  const auto tokenizer = tokenizer_of("tokenizers_json/gpt2");
  const int64_t end = tokenizer->vocab_size() - 1;
  const ConstraintMaker maker(*tokenizer, {end, 1'000'000});
  const auto one = maker.make({Kind::kRegex, "a+"})();
  const auto bit = [&](int64_t id) {
    return (one->mask()[static_cast<size_t>(id) / 32] >> (id % 32) & 1U) != 0;
  };
  EXPECT_FALSE(bit(end));
  EXPECT_FALSE(one->may_end());
  EXPECT_FALSE(one->accept(end));
  EXPECT_FALSE(one->accept(-1));
  EXPECT_FALSE(one->accept(1'000'000));
  const int64_t a = tokenizer->token_to_id("a").value();
  EXPECT_TRUE(one->accept(a));
  EXPECT_TRUE(bit(end));
  EXPECT_TRUE(one->may_end());
  EXPECT_FALSE(one->must_end());
  EXPECT_TRUE(one->accept(end));
  EXPECT_TRUE(one->must_end());
  EXPECT_FALSE(one->accept(a));
}

template <class Type>
std::string refusal(const ConstraintSpec& spec) {
  try {
    parse_constraint(spec);
  } catch (const Type& error) {
    return error.what();
  }
  return "";
}

TEST(Constrain, RefusalsSayWhatAndWhy) {
  const auto says = [](const std::string& message, const char* part) {
    EXPECT_NE(message.find(part), std::string::npos) << "'" << message << "'";
  };
  says(refusal<CorruptFile>({Kind::kJsonSchema, "{oops"}), "JSON Schema");
  says(refusal<Unsupported>({Kind::kJsonSchema, R"({"not":{}})"}), "'not'");
  says(refusal<InvalidArgument>({Kind::kJsonSchema, R"({"type":"string","enum":[1]})"}), "no text");
  says(refusal<InvalidArgument>({Kind::kGrammar, "rot ::= \"a\""}), "grammar");
  says(refusal<InvalidArgument>({Kind::kRegex, "(a"}), "regular expression");
  says(refusal<Unsupported>({Kind::kRegex, "(?=a)b"}), "look-around");
  const auto tokenizer = tokenizer_of("tokenizers_json/gpt2");
  EXPECT_FALSE(ConstraintMaker(*tokenizer, {}).make({}));
}

}  // namespace
}  // namespace tessera::pipelines
