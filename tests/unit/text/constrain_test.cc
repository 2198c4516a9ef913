// Constrained decoding: languages against Python's jsonschema and re (tests/parity/constrain.py),
// masks against a token-by-token check, and random walks.
#include "core/error.h"
#include "core/random.h"
#include "core/strings.h"
#include "io/file.h"
#include "io/json.h"
#include "text/constrain/gbnf.h"
#include "text/constrain/json_schema.h"
#include "text/constrain/matcher.h"
#include "text/constrain/regex_grammar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace tessera::constrain {
namespace {

using testing::HasSubstr;

template <class Error, class Body>
std::string error_of(Body body) {
  try {
    body();
  } catch (const Error& error) {
    return error.message() + " " + error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

/// Every byte, pieces of JSON and random strings; the last id ends the text, the one before is a
/// control token.
std::shared_ptr<const Vocabulary> test_vocabulary(uint64_t seed = 1) {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) {
    tokens.emplace_back(1, static_cast<char>(byte));
  }
  for (const char* piece :
       {"{\"", "\"}",    "\":",          "\": ", "\",",  "\", \"", "[[",       "]]",
        "]}",  "},",     "}}",           "null", "true", "false",  "  ",       "\n  ",
        "\\u", "\\\"",   "name",         "12",   "123",  "0.",     "-1",       "ab",
        "abc", "aaaa",   "aaaaaaaaaaaa", "root", "é",    "漢",     "\xE6\xBC", "\xA2",
        "😀",   "\"a\":", "\"}]",         "1]",   ",1",   "2024-",  "T0",       "x-"}) {
    tokens.emplace_back(piece);
  }
  Rng rng(seed);
  constexpr std::string_view kAlphabet = "ab\"{}[]:, 01\\xyz-.\n";
  for (int i = 0; i < 400; ++i) {
    std::string token;
    for (uint64_t j = 0; j < 1 + rng.below(5); ++j) {
      token.push_back(kAlphabet[rng.below(kAlphabet.size())]);
    }
    tokens.push_back(token);
  }
  tokens.emplace_back();
  tokens.emplace_back("</s>");
  const auto end = static_cast<int32_t>(tokens.size() - 1);
  return std::make_shared<const Vocabulary>(std::move(tokens), std::vector<int32_t>{end});
}

bool bit(const std::vector<uint32_t>& bits, int32_t id) {
  return (bits[static_cast<size_t>(id) / 32] >> (id % 32) & 1) != 0;
}

/// Walks at random, checks each mask bit against `allows`, ends when it can.
std::string random_walk(const std::shared_ptr<Constraint>& constraint, Rng& rng, bool check) {
  const Vocabulary& vocabulary = constraint->vocabulary();
  Matcher matcher(constraint);
  std::vector<uint32_t> bits(vocabulary.mask_words());
  std::string text;
  for (int step = 0; step < 3000; ++step) {
    if (!matcher.mask(bits)) {
      ADD_FAILURE() << "no token after: " << text;
      return text;
    }
    std::vector<int32_t> allowed;
    for (int32_t id = 0; id < vocabulary.size(); ++id) {
      if (check) {
        EXPECT_EQ(bit(bits, id), matcher.allows(id))
            << "token '" << vocabulary.bytes(id) << "' after: " << text;
      }
      if (bit(bits, id)) {
        allowed.push_back(id);
      }
    }
    int32_t id = allowed[rng.below(allowed.size())];
    if (step > 30 && rng.below(8) != 0) {  // towards the end
      for (const char close : {'"', '}', ']'}) {
        id = bit(bits, close) ? close : id;
      }
    }
    if (matcher.is_complete() && (step > 20 || rng.below(4) == 0)) {
      id = vocabulary.end_ids()[0];
    }
    EXPECT_TRUE(matcher.accept(id));
    if (matcher.is_finished()) {
      EXPECT_FALSE(matcher.mask(bits));
      EXPECT_FALSE(matcher.accept('a'));
      return text;
    }
    text += vocabulary.bytes(id);
  }
  ADD_FAILURE() << "no end after: " << text;
  return text;
}

TEST(Constrain, SplitsCharactersIntoUtf8) {
  // All characters: every valid sequence, and no other, has one form.
  const auto forms = utf8_ranges(CharSet::all());
  for (const uint32_t c : {0x0U, 0x7FU, 0x80U, 0x7FFU, 0x800U, 0xD7FFU, 0xE000U, 0xFFFFU, 0x10000U,
                           0x10FFFFU, 0x1234U, 0x54321U}) {
    std::string text;
    utf8_append(text, c);
    int found = 0;
    for (const Utf8Range& form : forms) {
      bool fits = static_cast<size_t>(form.size) == text.size();
      for (size_t i = 0; fits && i < text.size(); ++i) {
        const auto byte = static_cast<uint8_t>(text[i]);
        fits = form.first[i] <= byte && byte <= form.last[i];
      }
      found += fits ? 1 : 0;
    }
    EXPECT_EQ(found, 1) << c;
  }
  EXPECT_FALSE(CharSet::all().contains(0xD800));
  EXPECT_TRUE(CharSet::all().complement().empty());
  EXPECT_TRUE(CharSet('a').complement().contains('b'));
  EXPECT_EQ(CharSet('a', 'f').minus(CharSet('c')).ranges().size(), 2U);
}

TEST(Constrain, RegexesAgreeWithPython) {
  const io::Json cases = io::read_json(std::string(TESSERA_GOLDENS) + "/constrain/patterns.json");
  ASSERT_GE(cases.size(), 100U);
  for (const io::Json& one : cases) {
    const auto pattern = one["pattern"].get<std::string>();
    if (one["valid"].empty() && one["invalid"].empty()) {
      continue;
    }
    const Grammar grammar = parse_regex(pattern);
    for (const io::Json& text : one["valid"]) {
      EXPECT_TRUE(grammar.matches(text.get<std::string>())) << pattern << " on " << text;
    }
    for (const io::Json& text : one["invalid"]) {
      EXPECT_FALSE(grammar.matches(text.get<std::string>())) << pattern << " on " << text;
    }
  }
}

TEST(Constrain, SchemasAgreeWithJsonschema) {
  const std::string text = io::read_file(std::string(TESSERA_GOLDENS) + "/constrain/schemas.json");
  const io::OrderedJson cases = io::parse_ordered_json(text, "schemas.json");
  ASSERT_GE(cases.size(), 100U);
  for (const io::OrderedJson& one : cases) {
    const Grammar grammar = json_schema_grammar(one["schema"]);
    for (const io::OrderedJson& instance : one["valid"]) {
      EXPECT_TRUE(grammar.matches(instance.get<std::string>()))
          << one["schema"] << "\nvalid: " << instance.get<std::string>();
    }
    for (const io::OrderedJson& instance : one["invalid"]) {
      EXPECT_FALSE(grammar.matches(instance.get<std::string>()))
          << one["schema"] << "\ninvalid: " << instance.get<std::string>();
    }
  }
}

TEST(Constrain, MasksOfSchemasEqualTokenByTokenChecksAndWalksEndValid) {
  const std::string text = io::read_file(std::string(TESSERA_GOLDENS) + "/constrain/schemas.json");
  const io::OrderedJson cases = io::parse_ordered_json(text, "schemas.json");
  const auto vocabulary = test_vocabulary();
  Rng rng(3);
  for (size_t i = 0; i < cases.size(); i += 3) {
    const io::OrderedJson& schema = cases[i]["schema"];
    const Grammar grammar = json_schema_grammar(schema);
    const auto constraint = std::make_shared<Constraint>(grammar, vocabulary);
    for (int walk = 0; walk < 2; ++walk) {
      const std::string made = random_walk(constraint, rng, walk == 0);
      EXPECT_TRUE(grammar.matches(made)) << schema << "\n" << made;
      EXPECT_NO_THROW(io::parse_json(made, "walk")) << schema << "\n" << made;
    }
  }
}

TEST(Constrain, IntegerRangesAreExact) {
  Rng rng(5);
  for (int round = 0; round < 60; ++round) {
    const int64_t low = static_cast<int64_t>(rng.below(2400)) - 1200;
    const int64_t high = low + static_cast<int64_t>(rng.below(1200));
    const bool open = round % 2 == 0;
    const io::OrderedJson schema = {{"type", "integer"},
                                    {open ? "exclusiveMinimum" : "minimum", low},
                                    {open ? "exclusiveMaximum" : "maximum", high}};
    if (open && high - low < 2) {
      EXPECT_THROW(json_schema_grammar(schema), InvalidArgument) << schema;
      continue;
    }
    const Grammar grammar = json_schema_grammar(schema);
    for (int64_t x = -1300; x <= 2500; ++x) {
      const bool inside = open ? low < x && x < high : low <= x && x <= high;
      ASSERT_EQ(grammar.matches(std::to_string(x)), inside) << schema << " " << x;
    }
    EXPECT_FALSE(grammar.matches("-0"));
    EXPECT_FALSE(grammar.matches("01"));
  }
}

TEST(Constrain, NumberRangesAreExact) {
  Rng rng(6);
  for (int round = 0; round < 60; ++round) {
    const double low = static_cast<double>(static_cast<int64_t>(rng.below(4000)) - 2000) / 100;
    const double high = low + static_cast<double>(1 + rng.below(500)) / 100;
    const io::OrderedJson bounds =
        io::OrderedJson::parse(fmt::format("[{:.2f},{:.2f}]", low, high));
    const bool open = round % 2 == 0;
    const Grammar grammar =
        json_schema_grammar({{"type", "number"},
                             {open ? "exclusiveMinimum" : "minimum", bounds[0]},
                             {open ? "exclusiveMaximum" : "maximum", bounds[1]}});
    for (int i = 0; i < 2000; ++i) {
      const std::string text =
          fmt::format("{:.{}f}", rng.uniform(-25, 30), static_cast<int>(rng.below(4)));
      const double x = std::stod(text);
      const double a = bounds[0].get<double>();
      const double b = bounds[1].get<double>();
      const bool inside = open ? a < x && x < b : a <= x && x <= b;
      if (text[0] == '-' && x == 0) {
        continue;
      }
      ASSERT_EQ(grammar.matches(text), inside) << a << " " << b << " " << open << " " << text;
    }
  }
  const Grammar positive = parse_json_schema(R"x({"type": "number", "exclusiveMinimum": 0})x");
  EXPECT_TRUE(positive.matches("0.25"));
  EXPECT_TRUE(positive.matches("1.5"));
  EXPECT_FALSE(positive.matches("0.0"));
  EXPECT_FALSE(positive.matches("0"));
}

TEST(Constrain, GbnfReadsLlamaCppGrammars) {
  const Grammar grammar = parse_gbnf(R"x(# comment
root  ::= (expr "=" ws term "\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws  # trailing
num   ::= [0-9]+ ws
ws    ::= [ \t\n]*
)x");
  EXPECT_TRUE(grammar.matches("a+b*(c-12)=7\n"));
  EXPECT_TRUE(grammar.matches("a =1\nb= 2\n\n"));
  EXPECT_FALSE(grammar.matches("a+=1\n"));
  EXPECT_FALSE(grammar.matches(""));
  const Grammar classes = parse_gbnf(
      "root ::= [^\\x41-\\x43\\n] . \"\\u00e9\\U0001F600\" [\\]\\-a-] x{2,3}\n x ::= \"\\\"\" | \n "
      "\"\\\\\"");
  EXPECT_TRUE(classes.matches("D漢é😀-\"\\"));
  EXPECT_TRUE(classes.matches("漢\né😀]\"\"\""));
  EXPECT_FALSE(classes.matches("Dxé😀]\""));
  EXPECT_FALSE(classes.matches("Axé😀]\"\""));
  EXPECT_FALSE(classes.matches("Dxé😀b\"\""));
}

TEST(Constrain, GbnfErrorsNameThePlace) {
  EXPECT_THAT(error_of<InvalidArgument>([] { parse_gbnf("root ::= \"a\n"); }), HasSubstr("line 2"));
  EXPECT_THAT(error_of<InvalidArgument>([] { parse_gbnf("root ::= missing"); }),
              HasSubstr("'missing'"));
  EXPECT_THAT(error_of<InvalidArgument>([] { parse_gbnf("rot ::= \"a\""); }), HasSubstr("'root'"));
  EXPECT_THAT(error_of<InvalidArgument>([] { parse_gbnf("root ::= \"a\"{3,2}"); }),
              HasSubstr("minimum"));
  EXPECT_THAT(error_of<InvalidArgument>([] { parse_gbnf("root ::= [z-a]"); }),
              HasSubstr("exchanged"));
  EXPECT_THAT(error_of<InvalidArgument>([] { parse_gbnf("root ::= (\"a\""); }), HasSubstr("')'"));
  EXPECT_THAT(error_of<InvalidArgument>([] { parse_gbnf("root ::= \"\\q\""); }),
              HasSubstr("escape"));
  EXPECT_THROW(parse_gbnf(""), InvalidArgument);
  EXPECT_THROW(parse_gbnf("root ::= \"\\xZZ\""), InvalidArgument);
  EXPECT_THROW(parse_gbnf("root ::= \"a\"{99999999999}"), InvalidArgument);
  EXPECT_THROW(parse_gbnf(std::string("root ::= ") + std::string(5000, '(')), InvalidArgument);
}

TEST(Constrain, LeftRecursionIsAnErrorAndRightRecursionALoop) {
  for (const char* text :
       {"root ::= root \"a\" | \"b\"", "root ::= x \"a\" | \"b\"\nx ::= root \"c\" | \"d\"",
        "root ::= e root \"a\" | \"b\"\ne ::= \"x\"?"}) {
    EXPECT_THAT(error_of<InvalidArgument>([&] { parse_gbnf(text); }), HasSubstr("left-recursive"));
  }
  const Grammar list = parse_gbnf("root ::= \"a\" root | \"b\"");
  EXPECT_TRUE(list.matches(std::string(100'000, 'a') + "b"));
  EXPECT_FALSE(list.matches(std::string(1000, 'a')));
  EXPECT_TRUE(parse_gbnf("root ::= root | \"x\"").matches("x"));
  EXPECT_THAT(error_of<InvalidArgument>([] { parse_gbnf("root ::= \"a\" root"); }),
              HasSubstr("no text"));
}

TEST(Constrain, AmbiguousGrammarsStayPolynomial) {
  // Catalan many ways to read each text.
  const Grammar sums =
      parse_gbnf("root ::= \"(\" root \")\" root | \"(\" root \")\" | \"x\" root root | \"x\"");
  EXPECT_TRUE(sums.matches(std::string(201, 'x')));
  EXPECT_FALSE(sums.matches(std::string(200, 'x')));  // each x has two parts or none
  EXPECT_FALSE(sums.matches(std::string(200, 'x') + ")"));
  const Grammar stars = parse_gbnf("root ::= (x* x*)* \"!\"\nx ::= \"a\" | \"aa\" | \"a\" \"a\"");
  EXPECT_TRUE(stars.matches(std::string(300, 'a') + "!"));
  const Grammar counted = parse_gbnf("root ::= ((\"a\"{1,5000}){1,5000}){1,5000}");
  EXPECT_TRUE(counted.matches(std::string(40, 'a')));
}

TEST(Constrain, LargeCountsAreExactAndCheap) {
  const Grammar grammar = parse_gbnf("root ::= (\"ab\" | \"c\"){3,1000000}");
  EXPECT_LT(grammar.state_count(), 100U);
  EXPECT_FALSE(grammar.matches("abc"));
  EXPECT_TRUE(grammar.matches("abcab"));
  const Grammar exact =
      parse_json_schema(R"x({"type": "string", "minLength": 700, "maxLength": 900})x");
  for (const size_t size : {0, 699, 700, 800, 900, 901}) {
    std::string text = "\"";
    for (size_t i = 0; i < size; ++i) {
      text += i % 3 == 0 ? "é" : i % 3 == 1 ? "\\n" : "z";
    }
    EXPECT_EQ(exact.matches(text + "\""), size >= 700 && size <= 900) << size;
  }
  // Masks near both bounds of a counted loop.
  const auto vocabulary = test_vocabulary();
  const auto constraint = std::make_shared<Constraint>(exact, vocabulary);
  Matcher matcher(constraint);
  std::vector<uint32_t> bits(vocabulary->mask_words());
  ASSERT_TRUE(matcher.accept_bytes("\""));
  for (int i = 0; i < 900; ++i) {
    if (i < 20 || (i > 680 && i < 720) || i > 880) {
      matcher.mask(bits);
      for (int32_t id = 0; id < vocabulary->size(); ++id) {
        ASSERT_EQ(bit(bits, id), matcher.allows(id)) << i << " '" << vocabulary->bytes(id) << "'";
      }
    }
    ASSERT_TRUE(matcher.accept('k'));
  }
  EXPECT_FALSE(matcher.accept('k'));
  EXPECT_TRUE(matcher.accept('"'));
  EXPECT_TRUE(matcher.must_end());
}

TEST(Constrain, HostileGrammarsEndInErrorsOrStaySmall) {
  EXPECT_NO_THROW(parse_gbnf("root ::= (((\"a\"{1000}){1000}){1000}){1000}"));
  EXPECT_NO_THROW(parse_regex("(a|b)*a(a|b){14}"));
  EXPECT_NO_THROW(parse_regex("(a|b)*a(a|b){1000}"));
  EXPECT_THROW(parse_regex(std::string(100'000, '(')), InvalidArgument);
  std::string rules = "root ::= r0\n";
  for (int i = 0; i < 5000; ++i) {
    rules += fmt::format("r{} ::= \"a\" r{} | \"b\" r{}\n", i, i + 1, i * 7 % 5001);
  }
  rules += "r5000 ::= \"c\"\n";
  EXPECT_NO_THROW(parse_gbnf(rules));
  io::OrderedJson branches = {{"anyOf", io::OrderedJson::array()}};
  for (int i = 0; i < 12; ++i) {
    branches["anyOf"].push_back({{"minimum", i}});
  }
  io::OrderedJson product = {{"allOf", io::OrderedJson::array()}};
  for (int i = 0; i < 12; ++i) {
    product["allOf"].push_back(branches);
  }
  EXPECT_THROW(json_schema_grammar(product), Unsupported);
}

TEST(Constrain, NestingIsOnlyBoundedByMemory) {
  const Grammar grammar = json_grammar();
  EXPECT_TRUE(grammar.matches(std::string(20'000, '[') + std::string(20'000, ']')));
  EXPECT_FALSE(grammar.matches(std::string(20'000, '[') + std::string(19'999, ']')));
}

TEST(Constrain, JsonGrammarAgreesWithTheParser) {
  const Grammar grammar = json_grammar();
  for (const char* text : {"null",
                           "\"\\ud83d\\ude00\"",
                           "\"\\ud83d\"",
                           "\"\\ude00\"",
                           "\"\\ud83dx\"",
                           "[1,2]",
                           "[1,]",
                           "{}",
                           "{\"a\":1,}",
                           "{\"a\" :1}",
                           "01",
                           "-0",
                           "1.",
                           ".5",
                           "1e5",
                           "1E+05",
                           "\"\t\"",
                           "\"\\x\"",
                           "tru",
                           "[",
                           "{\"a\": [true, null]}",
                           "\"\xC3\xA9\"",
                           "\"\xC3\"",
                           "\"\xED\xA0\x80\"",
                           "nul",
                           "-",
                           "1e",
                           "\"a",
                           "\"\\u12G4\""}) {
    const bool parses = io::Json::accept(text);
    const bool odd_space = std::string_view(text) == "{\"a\" :1}";  // valid, but not our layout
    EXPECT_EQ(grammar.matches(text), parses && !odd_space) << text;
  }
  const Grammar compact = json_object_grammar({.white_space = false});
  EXPECT_TRUE(compact.matches("{\"a\":[1,2]}"));
  EXPECT_FALSE(compact.matches("{\"a\": 1}"));
  EXPECT_FALSE(compact.matches("[]"));
}

TEST(Constrain, SchemaErrorsNamePlaceAndKeyword) {
  const auto unsupported = [](const char* schema) {
    return error_of<Unsupported>([&] { parse_json_schema(schema); });
  };
  EXPECT_THAT(unsupported(R"x({"properties": {"a": {"not": {}}}})x"),
              testing::AllOf(HasSubstr("#/properties/a"), HasSubstr("'not'")));
  EXPECT_THAT(unsupported(R"x({"multipleOf": 3})x"), HasSubstr("'multipleOf'"));
  EXPECT_THAT(unsupported(R"x({"items": {"uniqueItems": true}})x"), HasSubstr("'uniqueItems'"));
  EXPECT_THAT(unsupported(R"x({"$ref": "http://x/y"})x"), HasSubstr("outside"));
  EXPECT_THAT(unsupported(R"x({"pattern": "a(?=b)", "type": "string"})x"),
              HasSubstr("look-around"));
  const auto invalid = [](const char* schema) {
    return error_of<InvalidArgument>([&] { parse_json_schema(schema); });
  };
  EXPECT_THAT(invalid(R"x({"$ref": "#/$defs/x"})x"), HasSubstr("leads nowhere"));
  EXPECT_THAT(invalid(R"x({"type": "text"})x"), HasSubstr("text"));
  EXPECT_THAT(invalid("false"), HasSubstr("no text"));
  EXPECT_THAT(invalid(R"x({"type": "string", "minLength": 3, "maxLength": 2})x"),
              HasSubstr("no text"));
  EXPECT_THAT(invalid(R"x({"required": ["a"], "properties": {"a": false}, "type": "object"})x"),
              HasSubstr("no text"));
  EXPECT_THAT(invalid(R"x({"properties": 3})x"), HasSubstr("properties"));
  EXPECT_THAT(invalid("[]"), HasSubstr("expected an object"));
  EXPECT_THROW(parse_json_schema("{"), CorruptFile);
  EXPECT_NO_THROW(
      parse_json_schema(R"x({"title": "x", "x-mine": 1, "uniqueItems": false, "type": "integer",
                                          "multipleOf": 1, "default": 3, "$comment": ""})x"));
}

TEST(Constrain, RegexErrorsAreClear) {
  const auto unsupported = [](const char* pattern) {
    return error_of<Unsupported>([&] { parse_regex(pattern); });
  };
  EXPECT_THAT(unsupported("(?!a)b"), HasSubstr("look-around"));
  EXPECT_THAT(unsupported("(?<=a)b"), HasSubstr("look-around"));
  EXPECT_THAT(unsupported("(a)\\1"), HasSubstr("back reference"));
  EXPECT_THAT(unsupported("\\bword"), HasSubstr("\\b"));
  EXPECT_THAT(unsupported("a^b"), HasSubstr("anchor"));
  EXPECT_THAT(unsupported("(?i)a"), HasSubstr("flag"));
  for (const char* pattern :
       {"a)", "(a", "[a", "*a", "a{3,2}", "\\", "[z-a]", "\\xZ", "a**", "\\q", "\xFF"}) {
    EXPECT_THROW(parse_regex(pattern), InvalidArgument) << pattern;
  }
  EXPECT_TRUE(parse_regex("\\p{Lu}\\p{L}+\\P{N}").matches("Éa!"));
  EXPECT_FALSE(parse_regex("\\p{Lu}").matches("é"));
  EXPECT_TRUE(parse_regex("^a$|^b$").matches("b"));
  EXPECT_TRUE(parse_regex("a{,2}").matches("aa"));
  EXPECT_TRUE(parse_regex("a{x}").matches("a{x}"));
  EXPECT_TRUE(parse_regex("[]a]?").matches("]"));
}

TEST(Constrain, RecursionMergesAndReferences) {
  const Grammar tree =
      parse_json_schema(R"x({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object",
      "properties": {"left": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}, "v": {"type": "integer"}},
      "required": ["left", "v"], "additionalProperties": false}}})x");
  EXPECT_TRUE(tree.matches(R"x({"left": {"left": null, "v": 1}, "v": 2})x"));
  EXPECT_FALSE(tree.matches(R"x({"left": {"left": null}, "v": 2})x"));
  EXPECT_THROW(parse_json_schema(
                   R"x({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "required": ["a"],
      "properties": {"a": {"$ref": "#/$defs/a"}}}}})x"),
               InvalidArgument);
  const Grammar any = parse_json_schema(R"x({"$ref": "#"})x");
  EXPECT_TRUE(any.matches("[1]"));
  const Grammar merged =
      parse_json_schema(R"x({"allOf": [{"pattern": "^a"}, {"pattern": "z$"}, {"maxLength": 4}],
      "type": "string"})x");
  EXPECT_TRUE(merged.matches("\"abcz\""));
  EXPECT_FALSE(merged.matches("\"abccz\""));
  EXPECT_FALSE(merged.matches("\"abc\""));
  const Grammar bounded = parse_json_schema(
      R"x({"type": "string", "pattern": "^[a-z]+$", "minLength": 2, "maxLength": 5000})x");
  EXPECT_TRUE(bounded.matches("\"" + std::string(5000, 'q') + "\""));
  EXPECT_FALSE(bounded.matches("\"" + std::string(5001, 'q') + "\""));
  EXPECT_FALSE(bounded.matches("\"q\""));
  const Grammar narrowed =
      parse_json_schema(R"x({"enum": ["a", 1, null, "abc"], "type": "string", "minLength": 2})x");
  EXPECT_TRUE(narrowed.matches("\"abc\""));
  EXPECT_FALSE(narrowed.matches("\"a\""));
}

TEST(Constrain, HugeEnumsCompile) {
  io::OrderedJson schema = {{"enum", io::OrderedJson::array()}};
  for (int i = 0; i < 10'000; ++i) {
    schema["enum"].push_back(fmt::format("item {} of {}", i * 7919 % 10'000, i % 3));
  }
  const Grammar grammar = json_schema_grammar(schema);
  EXPECT_TRUE(grammar.matches(schema["enum"][9'999].dump()));
  EXPECT_FALSE(grammar.matches("\"item 1 of 7\""));
  Rng rng(1);
  const auto constraint = std::make_shared<Constraint>(grammar, test_vocabulary());
  EXPECT_TRUE(grammar.matches(random_walk(constraint, rng, true)));
}

TEST(Constrain, RollbackForkAndForcedText) {
  const auto vocabulary = test_vocabulary();
  const auto constraint = std::make_shared<Constraint>(
      parse_json_schema(
          R"x({"type": "object", "properties": {"name": {"const": "x"}, "age": {"type": "integer"}},
                              "required": ["name", "age"], "additionalProperties": false})x",
          {.white_space = false}),
      vocabulary);
  Matcher matcher(constraint, 4);
  EXPECT_EQ(matcher.forced(), "{\"name\":\"x\",\"age\":");
  EXPECT_EQ(matcher.forced(3), "{\"n");
  ASSERT_TRUE(matcher.accept_bytes(matcher.forced()));
  EXPECT_EQ(matcher.forced(), "");
  ASSERT_TRUE(matcher.accept('4'));
  Matcher other = matcher.fork();
  ASSERT_TRUE(other.accept('}'));
  EXPECT_TRUE(other.must_end());
  EXPECT_FALSE(matcher.is_complete());
  EXPECT_TRUE(matcher.accept('2'));
  EXPECT_FALSE(matcher.accept(vocabulary->end_ids()[0]));
  EXPECT_FALSE(matcher.accept(vocabulary->size() - 2));  // a control token
  EXPECT_THROW(matcher.accept(vocabulary->size()), InvalidArgument);
  EXPECT_THROW(matcher.accept(-1), InvalidArgument);
  matcher.rollback(2);
  EXPECT_FALSE(matcher.accept('}'));
  EXPECT_TRUE(matcher.accept('-'));
  EXPECT_EQ(matcher.rollback_limit(), 2U);
  EXPECT_THROW(matcher.rollback(3), InvalidArgument);
  other.rollback(1);
  EXPECT_TRUE(other.accept('7'));
  ASSERT_TRUE(other.accept('}'));
  EXPECT_TRUE(other.accept(vocabulary->end_ids()[0]));
  EXPECT_TRUE(other.is_finished());
  other.rollback(1);
  EXPECT_FALSE(other.is_finished());
  other.reset();
  EXPECT_EQ(other.forced(1), "{");
  std::vector<uint32_t> small(1);
  EXPECT_THROW(other.mask(small), InvalidArgument);
}

TEST(Constrain, LongTextsDoNotGrowMemoryAndStayRight) {
  const auto vocabulary = test_vocabulary();
  const auto constraint = std::make_shared<Constraint>(json_grammar(), vocabulary);
  Matcher matcher(constraint);
  std::vector<uint32_t> bits(vocabulary->mask_words());
  ASSERT_TRUE(matcher.accept('['));
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_TRUE(matcher.accept_bytes(i % 2 == 0 ? "[{\"key\": \"v\"}" : ", {\"b\":[1,[2]]}]"));
    ASSERT_TRUE(i % 2 == 0 || matcher.accept(','));
    if (i % 1000 == 0) {
      matcher.mask(bits);
      for (int32_t id = 0; id < vocabulary->size(); ++id) {
        ASSERT_EQ(bit(bits, id), matcher.allows(id));
      }
      matcher.rollback(0);
    }
  }
}

TEST(Constrain, VocabularyWithoutFittingTokensSaysSo) {
  const auto vocabulary = std::make_shared<const Vocabulary>(
      std::vector<std::string>{"a", "b", "ab", "a"}, std::vector<int32_t>{});
  const auto constraint = std::make_shared<Constraint>(parse_gbnf("root ::= \"abc\""), vocabulary);
  Matcher matcher(constraint);
  std::vector<uint32_t> bits(1);
  EXPECT_TRUE(matcher.mask(bits));
  EXPECT_EQ(bits[0], 0b1101U);  // equal tokens are both allowed
  EXPECT_TRUE(matcher.accept(2));
  EXPECT_FALSE(matcher.mask(bits));
  EXPECT_THROW(Vocabulary({"a"}, {1}), InvalidArgument);
}

}  // namespace
}  // namespace tessera::constrain
