// The wire reader on whole, cut and nonsensical messages.
#include "text/protobuf.h"

#include "core/error.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace tessera::text {
namespace {

using namespace std::string_view_literals;

/// Reads all fields; throws what the reader throws.
int count_fields(std::string_view message) {
  ProtoReader reader(message, "test");
  int count = 0;
  for (ProtoField field; reader.next(field);) {
    ++count;
  }
  return count;
}

TEST(ProtoReader, ReadsEveryKind) {
  // 1: varint 300, 2: fixed64, 3: "hi", 4: fixed32 of 1.5f
  const std::string_view message =
      "\x08\xAC\x02\x11\x01\x00\x00\x00\x00\x00\x00\x80\x1A\x02hi\x25\x00\x00\xC0\x3F"sv;
  ProtoReader reader(message, "test");
  ProtoField field;
  ASSERT_TRUE(reader.next(field));
  EXPECT_EQ(field.number, 1U);
  EXPECT_TRUE(field.is_varint());
  EXPECT_EQ(field.value, 300U);
  ASSERT_TRUE(reader.next(field));
  EXPECT_EQ(field.value, 0x8000000000000001U);
  ASSERT_TRUE(reader.next(field));
  EXPECT_TRUE(field.is_bytes());
  EXPECT_EQ(field.bytes, "hi");
  ASSERT_TRUE(reader.next(field));
  EXPECT_TRUE(field.is_fixed32());
  EXPECT_EQ(field.as_float(), 1.5F);
  EXPECT_FALSE(reader.next(field));
  EXPECT_EQ(count_fields(""), 0);
}

TEST(ProtoReader, SkipsGroups) {
  // group 1 { varint, bytes, fixed32, fixed64, group 2 {} }, then field 3
  EXPECT_EQ(count_fields("\x0B\x08\x01\x12\x01x\x1D\x01\x01\x01\x01\x19\x01\x01\x01\x01\x01\x01\x01"
                         "\x01\x13\x14\x0C\x18\x05"sv),
            1);
  EXPECT_THROW(count_fields("\x0B\x14"sv), CorruptFile);  // ends another group
  EXPECT_THROW(count_fields("\x0B\x08"sv), CorruptFile);  // cut inside
  EXPECT_THROW(count_fields("\x0C"sv), CorruptFile);      // ends none
  EXPECT_THROW(count_fields(std::string(1000, '\x0B')), CorruptFile);
}

TEST(ProtoReader, RefusesBrokenFields) {
  const std::string_view broken[] = {"\x08"sv,
                                     "\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"sv,
                                     "\x0A\x05hi"sv,
                                     "\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"sv,
                                     "\x0D\x01\x02"sv,
                                     "\x09\x01\x02"sv,
                                     "\x0E\x00"sv,
                                     "\x00\x00"sv,
                                     "\xF8\xFF\xFF\xFF\xFF\x01\x01"sv};
  for (const std::string_view message : broken) {
    EXPECT_THROW(count_fields(message), CorruptFile) << message.size();
  }
}

}  // namespace
}  // namespace tessera::text
