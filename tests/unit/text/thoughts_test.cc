// Thoughts before an answer: which templates know them, reading in any pieces.
#include "text/thoughts.h"

#include "core/random.h"

#include <gtest/gtest.h>

#include <chrono>

namespace tessera::text {
namespace {

// "thoughts|answer": what a reader makes of a reply that comes in pieces of `step` bytes.
std::string read(const std::string& reply, size_t step, bool opened) {
  ThoughtReader reader;
  if (opened) {
    reader.open();
  }
  std::string thought, text;
  const auto take = [&](const ThoughtReader::Piece& piece) {
    EXPECT_TRUE(piece.thought.empty() || text.empty()) << reply;  // thoughts come first
    thought += piece.thought;
    text += piece.text;
  };
  for (size_t at = 0; at < reply.size(); at += step) {
    take(reader.push(reply.substr(at, step)));
  }
  take(reader.finish());
  return thought + "|" + text;
}

void expect_read(const std::string& reply, const std::string& expected, bool opened = false) {
  for (size_t step = 1; step <= reply.size() + 1; ++step) {
    EXPECT_EQ(read(reply, step, opened), expected) << reply << " by " << step;
  }
}

TEST(Thoughts, TheyStandBeforeTheAnswer) {
  expect_read("<think>\nHm, 1 < 2.\n\nSo.\n</think>\n\nYes.\n", "Hm, 1 < 2.\n\nSo.|Yes.\n");
  expect_read(" \n<think>a</think>b", "a|b");
  expect_read("<think></think>b", "|b");
  expect_read("<think>\n\n</think>\n\nb", "|b");
  expect_read("<think>a</think>", "a|");
  expect_read("<think>a</think> \n", "a|");
  // Cut inside of them, or inside a mark.
  expect_read("<think>a b \n", "a b|");
  expect_read("<think>a</thi", "a</thi|");
  expect_read("<think>a \n</thin", "a \n</thin|");
  expect_read("<think>", "|");
  expect_read("<think> ", "|");
  // Marks elsewhere are text.
  expect_read("Say <think>a</think>b", "|Say <think>a</think>b");
  expect_read("<think>a</think>b<think>c</think>", "a|b<think>c</think>");
  expect_read("<think>a<think>b</think>c</think>", "a<think>b|c</think>");
  expect_read("a</think>b", "|a</think>b");
  expect_read("<thinking>", "|<thinking>");
  expect_read(" <thi", "| <thi");
  expect_read(" \n ", "| \n ");
  expect_read("", "|");
}

TEST(Thoughts, ThePromptMayHaveOpenedThem) {
  expect_read("Hm.\n</think>\n\nYes.", "Hm.|Yes.", true);
  expect_read("\nHm.</think>Yes.", "Hm.|Yes.", true);
  expect_read("<think>\nHm.</think>Yes.", "Hm.|Yes.", true);  // once more
  expect_read("</think>Yes.", "|Yes.", true);
  expect_read("never ends \n", "never ends|", true);
  expect_read("<thi", "<thi|", true);
  expect_read(" \n", "|", true);
  expect_read("", "|", true);
}

TEST(Thoughts, WhatIsCertainIsShownAtOnce) {
  ThoughtReader reader;
  EXPECT_EQ(reader.push("<th").thought, "");
  EXPECT_EQ(reader.push("ink>\nLet me").thought, "Let me");
  EXPECT_EQ(reader.push(" see \n").thought, " see");
  EXPECT_EQ(reader.push("</").thought, "");
  EXPECT_EQ(reader.push("b>").thought, " \n</b>");
  EXPECT_EQ(reader.push("</think>").thought, "");
  EXPECT_EQ(reader.push("\n\nYes").text, "Yes");
  EXPECT_EQ(reader.push(" \n").text, " \n");
}

TEST(Thoughts, AnyBytesInAnyPieces) {
  const std::vector<std::string> parts = {"<think>", "</think>", "<",  "/", "think",
                                          ">",       " ",        "\n", "x", "\xFF"};
  Rng rng(6);
  for (int round = 0; round < 4000; ++round) {
    std::string reply;
    for (uint64_t i = rng.below(12); i > 0; --i) {
      reply += parts[rng.below(parts.size())];
    }
    for (const bool opened : {false, true}) {
      const std::string whole = read(reply, reply.size() + 1, opened);
      EXPECT_EQ(read(reply, 1, opened), whole) << reply;
      EXPECT_EQ(read(reply, 3, opened), whole) << reply;
      if (!opened && reply.find("<think>") == std::string::npos) {
        EXPECT_EQ(whole, "|" + reply);
      }
    }
  }
}

TEST(Thoughts, LongOnesTakeLinearTime) {
  const auto begun = std::chrono::steady_clock::now();
  for (const char* filling : {"a", " ", "<"}) {
    ThoughtReader reader;
    size_t bytes = reader.push("<think>x").thought.size();
    for (int i = 0; i < 2'000'000; ++i) {
      bytes += reader.push(filling).thought.size();
      ASSERT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(60)) << i;
    }
    bytes += reader.push("y</think>").thought.size();
    EXPECT_EQ(bytes, 2'000'002U);
  }
}

TEST(Thoughts, PromptsAndTemplatesTell) {
  EXPECT_TRUE(knows_thoughts("{{ m.content.split('</think>')[-1] }}"));
  EXPECT_FALSE(knows_thoughts("{{ m.content }}"));
  EXPECT_TRUE(opens_thoughts("<|assistant|><think>\n"));
  EXPECT_TRUE(opens_thoughts("<think>"));
  EXPECT_FALSE(opens_thoughts("<think>\n\n</think>\n\n"));
  EXPECT_FALSE(opens_thoughts("What is <think>?"));
  EXPECT_FALSE(opens_thoughts(""));
  EXPECT_TRUE(inside_thoughts("<think>a"));
  EXPECT_TRUE(inside_thoughts("<think>a</think>b<think>"));
  EXPECT_FALSE(inside_thoughts("<think>a</think>b"));
  EXPECT_FALSE(inside_thoughts("a"));
}

}  // namespace
}  // namespace tessera::text
